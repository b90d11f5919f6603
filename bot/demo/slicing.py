"""Chunks of Opus packets, cut as Element Web's recorder cuts them.

A run (from start or resume to pause or stop) is one Ogg stream with a serial of its own. Each chunk of it holds
copies of the two header pages, then its own share of the run's audio pages, whose numbers and granules run on.
A chunk ends with the first page that makes it long enough; only a run's last page has the end flag, and when the
speaker stops right after a page was filled, that page holds no packets.
"""

import functools
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.audio.ogg import BEGINS, ENDS, NO_GRANULE, OggPage, PacketReader, lacing_of, read_pages, write_page
from storage.records import SAMPLE_RATE, DurationMs, Samples, to_ms

PACKET = Samples(960)  # 20 ms
PRE_SKIP = Samples(3840)
PACKETS_PER_PAGE = 40
HEAD = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, PRE_SKIP, SAMPLE_RATE, 0, 0)
TAGS = b"OpusTags" + struct.pack("<I10sI", 10, b"RecorderJS", 0)

SPEECH = Path(__file__).parent / "speech"
SPEECH_PARTS = 2


@dataclass(frozen=True, slots=True)
class Slice:
    """A chunk's media as it is uploaded; `samples` is the length of its packets."""

    data: bytes
    samples: Samples
    last: bool  # of its run

    @property
    def duration_ms(self) -> DurationMs:
        return to_ms(self.samples)


class Slicer:
    """The recorder during one run: takes packets of 20 ms, gives slices."""

    def __init__(self, serial: int, chunk_seconds: float) -> None:
        self.serial = serial
        self.samples = Samples(0)  # of all packets in the slices so far
        self.ended = False
        self._chunk_samples = chunk_seconds * SAMPLE_RATE
        self._headers = self._page(0, 0, BEGINS, HEAD) + self._page(1, 0, 0, TAGS)
        self._sliced = bytearray()  # the audio pages of all slices so far
        self._pages: list[bytes] = []  # of the slice that is being filled
        self._packets: list[bytes] = []  # of the page that is being filled
        self._number = 2
        self._granule = 0

    def feed(self, packets: Sequence[bytes]) -> list[Slice]:
        """Take packets in; give the slices that are full now."""
        slices = []
        for packet in packets:
            self._packets.append(packet)
            if len(self._packets) == PACKETS_PER_PAGE:
                self._turn_page(0)
                if self._granule - self.samples >= self._chunk_samples:
                    slices.append(self._slice())
        return slices

    def end(self) -> Slice:
        """Give the run's last slice, with the page that has the end flag."""
        self._turn_page(ENDS)
        self.ended = True
        return self._slice()

    def ogg(self) -> bytes:
        """Join everything in the slices to one Ogg file, as a recorder that cuts nothing would write it."""
        return self._headers + bytes(self._sliced)

    @property
    def audible(self) -> Samples:
        """The number of samples that a decoder gives for `ogg()`."""
        return Samples(max(0, self.samples - PRE_SKIP))

    def _turn_page(self, flags: int) -> None:
        self._granule += len(self._packets) * PACKET
        granule = self._granule if self._packets else NO_GRANULE
        self._pages.append(self._page(self._number, granule, flags, *self._packets))
        self._number += 1
        self._packets = []

    def _slice(self) -> Slice:
        pages = b"".join(self._pages)
        samples = Samples(self._granule - self.samples)
        self._sliced += pages
        self._pages = []
        self.samples = Samples(self._granule)
        return Slice(self._headers + pages, samples, last=self.ended)

    def _page(self, number: int, granule: int, flags: int, *packets: bytes) -> bytes:
        lacing = b"".join(map(lacing_of, packets))
        return write_page(OggPage(flags, granule, self.serial, number, lacing, b"".join(packets)))


@functools.cache
def speech(part: int) -> tuple[bytes, ...]:
    """Read the packets of one part of the shipped speech, counted from 1 (about 27 s and 30 s long)."""
    return _packets(SPEECH / f"part{part}.ogg")


def _packets(path: Path) -> tuple[bytes, ...]:
    reader = PacketReader()
    with path.open("rb") as file:
        packets = [packet for page in read_pages(file) for packet in reader.feed(page)]
    return tuple(packets[2:])  # after OpusHead and OpusTags
