"""The sample tables of an MP4 file (ISO/IEC 14496-12): number, durations and offsets of its samples.

Only table rows that exist are counted, whatever number of them is announced.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from bot.audio import aac
from bot.audio.mp4_boxes import Box, boxes_of, uint

_MAX_ENTRIES = 1 << 22  # of one table
_MAX_ALIKE = 100_000  # samples of a run without rows of their own

Table = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Listed:
    """The samples that a track lists."""

    announced: int
    seconds: float = 0.0  # of the listed samples
    missing: float = 0.0  # samples that lie after the end of the file
    clock: float = 0.0  # seconds, by the time stamps alone
    counted: bool = False  # whether AAC frames were counted, rather than time stamps


def is_sound(file: BinaryIO, track: Box) -> bool:
    handlers = boxes_of(file, [track], b"mdia", b"hdlr")
    return bool(handlers) and uint(file, handlers[0][1] + 8, 4) == int.from_bytes(b"soun", "big")


def media_scale(file: BinaryIO, track: Box) -> int:
    """Return how many units of the track's own clock make a second; 0 where it has none."""
    headers = boxes_of(file, [track], b"mdia", b"mdhd")
    if not headers:
        return 0
    at = headers[0][1]
    return uint(file, at + (20 if uint(file, at, 1) == 1 else 12), 4)


def track_samples(file: BinaryIO, track: Box, length: int) -> Listed:
    """Count the samples of a track."""
    tables = boxes_of(file, [track], b"mdia", b"minf", b"stbl")
    if not tables:
        return Listed(0)
    scale = media_scale(file, track)
    sizes, fixed, count, announced = _sizes(file, tables)
    times = _table(file, tables, b"stts", 8, ">u4", 2)
    clock = float((times[:, 0] * times[:, 1]).sum()) / scale if scale else 0.0
    rate = _aac_rate(file, tables)
    seconds = count * aac.FRAME / rate if rate else clock
    behind = _behind(file, tables, sizes, fixed, count, length)
    return Listed(announced, seconds, seconds * behind / count if count else 0.0, clock, rate > 0)


def _table(file: BinaryIO, tables: list[Box], name: bytes, at: int, kind: str, columns: int) -> Table:
    """Read the rows of a table that exist."""
    boxes = boxes_of(file, tables, name)
    if not boxes:
        return np.zeros((0, columns), np.int64)
    _, start, end = boxes[0]
    rows = min(uint(file, start + at - 4, 4), _MAX_ENTRIES)
    file.seek(start + at)
    width = np.dtype(kind).itemsize * columns
    data = file.read(max(0, min(rows * width, end - start - at)))
    return np.frombuffer(data[: len(data) // width * width], kind).astype(np.int64).reshape(-1, columns)


def _sizes(file: BinaryIO, tables: list[Box]) -> tuple[Table, int, int, int]:
    """Return the sizes of samples in bytes, or the size that all share; how many there are; how many are announced."""
    boxes = boxes_of(file, tables, b"stsz")
    if not boxes:
        return np.zeros(0, np.int64), 0, 0, 0
    start = boxes[0][1]
    fixed, count = uint(file, start + 4, 4), uint(file, start + 8, 4)
    if fixed:
        return np.zeros(0, np.int64), fixed, count, count
    sizes = _table(file, tables, b"stsz", 12, ">u4", 1)[:, 0]
    return sizes, 0, len(sizes), count


def _behind(file: BinaryIO, tables: list[Box], sizes: Table, fixed: int, count: int, length: int) -> int:
    """Return how many samples end after the end of the file."""
    places = _table(file, tables, b"stco", 8, ">u4", 1)[:, 0]
    if not len(places):
        places = _table(file, tables, b"co64", 8, ">i8", 1)[:, 0]
    runs = _table(file, tables, b"stsc", 8, ">u4", 3)
    if not len(places) or not len(runs) or (np.diff(runs[:, 0]) <= 0).any() or runs[0, 0] != 1:
        return 0
    firsts = np.minimum(np.append(runs[:, 0] - 1, len(places)), len(places))
    each = np.repeat(runs[:, 1], np.diff(firsts))
    ends_at = np.minimum(np.cumsum(each), count)
    begins_at = np.append(0, ends_at[:-1])
    if fixed:
        over = places + (ends_at - begins_at) * fixed - length
        return int(np.minimum(ends_at - begins_at, np.maximum(0, -(-over // fixed))).sum())
    before = np.append(0, np.cumsum(sizes))
    numbers = np.searchsorted(ends_at, np.arange(len(sizes)), side="right")
    numbers = numbers[numbers < len(places)]
    listed = np.arange(len(numbers))
    ends = places[numbers] + before[listed + 1] - before[begins_at[numbers]]
    return int((ends > length).sum())


def _aac_rate(file: BinaryIO, tables: list[Box]) -> int:
    """Return the rate of AAC's core, whose frames are 1024 samples long; 0 for other codecs."""
    entries = boxes_of(file, tables, b"stsd")
    if not entries:
        return 0
    file.seek(entries[0][1])
    data = file.read(min(4096, max(0, entries[0][2] - entries[0][1])))
    at = data.find(b"esds")
    if data[12:16] != b"mp4a" or at < 0:
        return 0
    config = _descriptor(data[at + 8 :])
    index = (config[0] & 7) << 1 | config[1] >> 7 if len(config) > 1 else 15
    return aac.RATES[index] if index < len(aac.RATES) else 0


def _descriptor(data: bytes) -> bytes:
    """Return the AudioSpecificConfig in an ES descriptor (ISO/IEC 14496-1, 7.2.6)."""
    at = 0
    for tag, fixed in ((3, 3), (4, 13), (5, 0)):
        if data[at : at + 1] != bytes([tag]):
            return b""
        at += 1
        while at < len(data) and data[at] & 0x80:
            at += 1
        at += 1 + fixed
    return data[at : at + 2]


@dataclass(frozen=True, slots=True)
class Fragment:
    """The samples that one fragment lists for a track."""

    begins: float | None  # seconds, by the track's clock
    seconds: float
    missing: float  # seconds of samples that lie after the end of the file


def fragments_of(file: BinaryIO, fragments: Sequence[Box], movie: Box, track: Box) -> Iterator[Fragment]:
    """Yield the samples that each fragment lists for one track (ISO/IEC 14496-12, 8.8)."""
    length, scale, number = file.seek(0, 2), media_scale(file, track), _track_id(file, track)
    lasts = size = 0
    for _, at, _ in boxes_of(file, [movie], b"mvex", b"trex"):
        if uint(file, at + 4, 4) == number:
            lasts, size = uint(file, at + 12, 4), uint(file, at + 16, 4)
    for fragment in fragments if scale else ():
        for part in boxes_of(file, [fragment], b"traf"):
            headers = boxes_of(file, [part], b"tfhd")
            if headers and uint(file, headers[0][1] + 4, 4) == number:
                yield _fragment(file, fragment, part, headers[0][1], (lasts, size, scale, length))


def _track_id(file: BinaryIO, track: Box) -> int:
    headers = boxes_of(file, [track], b"tkhd")
    return uint(file, headers[0][1] + (20 if uint(file, headers[0][1], 1) == 1 else 12), 4) if headers else 0


def _fragment(file: BinaryIO, fragment: Box, part: Box, head: int, known: tuple[int, int, int, int]) -> Fragment:
    lasts, size, scale, length = known
    flags, at, base = uint(file, head + 1, 3), head + 8, fragment[1] - 8
    if flags & 0x1:
        base, at = uint(file, at, 8), at + 8
    at += 4 * bool(flags & 0x2)
    if flags & 0x8:
        lasts, at = uint(file, at, 4), at + 4
    if flags & 0x10:
        size = uint(file, at, 4)
    times = boxes_of(file, [part], b"tfdt")
    begins = uint(file, times[0][1] + 4, 8 if uint(file, times[0][1], 1) == 1 else 4) / scale if times else None
    units = missing = 0
    for run in boxes_of(file, [part], b"trun"):
        durations, sizes, offset = _run(file, run, lasts, size)
        units += int(durations.sum())
        if offset is not None:
            missing += int(durations[base + offset + np.cumsum(sizes) > length].sum())
    return Fragment(begins, units / scale, missing / scale)


def _run(file: BinaryIO, run: Box, lasts: int, size: int) -> tuple[Table, Table, int | None]:
    """Return durations and sizes of the samples in a run, and the offset of the first from the fragment's base."""
    _, start, end = run
    flags, count, at = uint(file, start + 1, 3), uint(file, start + 4, 4), start + 8
    offset = uint(file, at, 4) if flags & 0x1 else None
    at += 4 * bool(flags & 0x1) + 4 * bool(flags & 0x4)
    columns = [flag for flag in (0x100, 0x200, 0x400, 0x800) if flags & flag]
    rows = min(count, (end - at) // (4 * len(columns)) if columns else _MAX_ALIKE)
    file.seek(at)
    data = file.read(4 * len(columns) * max(0, rows))
    flat: Table = np.frombuffer(data[: len(data) // 4 * 4], ">u4").astype(np.int64)
    table = flat[: len(flat) // max(1, len(columns)) * len(columns)].reshape(-1, len(columns)) if columns else flat
    number = len(table) if columns else max(0, rows)
    durations = table[:, columns.index(0x100)] if 0x100 in columns else np.full(number, lasts, np.int64)
    sizes = table[:, columns.index(0x200)] if 0x200 in columns else np.full(number, size, np.int64)
    return durations, sizes, offset
