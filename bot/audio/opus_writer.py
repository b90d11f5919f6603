"""A writer of Ogg Opus files from existing packets.

Frames are merged into packets of up to 120 ms (RFC 6716, section 3.2.5), longer than recorders' packets: a decoder
gives the same samples to the bit, and ffmpeg, which passes each packet through five threads, takes less than half the
CPU. Frames that ffmpeg's own decoder (seen in 9.0, not in libopus) would decode differently are not merged: it reads
beyond the end of a frame that is shorter than its content. Such frames are SILK-only ones, from which encoders cut
trailing zeros, and hybrid ones without any bytes.

A packet that no decoder takes is replaced by one with empty frames: ffmpeg would skip it, and all later sound would
come too early.
"""

from typing import BinaryIO

from bot.audio.opus_head import Head
from bot.audio.opus_packets import CELT, HYBRID, MAX_DURATION, duration, lost, silence, together, well_formed
from bot.audio.opus_pages import OpusPages
from storage.records import Samples


class OpusWriter:
    """A writer of one stream: it takes packets and writes merged ones on new pages with new granules."""

    def __init__(self, file: BinaryIO, head: Head, *, pre_skip: int, serial: int = 1) -> None:
        self._pages = OpusPages(file, head.with_pre_skip(pre_skip), serial=serial)
        self._streams = 1 if head.one_stream else head.packet[19]
        self._alike: list[bytes] = []  # packets of one frame each, of one configuration
        self._one_stream = head.one_stream

    def put(self, packet: bytes) -> Samples:
        """Add a packet. Return its samples if no decoder takes it, so that they are lost, else 0. Raises GiveUp
        (`undecodable`) for bytes that are no packet."""
        samples = duration(packet)
        whole = not self._one_stream or well_formed(packet)
        self._put(packet if whole else lost(packet), samples)
        return Samples(0) if whole else samples

    def rest(self, samples: int, like: bytes) -> None:
        """Add silence in the coding of another packet."""
        for packet in silence(like, samples, self._streams):
            self._put(packet, duration(packet))

    def _put(self, packet: bytes, samples: Samples) -> None:
        alike = self._alike
        if alike and (packet[0] != alike[0][0] or (len(alike) + 1) * samples > MAX_DURATION):
            self._put_together()
        if self._one_stream and _is_mergeable(packet):
            alike.append(packet)
        else:
            self._put_together()
            self._pages.put(packet)

    def close(self, trim: int = 0) -> None:
        """End the stream `trim` samples before its last packet ends; the file stays open."""
        self._put_together()
        self._pages.close(trim)

    def _put_together(self) -> None:
        if self._alike:
            self._pages.put(together(self._alike))
            self._alike.clear()


def _is_mergeable(packet: bytes) -> bool:
    config = packet[0] >> 3
    return packet[0] & 3 == 0 and (config >= CELT or (config >= HYBRID and len(packet) > 1))
