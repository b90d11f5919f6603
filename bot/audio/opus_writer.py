"""Ogg Opus files of our own around the packets of others.

Frames are put together into packets of up to 120 ms (RFC 6716, section 3.2.5), which no recorder of speech does: a
decoder gives the same samples to the bit, and ffmpeg, which hands each packet on through five threads, takes less than
half the CPU. What ffmpeg's own decoder makes another sound of stays as it is (seen in 9.0; libopus does not): it reads
on behind the end of a frame that says less than it should, where there must be nothing. Encoders cut zeros off frames
of SILK alone, and send hybrid ones without any bytes where there is nothing to say.

A packet that no decoder takes is one of frames without bytes here: ffmpeg would leave it out, and all that follows
would come too early.
"""

from collections.abc import Sequence
from typing import BinaryIO

from bot.audio.ogg import BEGINS, ENDS, Page, lacing_of, write_page
from bot.audio.opus import MAX_DURATION, TAGS, Head, duration
from storage.records import Samples

PACKETS_PER_PAGE = 50
_MAX_FRAME = 1275  # bytes
_ONE_BYTE = 252  # sizes below this are written as they are (RFC 6716, section 3.2.1)
_HYBRID, _CELT = 12, 16  # the first configurations with CELT in them, and with nothing else (RFC 6716, table 2)
_TWO_SIZES = 2  # code of a packet of two frames, the first of which has its size in front
_ANY_NUMBER = 3  # code of a packet that says how many frames it holds
_VARIABLE = 0x80  # and that each has a size of its own
_PADDED = 0x40  # and that there are bytes of no meaning at its end


class OpusWriter:
    """Packets in, fresh packets, pages and granules out."""

    def __init__(self, file: BinaryIO, head: Head, *, pre_skip: int) -> None:
        self._file = file
        self._number = 0
        self._granule = 0
        self._packets: list[bytes] = []
        self._lacing = bytearray()
        self._alike: list[bytes] = []  # packets of one frame each, of one configuration
        self._one_stream = head.one_stream
        self._write(BEGINS, head.with_pre_skip(pre_skip), lacing_of(head.packet))
        self._write(0, TAGS, lacing_of(TAGS))

    def put(self, packet: bytes) -> Samples:
        """Adds one packet. How much of it is lost: all, if no decoder takes it. Raises GiveUp (`undecodable`) if it is
        none."""
        samples = duration(packet)
        whole = not self._one_stream or well_formed(packet)
        self._put(packet if whole else lost(packet), samples)
        return Samples(0) if whole else samples

    def _put(self, packet: bytes, samples: Samples) -> None:
        mergeable = self._one_stream and _is_mergeable(packet)
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


def _is_mergeable(packet: bytes) -> bool:
    config = packet[0] >> 3
    return packet[0] & 3 == 0 and (config >= _CELT or (config >= _HYBRID and len(packet) > 1))


def well_formed(packet: bytes) -> bool:
    """Its frames are as long together as it is, and none is too long (RFC 6716, section 3.4). Of a packet that has a
    `duration`."""
    count, sized, at, end = _layout(packet)
    for _ in range(count - 1 if sized else 0):
        size, at = _size_at(packet, at)
        end -= size
    each, over = (end - at, 0) if sized else divmod(end - at, count)
    return 0 <= each <= _MAX_FRAME and not over


def _layout(packet: bytes) -> tuple[int, bool, int, int]:
    """How many frames, whether all but the last have sizes in front, where these or the frames begin, and where the
    padding does. What goes on behind the packet's end begins after it ends."""
    code, at, end = packet[0] & 3, 2, len(packet)
    if code != _ANY_NUMBER:
        return (2 if code else 1), code == _TWO_SIZES, 1, end
    if packet[1] & _PADDED:
        last = packet[2:].lstrip(b"\xff")  # of the bytes that add up to the padding, the others are 255: 254 each
        at = end - len(last) + 1
        end -= 254 * (at - 3) + (last[0] if last else 0)
    return packet[1] & 63, bool(packet[1] & _VARIABLE), at, end


def _size_at(packet: bytes, at: int) -> tuple[int, int]:
    """A frame's size, and where it ends: behind the packet's end if that is too early."""
    first, second = (packet[at : at + 2] + bytes(2))[:2]
    return (first, at + 1) if first < _ONE_BYTE else (first + 4 * second, at + 2)


def lost(packet: bytes) -> bytes:
    """As long as this one, with nothing in its frames."""
    first = packet[0] & ~3
    frames = duration(packet) // duration(bytes([first]))
    return bytes([first]) if frames == 1 else bytes([first | _ANY_NUMBER, frames])


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
