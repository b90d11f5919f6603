"""Elements of EBML (RFC 8794), of which WebM and Matroska consist: heads, numbers, and children. Pure.

Sizes and counts are a stranger's numbers, so all loops are bounded.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_HEAD = 12  # bytes: the longest id and the longest size
_MAX_CHILDREN = 1000
_MAX_VALUE = 64  # bytes


@dataclass(frozen=True, slots=True)
class Element:
    id: int
    at: int
    content: int
    end: int | None  # None: the size is not known


def element(file: BinaryIO, at: int) -> Element | None:
    """Return the element that begins at this offset; None where none can begin."""
    file.seek(at)
    head = file.read(_HEAD)
    if not head or head[0] < 0x10:
        return None
    width = 9 - head[0].bit_length()
    size_at = head[width : width + 1]
    if not size_at or not size_at[0]:
        return None
    size_width = 9 - size_at[0].bit_length()
    packed = head[width : width + size_width]
    if len(packed) < size_width:
        return None
    size = int.from_bytes(packed, "big") & (1 << 7 * size_width) - 1
    content = at + width + size_width
    unknown = size == (1 << 7 * size_width) - 1
    return Element(int.from_bytes(head[:width], "big"), at, content, None if unknown else content + size)


def children(file: BinaryIO, parent: Element) -> Iterator[Element]:
    """Yield the first elements inside another one."""
    at = parent.content
    for _ in range(_MAX_CHILDREN):
        child = element(file, at) if parent.end is not None and at < parent.end else None
        if child is None or child.end is None:
            return
        yield child
        at = child.end


def value(file: BinaryIO, leaf: Element) -> bytes:
    """Return the content of an element, cut off at _MAX_VALUE."""
    file.seek(leaf.content)
    return file.read(min(_MAX_VALUE, (leaf.end or leaf.content) - leaf.content))


def number(file: BinaryIO, leaf: Element) -> int:
    return int.from_bytes(value(file, leaf)[:8], "big")


def real(file: BinaryIO, leaf: Element) -> float:
    """Return a floating-point value; 0 for another size, for NaN, and for values larger than 1e15."""
    data = value(file, leaf)
    result = struct.unpack(">f" if len(data) == 4 else ">d", data)[0] if len(data) in (4, 8) else 0.0
    return float(result) if result == result and abs(result) < 1e15 else 0.0
