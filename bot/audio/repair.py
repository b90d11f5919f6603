"""The repair of a file that is damaged or states wrong lengths: the bytes that a decoder gets, and the silence that
replaces the rest. Pure."""

from dataclasses import dataclass
from typing import BinaryIO

from storage.records import SAMPLE_RATE, Hole, Samples

Part = bytes | tuple[int, int]
"""Bytes to write, or the begin and the end of bytes of the file."""

MAX_DAMAGE = 20_000  # damaged places in a file; one with more is refused
LITTLE_S = 0.1  # of missing sound; where more is missing the file counts as truncated and is fetched again
MAX_WALKED = 200_000  # frames or blocks, more than an hour of them; a file with more is decoded as it is
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class StatedLength:
    """A length at 48 kHz that a file states, and how much of it may be due to rounding."""

    samples: int
    unit: int  # samples


def stated_length(units: int, per_second: int) -> StatedLength | None:
    """Convert a length in units, given how many make a second; None where either number is 0 or less."""
    if units <= 0 or per_second <= 0:
        return None
    return StatedLength(-(-units * SAMPLE_RATE // per_second), -(-SAMPLE_RATE // per_second))


@dataclass(frozen=True, slots=True)
class Pause:
    """Silence of `samples` that the file does not hold, after the first `position` decoded samples."""

    position: Samples
    samples: Samples


_NOTHING = Samples(0)


@dataclass(frozen=True, slots=True)
class Repair:
    """The way to decode a file. Without any of these values it is decoded as it is."""

    parts: tuple[Part, ...] = ()  # of the file that is decoded instead; empty: the file itself
    pauses: tuple[Pause, ...] = ()  # in order
    sound: Samples = _NOTHING  # that is decoded around the pauses
    holes: tuple[Hole, ...] = ()  # the silence, in pauses or in `parts`, that stands for damaged sound
    empty: bool = False  # a header without any sound after it
    expected: StatedLength | None = None  # length, where the container itself states none or a wrong one
    claimed: StatedLength | None = None  # length that the file states and that is wrong
    doubtful: bool = False  # its stated length is wrong, so its timing is estimated
    counted: bool = False  # the expected length was counted in tables, not only stated
    whole: bool = False  # the file ends with a whole frame, so no sound was cut off, whatever length it states

    def pauses_in(self, samples: int) -> tuple[Pause, ...]:
        """Return the pauses of a chunk of this stored length; none if it was stored before pauses were known."""
        return self.pauses if samples >= self.sound + self.silence / 2 else ()

    @property
    def silence(self) -> Samples:
        """The length of all pauses."""
        return Samples(sum(pause.samples for pause in self.pauses))


AS_IS = Repair()


def append_range(parts: list[Part], begin: int, end: int) -> None:
    """Append bytes of the file to the parts; the last part grows where it ends at their beginning."""
    if parts and isinstance(before := parts[-1], tuple) and before[1] == begin:
        parts[-1] = (before[0], end)
    else:
        parts.append((begin, end))


def write_parts(file: BinaryIO, parts: tuple[Part, ...], out: BinaryIO) -> None:
    """Write these parts of a file to `out`. Blocking."""
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
    """Return the file as if it began at `start`, where its container does."""
    return _FromOffset(file, start) if start else file  # type: ignore[return-value]


class _FromOffset:
    """A file that begins later. It has only the methods that this package uses."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file = file
        self._start = start

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset + (0 if whence else self._start), whence) - self._start

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)
