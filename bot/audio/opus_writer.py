"""Ogg Opus files of our own around the packets of others.

Frames are put together into packets of up to 120 ms (RFC 6716, section 3.2.5), which no recorder of speech does: a
decoder gives the same samples to the bit, and ffmpeg, which hands each packet on through five threads, takes less than
half the CPU. Those of SILK alone stay as they are: of more than one in a packet ffmpeg's own decoder makes another
sound (seen in 9.0; libopus does not).
"""

from collections.abc import Sequence
from typing import BinaryIO

from bot.audio.ogg import BEGINS, ENDS, Page, lacing_of, write_page
from bot.audio.opus import MAX_DURATION, TAGS, Head, duration

PACKETS_PER_PAGE = 50
_MAX_FRAME = 1275  # bytes
_ONE_BYTE = 252  # sizes below this are written as they are (RFC 6716, section 3.2.1)
_HYBRID = 12  # the first configuration with CELT in it (RFC 6716, table 2)
_ANY_NUMBER = 3  # code of a packet that says how many frames it holds
_VARIABLE = 0x80  # and that each has a size of its own


class OpusWriter:
    """Packets in, fresh packets, pages and granules out."""

    def __init__(self, file: BinaryIO, head: Head, *, pre_skip: int) -> None:
        self._file = file
        self._number = 0
        self._granule = 0
        self._packets: list[bytes] = []
        self._lacing = bytearray()
        self._alike: list[bytes] = []  # packets of one frame each, of one configuration
        self._write(BEGINS, head.with_pre_skip(pre_skip), lacing_of(head.packet))
        self._write(0, TAGS, lacing_of(TAGS))

    def put(self, packet: bytes) -> None:
        """Adds one packet. Raises GiveUp (`undecodable`) if it is none."""
        samples = duration(packet)
        mergeable = packet[0] & 3 == 0 and packet[0] >> 3 >= _HYBRID and len(packet) <= 1 + _MAX_FRAME
        alike = not self._alike or packet[0] == self._alike[0][0]
        if not (mergeable and alike and (len(self._alike) + 1) * samples <= MAX_DURATION):
            self._put_together()
        if mergeable:
            self._alike.append(packet)
        else:
            self._add(packet)

    def close(self) -> None:
        """Ends the stream; the file stays open."""
        self._put_together()
        self._flush(ENDS)

    def _put_together(self) -> None:
        if self._alike:
            self._add(together(self._alike))
            self._alike.clear()

    def _add(self, packet: bytes) -> None:
        lacing = lacing_of(packet)
        if len(self._packets) == PACKETS_PER_PAGE or len(self._lacing) + len(lacing) > 255:
            self._flush(0)
        self._packets.append(packet)
        self._lacing += lacing
        self._granule += duration(packet)

    def _flush(self, flags: int) -> None:
        self._write(flags, b"".join(self._packets), bytes(self._lacing))
        self._packets.clear()
        self._lacing.clear()

    def _write(self, flags: int, body: bytes, lacing: bytes) -> None:
        self._file.write(write_page(Page(flags, self._granule, 1, self._number, lacing, body)))
        self._number += 1


def together(packets: Sequence[bytes]) -> bytes:
    """One packet with the frames of several that hold one each and begin with the same byte."""
    if len(packets) == 1:
        return packets[0]
    frames = [packet[1:] for packet in packets]
    sizes = b"".join(_size(len(frame)) for frame in frames[:-1])
    return bytes([packets[0][0] | _ANY_NUMBER, _VARIABLE | len(frames)]) + sizes + b"".join(frames)


def _size(count: int) -> bytes:
    if count < _ONE_BYTE:
        return bytes([count])
    first = _ONE_BYTE + count % 4
    return bytes([first, (count - first) // 4])
