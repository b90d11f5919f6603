"""FLAC (RFC 9639): the length in its header, and the check that the file ends with a whole frame."""

import re
from typing import BinaryIO

from bot.audio.repair import Repair

_MAX_BLOCKS = 10_000  # of metadata
_LAST_BYTES = 1 << 16  # at the end of the file, in which the last frame begins: recorders' frames are shorter
_SYNC = re.compile(rb"\xff[\xf8\xf9][\x10-\xff]")
_MAX_TRIED = 8


def streaminfo(file: BinaryIO) -> tuple[int, int] | None:
    """Return the number of samples and their rate from STREAMINFO, the first block (RFC 9639, section 8.2)."""
    file.seek(0)
    start = file.read(26)
    packed = int.from_bytes(start[18:26], "big")
    return (packed & (1 << 36) - 1, packed >> 44) if len(start) == 26 else None


def repair_flac(file: BinaryIO) -> Repair:
    """Return how a FLAC file is decoded: as it is, since decoders ignore a wrong number of samples."""
    if _begins_at(file) == file.seek(0, 2):
        return Repair(empty=True)
    return Repair(whole=_ends_whole(file))


def _begins_at(file: BinaryIO) -> int | None:
    """Return the offset of the first frame, after all metadata; None where the metadata does not end."""
    length, at = file.seek(0, 2), 4
    for number in range(_MAX_BLOCKS):
        file.seek(at)
        head = file.read(4)
        size = int.from_bytes(head[1:], "big")
        if len(head) < 4 or (number == 0 and (head[0] & 0x7F or size != 34)) or at + 4 + size > length:
            return None
        at += 4 + size
        if head[0] & 0x80:
            return at
    return None


def _ends_whole(file: BinaryIO) -> bool:
    """Return whether the file ends with a frame whose checksum is right, so that nothing was cut off."""
    length = file.seek(0, 2)
    begin = max(0, length - _LAST_BYTES)
    file.seek(begin)
    data = file.read(_LAST_BYTES)
    places = [match.start() for match in _SYNC.finditer(data)]
    return any(_crc16(data[place:]) == 0 for place in places[-1 : -1 - _MAX_TRIED : -1])


def _table() -> tuple[int, ...]:
    values = []
    for value in range(0, 1 << 16, 1 << 8):
        for _ in range(8):
            value = (value << 1 ^ 0x8005 if value & 0x8000 else value << 1) & 0xFFFF
        values.append(value)
    return tuple(values)


_CRC = _table()


def _crc16(data: bytes) -> int:
    """Return the CRC-16 of RFC 9639, section 9.3; 0 for a whole frame with its checksum."""
    value = 0
    for byte in data:
        value = (value << 8 & 0xFFFF) ^ _CRC[value >> 8 ^ byte]
    return value
