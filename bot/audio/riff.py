"""WAV, RF64 (EBU Tech 3306) and CAF: the number of bytes of sound in them, whatever size their headers state.

Recorders write that size last. A recorder that streams, or was killed, leaves 0, -1 or a number near 2 or 4 GiB there;
others include their header. So the bytes that exist are counted. Bytes count as lost only where more are missing than a
header has.
"""

import re
import struct
from collections.abc import Iterator
from typing import BinaryIO

from bot.audio.repair import LITTLE_S, Part, Repair, StatedLength, stated_length
from bot.errors import GiveUp

_MOST = 0x7F000000  # bytes; a larger size is ignored, since no chunk is so long
_MAX_PARTS = 10_000
_HEADER = 44  # bytes, of the shortest WAV file
_LITTLE = 512  # bytes after the stated size that may be anything: as sound they would be only a click
_TAG = re.compile(rb"TAG|ID3|APETAGEX|LYRICSBEGIN|[\t\r\n -~]{64}")
_NAME = re.compile(rb"[ -~]{4}")
_MAX_FORM = 4096  # bytes
_TO_THE_END = -1


def repair_wav(file: BinaryIO) -> Repair:
    """Return how WAV is decoded. Raises GiveUp (`truncated`)."""
    form = b""
    long: int | None = None
    data: tuple[int, int] | None = None
    for name, at, size in _parts(file, 12, "<I"):
        if name == b"data":
            data = at, size
            break
        file.seek(at)
        if name == b"ds64":
            long = int.from_bytes(file.read(16)[8:], "little", signed=True)
        elif name == b"fmt ":
            form = file.read(min(size, _MAX_FORM))
    odd = data is None or (long is not None and data[1] > _MOST)
    if data is None:
        data = _search(file, b"data", 8) if form else None
    elif odd:
        data = data[0], long or 0
    if data is None:
        raise _cut()
    there, says = _counted(file, *data, _bytes_a_second(form), "<I")
    if not there:
        return Repair(empty=True)
    decoder_size = _decoder_size(file, *data)
    if there == (data[1] if odd else decoder_size):
        return Repair(expected=says)
    start = b"WAVEfmt " + struct.pack("<I", len(form)) + form + bytes(len(form) % 2) + b"data"
    header = b"RIFF" + struct.pack("<I", len(start) + 4 + there) + start + struct.pack("<I", there)
    claimed = stated_length(data[1], _bytes_a_second(form)) if data[1] <= _MOST else None
    return Repair(parts=(header, (data[0], data[0] + there)), expected=says, claimed=claimed)


def repair_caf(file: BinaryIO) -> Repair:
    """Return how CAF is decoded. Raises GiveUp (`truncated`)."""
    description, table = b"", False
    for name, at, size in _parts(file, 8, ">q"):
        file.seek(at)
        if name == b"desc":
            description = file.read(32)
        elif name == b"pakt":
            table = True
        elif name == b"data":
            return _repaired_caf(file, description, at + 4, size - 4, table=table)
    if len(description) < 32 or file.seek(0, 2) < 8:
        raise _cut()
    return Repair(empty=True)  # a recorder that was stopped before any sound


def _repaired_caf(file: BinaryIO, description: bytes, at: int, size: int, *, table: bool) -> Repair:
    """Return how CAF with this data is decoded. `size`: the size of the sound, without the edit count before it."""
    if len(description) < 32:
        raise _cut()
    rate, packet, frames = struct.unpack(">d8xII", description[:24])
    if not packet:  # packets of different sizes, which only the packet table lists
        return _listed_caf(file, at, size, table=table)
    a_second = int(rate * packet / max(1, frames)) if 0 < rate < 1 << 20 else 0
    there, says = _counted(file, at, size, a_second, ">q")
    if not there:
        return Repair(empty=True)
    if there == _decoder_size(file, at, size):
        return Repair(expected=says)
    parts: tuple[Part, ...] = ((0, at - 12), struct.pack(">q", there + 4), (at - 4, at + there))
    return Repair(parts=parts, expected=says, claimed=stated_length(size, a_second) if size <= _MOST else None)


def _listed_caf(file: BinaryIO, at: int, size: int, *, table: bool) -> Repair:
    left = file.seek(0, 2) - at
    if size >= 0 and not table:
        table = any(name == b"pakt" for name, _, _ in _parts(file, at + size, ">q"))
    if size > left or not table:
        raise _cut()
    return Repair(empty=left <= 0)


def _cut() -> GiveUp:
    return GiveUp("the chunk's file ends too early", reason="truncated")


def _parts(file: BinaryIO, at: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name of each chunk, where its content begins, and its size, up to an impossible one."""
    length, head = file.seek(0, 2), 4 + struct.calcsize(order)
    for _ in range(_MAX_PARTS):
        if at + head > length:  # a size may be more than any file can be sought to
            return
        file.seek(at)
        data = file.read(head)
        (size,) = struct.unpack(order, data[4:])
        if not _NAME.fullmatch(data[:4]) or (data[:4] != b"data" and not 0 <= size <= length - at - head):
            return
        yield data[:4], at + head, size
        at += head + size + (size % 2 if order == "<I" else 0)


def _search(file: BinaryIO, name: bytes, head: int) -> tuple[int, int] | None:
    """Return the offset of the data after a chunk with a wrong size; None if it is not found."""
    file.seek(0)
    place = file.read(1 << 16).find(name, 12)
    return (place + head, _TO_THE_END) if place >= 0 else None


def _bytes_a_second(form: bytes) -> int:
    if len(form) < 16:
        return 0
    rate, average, align = struct.unpack_from("<IIH", form, 4)
    return int(rate * align or average)


def _decoder_size(file: BinaryIO, at: int, size: int) -> int:
    """Return how many bytes a decoder would take: all, where the size is 0, negative or too large."""
    left = file.seek(0, 2) - at
    return size if 0 < size <= left else left


def _counted(file: BinaryIO, at: int, size: int, a_second: int, order: str) -> tuple[int, StatedLength | None]:
    """Return how many bytes of sound there are, and the stated length if a few are missing. Raises GiveUp (`truncated`)
    where more are missing."""
    left = file.seek(0, 2) - at
    if not 0 < size <= _MOST:
        return _without_tags(file, at, at + left) - at, None
    if size <= left:
        whole = left - size <= _LITTLE or _is_behind_sound(file, at + size, order)
        return (size if whole else _without_tags(file, at, at + left) - at), None
    if size - left <= max(_HEADER, at):
        return left, None
    if left <= 0 or size - left > a_second * LITTLE_S:
        raise _cut()
    return left, stated_length(size, a_second)


def _is_behind_sound(file: BinaryIO, at: int, order: str) -> bool:
    """Return whether the bytes from this offset on are no sound but other chunks, a tag, text or zeros."""
    for place in (at, at + at % 2):
        if next(_parts(file, place, order), None) is not None:
            return True
    file.seek(at)
    rest = file.read(_MAX_FORM)
    return not rest.strip(b"\0") or _TAG.match(rest.lstrip(b"\0\r\n")) is not None


def _without_tags(file: BinaryIO, begin: int, end: int) -> int:
    """Return where sound ends if it reaches the end of the file: before ID3v1 and APE tags."""
    for _ in range(2):
        for size, magic in ((128, b"TAG"), (32, b"APETAGEX")):
            file.seek(max(begin, end - size))
            data = file.read(size)
            if not data.startswith(magic) or end - size < begin:
                continue
            if magic == b"TAG":
                end -= size
            else:
                more, flags = struct.unpack_from("<I4xI", data, 12)
                end = max(begin, end - min(more, end) - (32 if flags >> 31 else 0))
    return end
