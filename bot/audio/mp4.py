"""MP4 and M4A (ISO/IEC 14496-12): whether all of a file is there, and what it says of its length.

Sizes and counts are a stranger's: all loops are bounded, and nothing is read but headers.
"""

from collections.abc import Iterator, Sequence
from typing import BinaryIO

Box = tuple[bytes, int, int]  # type, where its content begins and ends

_MAX_BOXES = 10_000
_MAX_TRACKS = 16
_MAX_EDITS = 1000


def mp4_is_cut(file: BinaryIO, length: int) -> bool:
    """A box goes on behind the end of the file, or the one that is written last is not there."""
    boxes = list(_boxes(file, 0, length))
    names = {kind for kind, _, _ in boxes}
    return b"moov" not in names or any(end > length for _, _, end in boxes)


def has_edit_list(file: BinaryIO) -> bool:
    """An edit list that cuts the priming, in a file that is not fragmented (there ffmpeg knows no end)."""
    file.seek(0)
    boxes = list(_boxes(file, 0, file.seek(0, 2)))
    if any(kind == b"moof" for kind, _, _ in boxes):
        return False
    movies = [box for box in boxes if box[0] == b"moov"]
    return any(_media_time(file, start) > 0 for _, start, _ in _inside(file, movies, b"trak", b"edts", b"elst"))


def has_many_edits(file: BinaryIO) -> bool:
    """A recorder writes one or two. A player looks through all samples for each."""
    movies = [box for box in _boxes(file, 0, file.seek(0, 2)) if box[0] == b"moov"]
    lists = _inside(file, movies, b"trak", b"edts", b"elst")
    return any(_number(file, start + 4, 4) > _MAX_EDITS for _, start, _ in lists)


def _inside(file: BinaryIO, boxes: Sequence[Box], *names: bytes) -> list[Box]:
    """The boxes of the last name, in those of the name before it, and so on; a few of each: a hostile file may nest
    thousands."""
    inside = list(boxes)
    for name in names:
        parents, inside = inside[:_MAX_TRACKS], []
        for _, start, end in parents:
            inside += [(kind, at, min(to, end)) for kind, at, to in _boxes(file, start, end) if kind == name]
    return inside


def _media_time(file: BinaryIO, start: int) -> int:
    """Where the first edit begins in the media (ISO/IEC 14496-12, 8.6.6)."""
    file.seek(start)
    box = file.read(24)
    wide = box[:1] == b"\x01"
    return int.from_bytes(box[16:24] if wide else box[12:16], "big", signed=True) if len(box) == 24 or not wide else 0


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """The boxes between two places, by their sizes; one that goes past `end` is given as it claims to be."""
    at, end = start, min(end, file.seek(0, 2))
    for _ in range(_MAX_BOXES):
        if at + 8 > end:  # a size may be more than any file can be sought to
            return
        file.seek(at)
        head = file.read(16)
        size, content = int.from_bytes(head[:4], "big"), at + 8
        if size == 1 and len(head) == 16:
            size, content = int.from_bytes(head[8:], "big"), at + 16
        elif size == 0:
            size = end - at
        if size < content - at:
            return
        yield head[4:8], content, at + size
        at += size


def mp4_duration(file: BinaryIO) -> tuple[int, int] | None:
    """How long the sound is, in units, and how many of those make a second: of the edit list, else of the media's
    header (ISO/IEC 14496-12, 8.6.6 and 8.4.2). Nothing of fragments."""
    end = file.seek(0, 2)
    movies = [box for box in _boxes(file, 0, end) if box[0] in (b"moov", b"moof")]
    if len(movies) != 1 or len(_inside(file, movies, b"trak")) != 1:
        return None
    lists = _inside(file, movies, b"trak", b"edts", b"elst")
    if not lists:
        return _time(file, _inside(file, movies, b"trak", b"mdia", b"mdhd"))
    at = lists[0][1]
    scale = _time(file, _inside(file, movies, b"mvhd"))
    if scale is None or len(lists) > 1 or _number(file, at + 4, 4) != 1 or _media_time(file, at) < 0:
        return None  # more than one edit: not what a recorder writes
    wide = _number(file, at, 1) == 1
    return _number(file, at + 8, 8 if wide else 4), scale[1]


def _time(file: BinaryIO, headers: Sequence[Box]) -> tuple[int, int] | None:
    """Duration and how many of its units make a second, of an mvhd or mdhd. All ones: not known."""
    if len(headers) != 1:
        return None
    at = headers[0][1]
    wide = _number(file, at, 1) == 1
    size = 8 if wide else 4
    scale_at = at + (20 if wide else 12)
    duration = _number(file, scale_at + 4, size)
    return (duration, _number(file, scale_at, 4)) if duration < (1 << 8 * size) - 1 else None


def _number(file: BinaryIO, at: int, size: int) -> int:
    file.seek(at)
    return int.from_bytes(file.read(size), "big")
