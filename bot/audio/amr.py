"""AMR and AMR-WB (RFC 4867, section 5) as a row of frames of 20 ms behind a line that names the codec.

The header of each frame states its type, and by that its size; there is nothing to find it by.
So a damaged header makes all that follows look like damage, up to the next place from which several frames follow one
another. Frames without data replace what was skipped, as many as it has the size of: later sound keeps its position.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO

from bot.audio.repair import MAX_DAMAGE, Part, Repair, stated_length
from bot.audio.windows import windows
from bot.errors import GiveUp
from storage.records import SAMPLE_RATE, Hole, Samples

FRAME = SAMPLE_RATE // 50  # samples at 48 kHz
_PADDING = 0x83  # bits of a frame's header that are 0
_NO_DATA = b"\x7c"
_MAX_FRAMES = 6 * 3600 * 50  # six hours
_IN_A_ROW = 5  # frames that are required after damage: fewer may look like frames by chance
_MAX_FILLED = 1000  # frames in a row
_FAR = 1 << 14  # bytes that are searched together: bytes that nearly are frames take 0.5 µs each


@dataclass(frozen=True)
class Codec:
    """A codec: the line that a file begins with, and the size of a frame with its header by type; 0 where
    there is no such type."""

    magic: bytes
    sizes: tuple[int, ...]

    @cached_property
    def by_head(self) -> tuple[int, ...]:
        """The size of a frame by its header; 0 for bytes that are no header."""
        return tuple(0 if head & _PADDING else self.sizes[head >> 3] for head in range(256))

    @cached_property
    def row(self) -> re.Pattern[bytes]:
        """Some frames that follow one another. It begins with all headers in one set, by which re finds them fast."""
        heads = {kind: re.escape(bytes([kind << 3, kind << 3 | 4])) for kind, size in enumerate(self.sizes) if size}
        first = b"|".join(b"(?<=[%s]).{%d}" % (head, self.sizes[kind] - 1) for kind, head in heads.items())
        frame = b"|".join(b"[%s].{%d}" % (head, self.sizes[kind] - 1) for kind, head in heads.items())
        return re.compile(b"(?s)[%s](?:%s)(?:%s){%d}" % (b"".join(heads.values()), first, frame, _IN_A_ROW - 1))


NARROW = Codec(b"#!AMR\n", (13, 14, 16, 18, 20, 21, 27, 32, 6, 0, 0, 0, 0, 0, 0, 1))
WIDE = Codec(b"#!AMR-WB\n", (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 0, 0, 0, 0, 1, 1))


def repair_amr(file: BinaryIO, codec: Codec) -> Repair:
    """Return how a file is decoded: without damaged frames, and without the beginning of one at its end. Raises GiveUp:
    `undecodable` where it is damaged in too many places or has no frame, `too_long`."""
    file.seek(0)
    data = file.read(_MAX_FRAMES * max(codec.sizes))
    parts: list[Part] = []
    holes: list[Hole] = []
    begin, count = 0, 0
    at, size = len(codec.magic), 0
    while True:
        end, frames, size = _frames(data, at, codec, size)
        parts.append((begin, end))
        count += frames
        if count > _MAX_FRAMES:
            raise GiveUp("the chunk has more frames than any message", reason="too_long")
        found = _found(file, end + 1, len(data), codec)
        if found is None:
            break
        lost = min(_MAX_FILLED, max(1, round((found - end) / size))) if size else 0
        if lost:
            holes.append(Hole(Samples(count * FRAME), Samples(lost * FRAME)))
            parts.append(_NO_DATA * lost)
        if len(parts) > 2 * MAX_DAMAGE:
            raise GiveUp("the chunk is damaged in too many places", reason="undecodable")
        begin, at, count = found, found, count + lost
    if not count and len(data) > len(codec.magic):
        raise GiveUp("the chunk holds no whole frame", reason="undecodable")
    if not count:
        return Repair(empty=True)
    whole = end == len(data)
    return Repair(
        () if whole and len(parts) == 1 else tuple(parts),
        holes=tuple(holes),
        expected=stated_length(count, SAMPLE_RATE // FRAME),
        counted=True,
        whole=whole,
    )


def _frames(data: bytes, at: int, codec: Codec, size: int) -> tuple[int, int, int]:
    """Return where the row of whole frames that begins at this offset ends, how many they are, and the size of the last
    one (`size`, where there is none)."""
    sizes, length, count = codec.by_head, len(data), 0
    while at < length and (step := sizes[data[at]]) and at + step <= length:
        at, count, size = at + step, count + 1, step
    return at, count, size


def _found(file: BinaryIO, start: int, end: int, codec: Codec) -> int | None:
    """Return the first offset from which frames follow one another; None if there is none."""
    for at, window in windows(file, start, end, overlap=_IN_A_ROW * max(codec.sizes), far=_FAR):
        if match := codec.row.search(window):
            return at + match.start()
    return None
