"""The boxes of MP4 and M4A (ISO/IEC 14496-12). Sizes and counts are a stranger's numbers, so all loops are bounded."""

from collections.abc import Iterator, Sequence
from typing import BinaryIO

Box = tuple[bytes, int, int]  # type, where its content begins and ends

_MAX_BOXES = 10_000
_MAX_PARENTS = 16


def boxes_in(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes between two offsets, by their sizes; the last one may end after `end`."""
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


def boxes_of(file: BinaryIO, boxes: Sequence[Box], *names: bytes) -> list[Box]:
    """Return the boxes at the end of a path of names, each box inside one of the name before. Only the first few
    parents of each name are searched, since a hostile file may nest thousands."""
    level = list(boxes)
    for name in names:
        parents, level = level[:_MAX_PARENTS], []
        for _, start, end in parents:
            level += [(kind, at, min(to, end)) for kind, at, to in boxes_in(file, start, end) if kind == name]
    return level


def uint(file: BinaryIO, at: int, size: int) -> int:
    """Read an unsigned number of `size` bytes."""
    file.seek(at)
    return int.from_bytes(file.read(size), "big")
