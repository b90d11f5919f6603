"""What a decoder gets of a file that is damaged, or that says of itself what is not so."""

from dataclasses import dataclass
from typing import BinaryIO

from storage.records import SAMPLE_RATE, Hole, Samples

Part = bytes | tuple[int, int]
"""Bytes as they stand here, or from where to where they stand in the file."""

MAX_DAMAGE = 20_000  # places: what is damaged more often is not worth the work
LITTLE_S = 0.1  # of sound: where more bytes are missing the file is truncated, and comes again perhaps
MAX_WALKED = 200_000  # frames or blocks, more than an hour of them: a file of more is decoded as it is
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class StatedLength:
    """A length at 48 kHz, and how much of it may be due to rounding."""

    samples: int
    unit: int  # samples


def stated_length(units: int, a_second: int) -> StatedLength | None:
    """A length in units, of which so many make a second. Nothing where either is 0."""
    if units <= 0 or a_second <= 0:
        return None
    return StatedLength(-(-units * SAMPLE_RATE // a_second), -(-SAMPLE_RATE // a_second))


@dataclass(frozen=True, slots=True)
class Pause:
    """Silence that stands for what the file does not hold: `samples` of it, where `position` samples were decoded."""

    position: Samples
    samples: Samples


_NOTHING = Samples(0)


@dataclass(frozen=True, slots=True)
class Repair:
    """Without anything in it, the file is decoded as it is."""

    parts: tuple[Part, ...] = ()  # the file that is decoded instead
    pauses: tuple[Pause, ...] = ()  # in order
    sound: Samples = _NOTHING  # around them
    holes: tuple[Hole, ...] = ()  # those of the pauses, and what stands in `parts`, where something is damaged
    empty: bool = False  # a header, and behind it nothing
    expected: StatedLength | None = None  # the length that it should have, where its own bytes don't tell
    claimed: StatedLength | None = None  # a length that the file says, and that is not so
    doubtful: bool = False  # what it says of its length is not so: its timing is no more than estimated
    counted: bool = False  # how long it should be is counted, and not only said
    whole: bool = False  # it ends where a frame does: nothing was cut off there, whatever it says of its length

    def pauses_in(self, samples: int) -> tuple[Pause, ...]:
        """Those of a chunk that was found to be so long: none if it was before pauses were known."""
        return self.pauses if samples >= self.sound + self.silence / 2 else ()

    @property
    def silence(self) -> Samples:
        return Samples(sum(pause.samples for pause in self.pauses))


AS_IS = Repair()


def append_range(parts: list[Part], begin: int, end: int) -> None:
    """Append bytes of the file to the parts; the last part grows where it ends at their beginning."""
    if parts and isinstance(before := parts[-1], tuple) and before[1] == begin:
        parts[-1] = (before[0], end)
    else:
        parts.append((begin, end))


def write_parts(file: BinaryIO, parts: tuple[Part, ...], out: BinaryIO) -> None:
    """The file that stands for a damaged one. Blocking."""
    for part in parts:
        if isinstance(part, bytes):
            out.write(part)
            continue
        file.seek(part[0])
        left = part[1] - part[0]
        while left > 0 and (block := file.read(min(left, _BLOCK))):
            left -= len(block)
            out.write(block)


def from_offset(file: BinaryIO, start: int) -> BinaryIO:
    """The same file without what stands in front of its container."""
    return _FromOffset(file, start) if start else file  # type: ignore[return-value]


class _FromOffset:
    """Reads a file as if it began later. Only what the walks of this package use."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file = file
        self._start = start

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset + (0 if whence else self._start), whence) - self._start

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)
