"""The plan of a recording's sound: the pieces that are joined, in order. Pure.

The ledger decides order and lengths; the plan expresses them for the decoder. An Opus decoder needs 80 ms by RFC 7845,
and 400 ms by measurement, before its output equals the output of a decoder that began at the start. So a chunk that
continues a run is decoded after the last packets of the chunk before it, and the sound of those is dropped.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from storage.records import BlobKey, Container, Samples, StemPart

DECODER_PRE_ROLL = Samples(19_200)  # 400 ms: below one 16-bit step from there on; 80 ms leaves errors of -17 dBFS

LocalFile = Callable[[BlobKey], AbstractAsyncContextManager[Path]]
"""A function that gives a stored blob as a local file for as long as the context lasts. Raises OSError."""


@dataclass(frozen=True, slots=True)
class Sound:
    """A stored chunk. `samples` is its length in the plan; decoded sound is cut or padded to it."""

    blob: BlobKey
    container: Container
    continues: bool  # this Ogg Opus chunk continues the run of the nearest Sound before it
    samples: Samples


@dataclass(frozen=True, slots=True)
class Silence:
    """A gap of its true length, or the pause between two messages: in a pause nothing is missing, and the level of the
    sound after it is decided anew."""

    samples: Samples
    pause: bool = False


@dataclass(frozen=True, slots=True)
class Mix:
    """A window of a call: the stems that are heard together in it. It needs no piece before it. Each part names the
    slice that it continues."""

    parts: tuple[StemPart, ...]  # in the order of the stems, and of their sound
    samples: Samples

    @property
    def stems(self) -> dict[int, tuple[StemPart, ...]]:
        """The parts of each stem, by its number."""
        return {stem: tuple(parts) for stem, parts in groupby(self.parts, key=lambda part: part.stem)}

    @property
    def blobs(self) -> set[BlobKey]:
        """All slices that are needed."""
        return {blob for part in self.parts for blob in (part.blob, part.before) if blob is not None}


Piece = Sound | Silence | Mix


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A piece that was decoded to another length than the plan's. The joined sound has the plan's length."""

    piece: int  # index in the plan
    expected: Samples
    decoded: Samples  # counting stops a second above the expected length
    reason: str | None = None  # why the decoder gave no more, when that is known


def length(pieces: Iterable[Piece]) -> Samples:
    """Return the length of all pieces together."""
    return Samples(sum(piece.samples for piece in pieces))


def pre_roll(durations: Sequence[int], wanted: int = DECODER_PRE_ROLL) -> int:
    """Return how many of the last packets are needed for `wanted` samples; all of them when they are too few."""
    heard = 0
    for count, samples in enumerate(reversed(durations), start=1):
        heard += samples
        if heard >= wanted:
            return count
    return len(durations)


def head_skip(*, begins: bool, decoded: int, wanted: int, pre_skip: int) -> Samples:
    """Return how many samples to drop at the beginning of a chunk that continues no other. `decoded`: the samples in
    its packets.

    At the beginning of a run that is the pre-skip. A chunk from the middle of a run whose earlier chunks are lost has
    nothing to skip, so the surplus over the plan's length decides.
    """
    if begins:
        return Samples(pre_skip)
    surplus = decoded - wanted
    return Samples(surplus if 0 <= surplus <= pre_skip else pre_skip)
