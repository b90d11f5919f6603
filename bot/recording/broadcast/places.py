"""The places of a broadcast: its runs, and the chunks missing between and inside them, in the order of the sound. Pure.

The rules and their reasons stand at the top of `layout`.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from bot.recording.broadcast.runs import Run, pages
from bot.recording.chunks import NOT_WANTED
from storage.records import Chunk, ChunkState, OggFacts, Timing

MAX_JUMP = 1000
"""Numbers. A larger step between two chunks is not a loss but a client that counts otherwise, or an attack."""

MAX_ABSENT = 5_000
"""Numbers that are listed in all. A broadcast that lacks more is incomplete anyway."""

NEAR = 2
"""Numbers. The distance by which a slow upload may have moved a chunk from where its pages belong."""

MAX_PAGES = 10_000
"""Pages that are believed missing in one place, where only their numbers say so."""

FIRST_PAGE = 2
"""Number of the first page of sound, after two pages of headers."""

# The numbers of these chunks are in content that can't be read, or no longer.
UNNUMBERED = frozenset({ChunkState.WAITING_FOR_KEY, ChunkState.REDACTED})


@dataclass(frozen=True, slots=True)
class Place:
    chunk: Chunk | None  # None: never seen
    number: int | None
    run: Run | None = None  # the run in whose pages it belongs
    room: int | None = None  # samples of the hole in the pages that it fills
    timing: Timing = Timing.EXACT  # of `room`
    empty: bool = False  # no sound is missing here, only a number


Order = Callable[[Place], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Layout:
    places: tuple[Place, ...]  # in the order of the sound
    numbered: bool  # every chunk has a number, so numbers say what is missing


def arrange(runs: Sequence[Run], announced_last: int | None) -> Layout:
    """Return the layout: a place for every chunk, and one for every chunk that is missing."""
    chunks = [chunk for run in runs for chunk in run.chunks]
    numbered = all(chunk.sequence is not None or _unreadable(chunk) for chunk in chunks)
    stretches = [run for run in runs if _stretches(run)]
    pool = [Place(run.chunks[0], run.chunks[0].sequence) for run in runs if not _stretches(run)]
    if numbered:
        pool = _numbered(pool, chunks, announced_last)
    order = _by_number if numbered else _by_timeline
    longest = max((facts.packet_samples for chunk in chunks if (facts := pages(chunk))), default=0)
    free = _Pool(pool, order)
    blocks: list[tuple[tuple[float, float], list[Place]]] = []
    for key, run in sorted(((_run_key(run, order), run) for run in stretches), key=lambda keyed: keyed[0]):
        blocks.append((key, list(_filled(run, free, numbered=numbered, longest=longest))))
    spans = [_span(run) for run in stretches]
    blocks += [(order(place), [_judged(place, spans)]) for place in free.places]
    blocks.sort(key=lambda block: block[0])
    return Layout(tuple(place for _, block in blocks for place in block), numbered)


def _stretches(run: Run) -> bool:
    """Return whether a run keeps its own order inside and may have holes. Other chunks go where their numbers say."""
    return run.sliced or _hole(None, run.chunks[0])[0]


def _run_key(run: Run, order: Order) -> tuple[float, float]:
    """Order runs by the lowest of their chunks, then by the position of their first chunk in the timeline."""
    keys = [order(Place(chunk, chunk.sequence, run)) for chunk in run.chunks]
    return min(keys)[0], keys[0][1]


def _by_number(place: Place) -> tuple[float, float]:
    return place.number or 0, place.chunk.position if place.chunk else float("inf")


def _by_timeline(place: Place) -> tuple[float, float]:
    return place.chunk.position if place.chunk else float("inf"), 0


def _unreadable(chunk: Chunk) -> bool:
    return (chunk.state in UNNUMBERED or chunk.reason == NOT_WANTED) and not pages(chunk)


# ---- numbers


def _numbered(pool: Sequence[Place], chunks: Sequence[Chunk], announced_last: int | None) -> list[Place]:
    """Give a number to each place of the pool, and add places for the numbers that no chunk has. A chunk without a
    number takes the first absent number after those of the chunks before it in the timeline, else any absent one, else
    the next at the end.
    """
    seen = sorted((chunk.position, chunk.sequence) for chunk in chunks if chunk.sequence is not None)
    known = {number for _, number in seen}
    losses = dict(islice(_absent(sorted(known), announced_last), MAX_ABSENT))
    absent = list(losses)
    last = max(announced_last or 0, max(known, default=0))
    numbered = [place for place in pool if place.number is not None]
    reached = index = 0
    for place in sorted((place for place in pool if place.number is None), key=_by_timeline):
        while index < len(seen) and place.chunk and seen[index][0] < place.chunk.position:
            reached = max(reached, seen[index][1])
            index += 1
        if absent:
            number = absent.pop(bisect_right(absent, reached) % len(absent))
        else:
            last = number = last + 1
        numbered.append(replace(place, number=number, empty=losses.get(number, False)))
    return numbered + [Place(None, number, empty=losses[number]) for number in absent]


def _absent(seen: Sequence[int], announced_last: int | None) -> Iterator[tuple[int, bool]]:
    """Yield the absent numbers from 1 on, each with whether no sound is missing for it. Of a jump that is not believed
    yield only the first number, with no sound missing."""
    before = 0
    for number in [*seen, (announced_last or 0) + 1]:
        if number - before > MAX_JUMP:
            yield before + 1, True
        else:
            yield from ((missing, False) for missing in range(before + 1, number))
        before = max(before, number)


def _span(run: Run) -> tuple[int, int]:
    numbers = [chunk.sequence for chunk in run.chunks if chunk.sequence is not None]
    return min(numbers, default=0), max(numbers, default=0)


def _judged(place: Place, spans: Sequence[tuple[int, int]]) -> Place:
    """Mark an absent number as empty where it lies within a run whose pages have no hole: no sound is missing."""
    if (place.chunk and place.chunk.sequence is not None) or place.number is None:
        return place
    inside = any(lowest < place.number < highest for lowest, highest in spans)
    return replace(place, empty=place.empty or inside)


# ---- holes


def _hole(before: Chunk | None, after: Chunk) -> tuple[bool, int | None]:
    """Return whether pages are missing before a chunk of a run, and their length in samples (None: not known), by the
    granules or, where those prove nothing, by the number of pages."""
    there = pages(after)
    if there is None:
        return False, None
    sound = there.packet_samples > 0  # without packets the page has no granule
    if before is None:
        missing = not there.begins_run and (there.start_granule > 0 or not sound or not there.agrees)
        if not missing or not sound:
            return missing, None
        samples = there.start_granule if there.agrees else _by_pages(there, there.first_page - FIRST_PAGE)
        return True, None if samples is None else max(0, samples - there.pre_skip)
    here = pages(before)
    assert here is not None
    if there.first_page == here.last_page + 1:
        return False, None
    if not _agree(before, after):
        return True, _by_pages(here, there.first_page - here.last_page - 1)
    samples = there.start_granule - here.start_granule - here.packet_samples
    return True, samples if sound and here.packet_samples > 0 and samples >= 0 else None


def _agree(*chunks: Chunk | None) -> bool:
    """Return whether the granules of all these chunks count what their packets do."""
    return all(facts.agrees for chunk in chunks if chunk and (facts := pages(chunk)))


def _by_pages(beside: OggFacts, count: int) -> int | None:
    """Return the samples of `count` pages, if they are like those of the chunk beside them."""
    there = beside.last_page - beside.first_page + 1
    likely = beside.packet_samples > 0 and there > 0 and 0 < count <= MAX_PAGES
    return count * (beside.packet_samples // there) if likely else None


class _Pool:
    """Places that are free to go into a hole, by number or by timeline."""

    def __init__(self, places: Iterable[Place], order: Order) -> None:
        self.places = sorted(places, key=order)
        self._ranks = [order(place)[0] for place in self.places]

    def take(self, low: float, high: float) -> list[Place]:
        """Take the places between two orders."""
        begin, end = bisect_right(self._ranks, low), bisect_left(self._ranks, high)
        return self._taken(begin, max(begin, end))

    def take_silent_at(self, number: int) -> list[Place]:
        """Take the place with this number, if its chunk can't be heard."""
        index = bisect_left(self._ranks, number)
        there = index < len(self.places) and self._ranks[index] == number
        return self._taken(index, index + 1) if there and not _sounds(self.places[index]) else []

    def _taken(self, begin: int, end: int) -> list[Place]:
        taken = self.places[begin:end]
        del self.places[begin:end], self._ranks[begin:end]
        return taken


def _filled(run: Run, free: _Pool, *, numbered: bool, longest: int) -> Iterator[Place]:
    """Yield the run's chunks and, in its holes, the places that belong there, taken from the free ones."""
    before: Chunk | None = None
    for chunk in run.chunks:
        missing, samples = _hole(before, chunk)
        if missing:
            count = max(1, round(samples / longest)) if samples and longest else 1
            fillers = _fillers(before, chunk, free, numbered=numbered, count=count)
            timing = Timing.EXACT if _agree(before, chunk) else Timing.ESTIMATED
            yield from _shared([replace(filler, timing=timing) for filler in fillers or [Place(None, None)]], samples)
        yield Place(chunk, chunk.sequence, run)
        before = chunk


def _fillers(before: Chunk | None, after: Chunk, free: _Pool, *, numbered: bool, count: int) -> list[Place]:
    """Return the places between two chunks; before a head as many numbers as fit; else the places that a slow upload
    misplaced."""
    if not numbered:
        return free.take(before.position, after.position) if before else []
    last = after.sequence or 0
    if before is None:
        return _ahead(last, free, count) or _near([last], free)
    first = before.sequence or 0
    return free.take(min(first, last), max(first, last)) or _near([first, last], free)


def _ahead(number: int, free: _Pool, count: int) -> list[Place]:
    fillers: list[Place] = []
    while len(fillers) < count and (before := free.take_silent_at(number - 1 - len(fillers))):
        fillers = before + fillers
    return fillers


def _near(numbers: Sequence[int], free: _Pool) -> list[Place]:
    for distance in range(1, NEAR + 1):
        for number in numbers:
            near = free.take_silent_at(number - distance) or free.take_silent_at(number + distance)
            if near:
                return near
    return []


def _sounds(place: Place) -> bool:
    return place.chunk is not None and place.chunk.state is ChunkState.STORED


def _shared(fillers: Sequence[Place], samples: int | None) -> Iterator[Place]:
    """Share a hole's samples in equal parts. A chunk that can be heard closes its hole."""
    if samples is None or any(map(_sounds, fillers)):
        yield from (replace(filler, empty=any(map(_sounds, fillers)) and not filler.chunk) for filler in fillers)
        return
    part, rest = divmod(samples, len(fillers))
    for index, filler in enumerate(fillers):
        yield replace(filler, room=part + (rest if index == len(fillers) - 1 else 0), empty=False)
