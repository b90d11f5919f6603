"""The runs of a broadcast: chunks that form one stretch of sound, and which of two with the same number is heard. Pure.

Element Web cuts one Ogg stream into chunks. They share a serial number and an OpusHead, and their page numbers run on:
that is a run. A slow upload can't disturb it as it can the numbers. A chunk without a head, which the client left out
(https://github.com/element-hq/element-ios/issues/7311), has the head of the chunk whose serial and pages it continues.
Everything else (MP4, WAV, an Ogg file of its own) is a run of one chunk.

Of two chunks with one number the audible one is heard, else the one that stands first in the timeline. Two runs of
several chunks each are both heard, whatever their numbers: then a homeserver has merged two `started` events of one
user (https://github.com/element-hq/element-web/issues/23973).
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from storage.records import Chunk, ChunkId, ChunkState, OggFacts

Stream = tuple[int, str]  # serial, and the SHA-256 of the OpusHead; "" where no chunk has one

# No client sends more. Chunks beyond become runs of their own.
MOST_STRANDS = 4
MOST_TWINS = 8


@dataclass(frozen=True, slots=True)
class Run:
    """A row of chunks that continue one another, in the order of the sound; pages may be missing between them."""

    chunks: tuple[Chunk, ...]

    @property
    def sliced(self) -> bool:
        """Return whether page numbers run on over several chunks."""
        return len(self.chunks) > 1

    @property
    def head(self) -> Chunk | None:
        """Return the chunk that the run's sound begins with; None if that chunk is missing."""
        first = pages(self.chunks[0])
        return self.chunks[0] if first and first.begins_run else None


@dataclass(frozen=True, slots=True)
class Sorted:
    """Runs, and spares: chunks that are not heard, each with the id of the chunk that is heard instead."""

    runs: tuple[Run, ...]
    spares: tuple[tuple[Chunk, ChunkId], ...]


def pages(chunk: Chunk) -> OggFacts | None:
    """Return the proof in the pages of an Ogg Opus chunk, also of one that is no longer kept."""
    return chunk.facts.ogg if chunk.facts else None


def streams(chunks: Iterable[Chunk]) -> dict[ChunkId, Stream]:
    """Return the stream of each Ogg Opus chunk, by the chunk's id."""
    paged = [(chunk.id, facts) for chunk in chunks if (facts := pages(chunk))]
    heads: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for _, facts in paged:
        if facts.head_sha256:
            heads[facts.serial].append((facts.first_page, facts.head_sha256))
    for known in heads.values():
        known.sort()
    return {
        chunk_id: (facts.serial, facts.head_sha256 or _head(facts, heads[facts.serial])) for chunk_id, facts in paged
    }


def _head(facts: OggFacts, known: Sequence[tuple[int, str]]) -> str:
    """Return the head of the nearest chunk before these pages, else of the first after them. `known`: in page order."""
    before = bisect_left(known, (facts.first_page, "")) - 1
    return known[max(0, before)][1] if known else ""


def audible(chunk: Chunk) -> bool:
    """Return whether anything of a chunk can be heard."""
    if chunk.state is not ChunkState.STORED or chunk.facts is None:
        return False
    return chunk.facts.samples > 0 or (chunk.facts.ogg is not None and chunk.facts.ogg.packet_samples > 0)


def sort(chunks: Iterable[Chunk]) -> Sorted:
    """Sort chunks into runs, in no order yet. The order of `chunks` doesn't matter."""
    standing = sorted(chunks, key=lambda chunk: chunk.position)
    runs, spares = _strands([chunk for chunk in standing if pages(chunk)])
    runs += [Run((chunk,)) for chunk in standing if not pages(chunk)]
    lost = _contested(runs)
    spares.update(lost)
    kept = (Run(tuple(chunk for chunk in run.chunks if chunk.id not in lost)) for run in runs)
    return Sorted(
        runs=tuple(run for run in kept if run.chunks),
        spares=tuple((chunk, _heard(chunk.id, spares)) for chunk in standing if chunk.id in spares),
    )


def _heard(spare: ChunkId, spares: dict[ChunkId, ChunkId]) -> ChunkId:
    """Return the chunk that is heard in the end: the winner may itself have lost to another."""
    seen = {spare}
    winner = spares[spare]
    while winner in spares and winner not in seen:
        seen.add(winner)
        winner = spares[winner]
    return winner


def _strands(paged: Sequence[Chunk]) -> tuple[list[Run], dict[ChunkId, ChunkId]]:
    """Sort chunks of one serial and head into strands, in which no pages overlap, and those sent twice into spares.
    Files that each begin at page 2 (separate Ogg files with the same serial) overlap, so each becomes a strand.
    """
    by_stream: dict[Stream, list[_Strand]] = defaultdict(list)
    spares: dict[ChunkId, ChunkId] = {}
    known = streams(paged)
    for chunk in sorted(paged, key=lambda chunk: (not audible(chunk), _number(chunk), chunk.position)):
        facts = pages(chunk)
        assert facts is not None
        strands = by_stream[known[chunk.id]]
        overlaps = [strand.overlap(facts) for strand in strands[-MOST_STRANDS:]]
        twin = next((member for members in overlaps for member in members if _same(member, chunk)), None)
        if twin is not None:
            spares[chunk.id] = twin.id
            continue
        free = next(
            (strand for strand, members in zip(strands[-MOST_STRANDS:], overlaps, strict=True) if not members), None
        )
        if free is None:
            free = _Strand()
            strands.append(free)
        free.add(chunk, facts)
    runs = [Run(tuple(strand.chunks)) for strands in by_stream.values() for strand in strands]
    return runs, spares


class _Strand:
    """A row of chunks in the order of their pages, which don't overlap."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def overlap(self, facts: OggFacts) -> list[Chunk]:
        """Return the chunks that have pages of the same numbers, at most a few."""
        begin, end = bisect_left(self._lasts, facts.first_page), bisect_right(self._firsts, facts.last_page)
        return self.chunks[begin : min(end, begin + MOST_TWINS)]

    def add(self, chunk: Chunk, facts: OggFacts) -> None:
        index = bisect_left(self._firsts, facts.first_page)
        self.chunks.insert(index, chunk)
        self._firsts.insert(index, facts.first_page)
        self._lasts.insert(index, facts.last_page)


def _number(chunk: Chunk) -> float:
    return float("inf") if chunk.sequence is None else chunk.sequence


def _same(one: Chunk, other: Chunk) -> bool:
    """Return whether two chunks with the same pages are one chunk sent twice: their numbers or their bytes are the
    same."""
    if one.sequence is not None and one.sequence == other.sequence:
        return True
    facts = pages(other)
    assert facts is not None
    whole = facts.eos and facts.begins_run
    return one.blob is not None and one.blob == other.blob and not whole


def _contested(runs: Sequence[Run]) -> dict[ChunkId, ChunkId]:
    """Return the chunks whose number another chunk keeps, each with that other chunk."""
    claims: dict[int, list[tuple[Run, Chunk]]] = defaultdict(list)
    for run in runs:
        for chunk in run.chunks:
            if chunk.sequence is not None:
                claims[chunk.sequence].append((run, chunk))
    lost: dict[ChunkId, ChunkId] = {}
    for claimants in claims.values():
        first = min(claimants, key=lambda claim: (not audible(claim[1]), claim[1].position))
        for run, chunk in claimants:
            if chunk is not first[1] and not (run.sliced and first[0].sliced):
                lost[chunk.id] = first[1].id
    return lost
