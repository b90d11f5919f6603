"""The layout of a voice broadcast's sound: the position of every chunk and of every gap. Pure.

- Runs are ordered by their lowest number, then by the timeline; if a chunk has no number, all are ordered by the
  timeline (as Element Web plays them). Inside a run page numbers decide: clients number a chunk when its upload ends,
  so one slow upload swaps two numbers, and the pages still show the true order.
- A missing chunk goes where its number says; if pages are missing in a run, into that hole. An event that can't be
  decrypted has no number: it takes the place of an absent chunk, by its position in the timeline.
- A hole in the middle becomes silence: as long as the granules say, else as its event announced, else as the median
  chunk (`silence`). No silence follows the last sound: nobody can know whether more was said.
- The pre-skip is taken once from a run's head, also when the head is missing: then the silence that stands for it is
  shorter by the pre-skip. So the sound after the head is heard from its first packet on, and keeps its position when
  the head turns up.
- A part of a chunk that is damaged or lost is silence inside it, and a gap of its own.
- All of these numbers come from strangers, so whatever is added is bounded: silence here, absent numbers in `places`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from bot.recording.broadcast.orphans import numbered, ordinary
from bot.recording.broadcast.places import Layout, Place, arrange
from bot.recording.broadcast.runs import Run, audible, pages, sort
from bot.recording.broadcast.silence import measure, own_length
from bot.recording.ledger import NOTHING, Entry, Ledger, gaps_of
from storage.records import (
    Chunk,
    ChunkFacts,
    ChunkId,
    ChunkState,
    Container,
    EndedBy,
    Hole,
    OggFacts,
    Recording,
    Samples,
    Timing,
    to_samples,
)

MAX_SILENCE = 6 * 3600 * 48_000
"""Samples in one recording; a number that jumps must not become days of silence."""

WAITING = frozenset({ChunkState.WAITING_FOR_KEY, ChunkState.WAITING_FOR_MEDIA})
OF_NO_USE = frozenset({ChunkState.STORED, ChunkState.DAMAGED})  # once another chunk with the number is heard


def lay_out(recording: Recording, chunks: Iterable[Chunk]) -> Ledger:
    """Lay out a broadcast: place every chunk and every gap. The order of `chunks` doesn't matter."""
    chunks = numbered(ordinary(chunks))
    by_run = sort(chunks)
    layout = arrange(by_run.runs, recording.announced_last)
    heard = tuple(_entries(layout.places))
    waiting = any(chunk.state in WAITING for chunk in chunks)
    spared = any(chunk.state in WAITING for chunk, _ in by_run.spares)
    proved, complete, certain = _judged(recording, by_run.runs, layout, heard, lost=spared)
    return Ledger(
        entries=tuple(_with_spares(heard, by_run.spares)),
        gaps=tuple(gaps_of(heard)),
        samples=Samples(sum(entry.samples for entry in heard)),
        proved=proved,
        complete=complete,
        certain=certain,
        waiting=waiting,
    )


# ---- lengths


def _entries(places: Sequence[Place]) -> Iterator[Entry]:
    sounds = tuple(_sounds(places))
    silences = measure(places, [length for length, _ in sounds if length])
    last = max((index for index, (length, _) in enumerate(sounds) if length), default=-1)
    position, silence_left = 0, MAX_SILENCE
    for index, (place, (length, continues)) in enumerate(zip(places, sounds, strict=True)):
        if length is None:
            wanted, timing = silences.silence(place)
            samples = min(wanted, silence_left) if index < last else 0
            silence_left -= samples
        else:
            samples, timing = length, _timing(place)
        yield _entry(place, position, samples, timing, continues=continues, silence=length is None)
        position += samples


def _entry(place: Place, position: int, samples: int, timing: Timing, *, continues: bool, silence: bool) -> Entry:
    chunk = place.chunk
    facts = chunk.facts if chunk and not silence else None
    return Entry(
        chunk_id=chunk.id if chunk else None,
        sequence=chunk.sequence if chunk else place.number,
        state=chunk.state if chunk else ChunkState.MISSING,
        position=Samples(position),
        samples=Samples(samples),
        timing=timing,
        continues=continues,
        silence=silence,
        blob=chunk.blob if chunk and not silence else None,
        container=facts.container if facts else Container.UNKNOWN,
        reason=chunk.reason if chunk else None,
        announced=to_samples(chunk.announced_ms) if chunk and chunk.announced_ms is not None else None,
        off_told=Samples(facts.samples - facts.told) if facts and facts.told is not None else NOTHING,
        holes=_inside(facts.holes, facts, samples) if facts else (),
        unrecorded=_inside(facts.unrecorded, facts, samples) if facts else (),
    )


def _inside(holes: Iterable[Hole], facts: ChunkFacts, samples: int) -> tuple[Hole, ...]:
    """Return the holes inside the last `samples` of a chunk: the pre-skip of a run's head is not heard."""
    skip = facts.ogg.packet_samples - facts.ogg.end_trim() - samples if facts.ogg else 0
    inside = ((max(0, hole.at - skip), min(samples, hole.at + hole.samples - skip)) for hole in holes)
    return tuple(Hole(Samples(at), Samples(end - at)) for at, end in inside if at < end)


def _timing(place: Place) -> Timing:
    return place.chunk.facts.timing if place.chunk and place.chunk.facts else Timing.ESTIMATED


def _sounds(places: Iterable[Place]) -> Iterator[tuple[int | None, bool]]:
    """Yield for each place the length of its sound (None: no sound), and whether it continues the sound before it."""
    nearest: Run | None = None
    before: OggFacts | None = None  # of the nearest
    for place in places:
        chunk = place.chunk
        if chunk is None or chunk.state is not ChunkState.STORED or chunk.facts is None:
            yield None, False
            continue
        ogg = chunk.facts.ogg
        continued = before if nearest is place.run else None
        if place.run is None or ogg is None:
            yield chunk.facts.samples, False
        else:
            yield own_length(ogg, continued, head=place.run.head is chunk), nearest is place.run
            if not ogg.packet_samples:
                continue
        nearest, before = place.run, ogg


def _with_spares(entries: Iterable[Entry], spares: Iterable[tuple[Chunk, ChunkId]]) -> Iterator[Entry]:
    """Yield the entries, each with the chunks that it replaces after it."""
    behind: dict[ChunkId | None, list[Chunk]] = defaultdict(list)
    for chunk, winner in spares:
        behind[winner].append(chunk)
    for entry in entries:
        yield entry
        for chunk in behind[entry.chunk_id]:
            heard = entry.state is ChunkState.STORED
            state = ChunkState.DUPLICATE if heard and chunk.state in OF_NO_USE else chunk.state
            place = Place(replace(chunk, state=state), chunk.sequence)
            yield _entry(place, entry.position, 0, _timing(place), continues=False, silence=True)


# ---- completeness


def _judged(
    recording: Recording, runs: Iterable[Run], layout: Layout, entries: Sequence[Entry], *, lost: bool
) -> tuple[bool, bool, bool]:
    """Return whether the ledger is proved, complete and certain (`Ledger`). `lost`: a chunk that was replaced by
    another one is missing, and may hold other sound."""
    last = max((index for index, entry in enumerate(entries) if entry.sounds), default=-1)
    if last < 0 or lost or any(entry.state not in (ChunkState.STORED, ChunkState.MISSING) for entry in entries):
        return False, False, False
    absent = [index for index, entry in enumerate(entries) if entry.state is ChunkState.MISSING]
    if any(index < last and not layout.places[index].empty for index in absent):
        return False, False, False
    if any(_beheaded(run) for run in runs) or any(entry.holes for entry in entries):
        return False, False, False
    proofs = [_proved(run) for run in runs if any(map(audible, run.chunks))]
    proved = all(proofs)
    numbered = layout.numbered and not absent
    complete = proved or (numbered and recording.ended_by is EndedBy.STOPPED)
    # A container that proves nothing needs the sender's word for its end.
    sure = all(proof is not False for proof in proofs) and (proved or recording.announced_last is not None)
    return proved, complete, complete and numbered and sure


def _beheaded(run: Run) -> bool:
    """Return whether the first sound of a run is missing: its pages show that sound came before, and none can be
    heard."""
    first = pages(run.chunks[0])
    return first is not None and first.first_page > 2 and not any(map(audible, run.chunks))


def _proved(run: Run) -> bool | None:
    """Return whether all pages from the first to the last of the stream are present (RFC 3533); None: the container has
    no pages."""
    facts = [ogg for chunk in run.chunks if (ogg := pages(chunk))]
    if not facts:
        return None
    runs_on = all(after.first_page == before.last_page + 1 for before, after in pairwise(facts))
    return facts[0].begins_run and runs_on and all(ogg.contiguous for ogg in facts) and facts[-1].eos
