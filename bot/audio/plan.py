"""What is joined, and how each piece of it is decoded. Pure.

The ledger decides order and lengths; here stands what follows for the decoder. An Opus decoder needs 80 ms by
RFC 7845 and 400 ms by measurement before its output equals that of a decoder which heard everything: a chunk
that carries on a run is decoded with the last packets of the one before it, and their sound is thrown away.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from storage.records import BlobKey, Container, Samples

PRE_ROLL = Samples(19_200)  # 400 ms: below one 16-bit step from there on; 80 ms leaves errors of -17 dBFS

LocalFile = Callable[[BlobKey], AbstractAsyncContextManager[Path]]
"""A door to stored blobs: gives a blob as a local file for as long as the context lasts. Raises OSError."""


@dataclass(frozen=True, slots=True)
class Sound:
    """One stored chunk. `samples` is its length on the grid; decoded sound is cut or padded to it."""

    blob: BlobKey
    container: Container
    continues: bool  # this Ogg Opus chunk carries on the run of the nearest Sound before it
    samples: Samples


@dataclass(frozen=True, slots=True)
class Silence:
    """A gap in its true length."""

    samples: Samples


Piece = Sound | Silence


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A piece that decoded to another length than the ledger gave it; the file has the ledger's length."""

    piece: int  # index in the plan
    expected: Samples
    decoded: Samples  # more than a second too much is not counted further
    reason: str | None = None  # why nothing more came of it, when that is known


def length(pieces: Iterable[Piece]) -> Samples:
    """The length of everything joined."""
    return Samples(sum(piece.samples for piece in pieces))


def pre_roll(durations: Sequence[int], wanted: int = PRE_ROLL) -> int:
    """How many of the last packets are needed for `wanted` samples (all of them, when they are too few)."""
    heard = 0
    for count, samples in enumerate(reversed(durations), start=1):
        heard += samples
        if heard >= wanted:
            return count
    return len(durations)


def head_skip(*, begins: bool, decoded: int, wanted: int, pre_skip: int) -> Samples:
    """What to drop at the front of a chunk that carries on nothing, of `decoded` samples in its packets.

    At a run's beginning that is the pre-skip. A chunk from the middle of a run, the ones before it lost, has
    nothing to skip: how much then is up to the ledger's length.
    """
    if begins:
        return Samples(pre_skip)
    surplus = decoded - wanted
    return Samples(surplus if 0 <= surplus <= pre_skip else pre_skip)
