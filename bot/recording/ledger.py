"""The ledger of a recording: every chunk in the order of the sound, every gap in its true length. Pure.

Each kind of recording lays out its own (`kinds`); the track, the report and the chapters are made from it in the same
way for all kinds.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

from storage.records import (
    BlobKey,
    CallEventKind,
    Chunk,
    ChunkId,
    ChunkState,
    Container,
    Hole,
    Recording,
    Samples,
    StemPart,
    Timing,
    UserId,
)

NOTHING = Samples(0)


@dataclass(frozen=True, slots=True)
class Entry:
    """A chunk, or the place of one, in the order of the sound. `samples` is the length that it takes up there."""

    chunk_id: ChunkId | None  # None: never seen
    state: ChunkState  # with MISSING and DUPLICATE
    position: Samples
    samples: Samples
    timing: Timing
    continues: bool = False  # continues the Ogg run of the nearest sound before it
    pause: Samples = NOTHING  # silence before it that stands for nothing: the pause between two messages
    silence: bool = False  # nothing of it is heard: it is silence of `samples`, which may be 0
    blob: BlobKey | None = None
    container: Container = Container.UNKNOWN
    reason: str | None = None  # the chunk's: a short code
    announced: Samples | None = None  # the length that its event announced: a hint, never a clock
    off_told: Samples = NOTHING  # how many samples more than its file claims it holds; negative: fewer
    holes: tuple[Hole, ...] = ()  # inside its sound, from its first sample on
    unrecorded: tuple[Hole, ...] = ()  # likewise: what its microphone did not give; nothing that was sent is missing
    sequence: int | None = None  # of a voice broadcast alone
    sender: UserId | None = None  # of a transmission alone: who sent a chunk that was never seen
    parts: tuple[StemPart, ...] = ()  # of a call alone: the stems that are heard together in this window

    @property
    def sounds(self) -> bool:
        """Return whether the chunk is in the audio."""
        return not self.silence and self.samples > 0

    @property
    def off_announced(self) -> Samples:
        """Return how many samples more than its event announced are heard; negative: fewer."""
        return Samples(self.samples - self.announced) if self.sounds and self.announced is not None else Samples(0)


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of silence with one reason: the state of the chunks that should be there."""

    position: Samples
    samples: Samples
    reason: ChunkState


@dataclass(frozen=True, slots=True)
class SpeakerGap:
    """A stretch in which one member of a call was not heard: no silence in the audio, in which the others are heard."""

    position: Samples
    samples: Samples
    user_id: UserId
    reason: CallEventKind


@dataclass(frozen=True, slots=True)
class Ledger:
    entries: tuple[Entry, ...]
    gaps: tuple[Gap, ...]
    samples: Samples
    proved: bool  # the pages show that nothing is missing
    complete: bool  # all sound that was sent is in the audio, as far as this can be known once nothing more comes
    certain: bool  # complete, and there is no need to wait for more
    waiting: bool  # a key or media may still turn up
    of_speakers: tuple[SpeakerGap, ...] = ()  # of a call alone

    @property
    def sounds(self) -> bool:
        """Return whether anything can be heard."""
        return any(entry.sounds for entry in self.entries)

    @property
    def silences(self) -> tuple[tuple[Samples, Samples], ...]:
        """Return position and length of each stretch of silence, whatever its reasons: the audio alone shows no
        more."""
        stretches: list[tuple[Samples, Samples]] = []
        for gap in self.gaps:
            if stretches and sum(stretches[-1]) == gap.position:
                position, samples = stretches.pop()
                stretches.append((position, Samples(samples + gap.samples)))
            else:
                stretches.append((gap.position, gap.samples))
        return tuple(stretches)


_PART = "%s %s %s %s %s %s %s"  # the fields of a StemPart

LayOut = Callable[[Recording, Iterable[Chunk]], Ledger]
"""The layout function of a kind: it places every chunk and gap, whatever order the chunks come in."""


def fingerprint(ledger: Ledger) -> str:
    """Return a digest of everything that the audio is made from: the same fingerprint means the same sound."""
    pieces: list[tuple[str, bool, int]] = []
    for entry in ledger.entries:
        if entry.pause:
            pieces.append(("", False, int(entry.pause)))
        if entry.parts:
            pieces.append((" ".join(map(_PART.__mod__, entry.parts)), False, entry.samples))
        elif entry.sounds:
            pieces.append((entry.blob or "", entry.continues, entry.samples))
        elif entry.samples and pieces and not pieces[-1][0]:
            pieces[-1] = ("", False, pieces[-1][2] + entry.samples)
        elif entry.samples:
            pieces.append(("", False, int(entry.samples)))
    return hashlib.sha256(repr(pieces).encode()).hexdigest()


def gaps_of(entries: Iterable[Entry]) -> list[Gap]:
    """Return the gaps of entries, given in the order of the sound. Neighbours with the same reason are one gap."""
    gaps: list[Gap] = []
    for gap in chain.from_iterable(map(_own_gaps, entries)):
        if gaps and gaps[-1].reason is gap.reason and gaps[-1].position + gaps[-1].samples == gap.position:
            gaps[-1] = replace(gaps[-1], samples=Samples(gaps[-1].samples + gap.samples))
        else:
            gaps.append(gap)
    return gaps


def _own_gaps(entry: Entry) -> Iterator[Gap]:
    if entry.silence and entry.samples:
        yield Gap(entry.position, entry.samples, entry.state)
    holes = [(hole, ChunkState.DAMAGED) for hole in entry.holes]
    holes += [(hole, ChunkState.UNRECORDED) for hole in entry.unrecorded]
    for hole, reason in sorted(holes, key=lambda each: each[0].at):
        yield Gap(Samples(entry.position + hole.at), hole.samples, reason)
