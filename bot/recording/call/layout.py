"""The layout of a call's sound: windows of ten seconds on its clock, each a mix of the stems heard in it. Pure.

- A slice of a stem belongs to the window in which it begins. Its end may reach into the next one, by a packet. A stem
  that was stalled may have two slices in a window.
- Silence between windows stands for nothing: nobody was in the call, or nobody's sound came.
- A time in which the bot was not in the call is a gap.
- Lost packets are silence inside a slice, and no gap.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from bot.recording.chunks import is_removed
from bot.recording.ledger import NOTHING, Entry, Ledger, Part, gaps_of
from storage.records import SAMPLE_RATE, Chunk, ChunkState, Recording, Samples, Timing

WINDOW = Samples(10 * SAMPLE_RATE)
"""The length of a window, and of a slice."""


def lay_out(recording: Recording, chunks: Iterable[Chunk]) -> Ledger:
    """Lay out a call: place every window and every time away. The order of `chunks` doesn't matter."""
    heard = sorted(filter(_is_heard, chunks), key=lambda chunk: (chunk.stem or 0, chunk.at or 0))
    end = max(((chunk.at or 0) + _samples(chunk) for chunk in heard), default=0)
    aways = tuple((away.begins, min(end, end if away.ends is None else away.ends)) for away in recording.aways)
    windows = _windows(heard)
    entries = tuple(_placed(windows, aways, end))
    gaps = tuple(gaps_of(entries))
    complete = bool(windows) and not gaps
    return Ledger(
        entries=entries,
        gaps=gaps,
        samples=Samples(end),
        proved=False,
        complete=complete,
        certain=all(stem.left is not None for stem in recording.stems),
        waiting=False,
    )


def _is_heard(chunk: Chunk) -> bool:
    return chunk.state is ChunkState.STORED and not is_removed(chunk) and chunk.at is not None and _samples(chunk) > 0


def _samples(chunk: Chunk) -> int:
    return int(chunk.facts.samples) if chunk.facts else 0


def _windows(heard: Sequence[Chunk]) -> Mapping[int, tuple[Part, ...]]:
    """Return the parts of each window that has any. `heard`: the slices of each stem in their order."""
    windows: dict[int, list[Part]] = defaultdict(list)
    before: Chunk | None = None
    for chunk in heard:
        at = int(chunk.at or 0)
        number, offset = divmod(at, WINDOW)
        continues = before is not None and before.stem == chunk.stem and (before.at or 0) + _samples(before) == at
        of_earlier = continues and before is not None and (before.at or 0) // WINDOW < number
        lead = min(offset, _samples(before)) if of_earlier and before is not None else 0
        assert chunk.blob is not None, "it is stored"
        windows[number].append(
            Part(
                chunk.id,
                chunk.blob,
                chunk.stem or 0,
                Samples(offset),
                Samples(_samples(chunk)),
                continues,
                Samples(lead),
            )
        )
        before = chunk
    return {number: tuple(sorted(parts, key=lambda part: part.stem)) for number, parts in windows.items()}


def _placed(windows: Mapping[int, tuple[Part, ...]], aways: Sequence[tuple[int, int]], end: int) -> Iterator[Entry]:
    """Yield windows and times away in the order of the sound, with the silence between them as a pause."""
    borders = {0, end, *(min(end, place) for away in aways for place in away)}
    for number in windows:
        borders |= {number * WINDOW, min(end, (number + 1) * WINDOW)}
    pending = 0
    for begin, until in pairwise(sorted(borders)):
        number, offset = divmod(begin, WINDOW)
        if offset == 0 and number in windows:
            yield _entry(begin, min(end, begin + WINDOW), pending, parts=windows[number])
            pending = 0
        elif number in windows:
            continue  # the bot went away or came back within this window
        elif any(first <= begin and until <= last for first, last in aways):
            yield replace(_entry(begin, until, pending), state=ChunkState.AWAY, silence=True)
            pending = 0
        else:
            pending += until - begin


def _entry(begin: int, until: int, pause: int, parts: tuple[Part, ...] = ()) -> Entry:
    return Entry(
        chunk_id=None,
        state=ChunkState.STORED,
        position=Samples(begin),
        samples=Samples(until - begin),
        timing=Timing.EXACT,
        pause=Samples(pause) if pause else NOTHING,
        parts=parts,
    )
