"""Opus packets, cut into slices as Element Web's recorder cuts its broadcasts. Pure.

A run (from start or resume to pause or stop) is one Ogg stream with a serial of its own. Each slice of it holds
copies of the two header pages, then its own share of the run's audio pages, whose numbers and granules run on.
A slice ends with the first page that makes it long enough; only a run's last page has the end flag, and when the
speaker stops right after a page was filled, that page holds no packets.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from bot.audio.ogg import BEGINS, ENDS, NO_GRANULE, OggPage, lacing_of, write_page
from bot.audio.opus_packets import duration
from storage.records import SAMPLE_RATE, DurationMs, Samples, to_ms

PACKET = Samples(960)  # 20 ms
PRE_SKIP = Samples(3840)
PACKETS_PER_PAGE = 40
PAGE = Samples(PACKETS_PER_PAGE * PACKET)
HEAD = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, PRE_SKIP, SAMPLE_RATE, 0, 0)
TAGS = b"OpusTags" + struct.pack("<I10sI", 10, b"RecorderJS", 0)
MOST_BYTES = 1 << 20
"""Bytes after which a slice ends, however short its sound is: packets may be padded."""
_MOST_LACING = 255


@dataclass(frozen=True, slots=True)
class Slice:
    """A slice as it is uploaded; `samples` is the length of its packets."""

    data: bytes
    samples: Samples
    last: bool  # of its run

    @property
    def duration_ms(self) -> DurationMs:
        return to_ms(self.samples)


class Slicer:
    """The recorder during one run: takes packets, gives slices.

    `seconds`: the length of each slice, or those of the first ones and of all later ones. A page ends with the packet
    that makes it as long as `page`.
    """

    def __init__(
        self,
        serial: int,
        seconds: float | Sequence[float],
        *,
        head: bytes = HEAD,
        tags: bytes = TAGS,
        page: Samples = PAGE,
    ) -> None:
        self.serial = serial
        self.samples = Samples(0)  # of all packets in the slices so far
        self.ended = False
        self._lengths = [seconds] if isinstance(seconds, int | float) else list(seconds)
        self._page_samples = page
        self._headers = self._page(0, 0, BEGINS, (head,)) + self._page(1, 0, 0, (tags,))
        self._pages: list[bytes] = []  # of the slice that is being filled
        self._bytes = 0  # of these
        self._packets: list[bytes] = []  # of the page that is being filled
        self._lacing = 0  # lacing values of these
        self._filled = 0  # samples of these
        self._number = 2
        self._granule = 0

    def feed(self, packets: Sequence[bytes]) -> list[Slice]:
        """Take packets in; give the slices that are full now. Raises GiveUp for bytes that are no packet."""
        slices = []
        for packet in packets:
            self._add(packet)
            if self._filled >= self._page_samples or self._bytes >= MOST_BYTES:
                self._turn_page(0)
                if self._granule - self.samples >= self._lengths[0] * SAMPLE_RATE or self._bytes >= MOST_BYTES:
                    slices.append(self._slice())
        return slices

    def end(self, packets: Sequence[bytes] = (), trim: int = 0) -> Slice:
        """Give the run's last slice, with the page that has the end flag. `packets`: the last ones, all on this page if
        it has room for them; the sound ends so many samples before they do."""
        if packets:
            if self._lacing + sum(len(lacing_of(packet)) for packet in packets) > _MOST_LACING:
                self._turn_page(0)
            for packet in packets:
                self._add(packet)
        self._granule -= min(max(0, trim), self._filled)
        self._turn_page(ENDS)
        self.ended = True
        return self._slice()

    def _add(self, packet: bytes) -> None:
        lacing = len(packet) // 255 + 1
        if self._lacing + lacing > _MOST_LACING:
            self._turn_page(0)
        length = duration(packet)
        self._packets.append(packet)
        self._lacing += lacing
        self._filled += length
        self._granule += length
        self._bytes += len(packet)

    def _turn_page(self, flags: int) -> None:
        granule = self._granule if self._packets else NO_GRANULE
        self._pages.append(self._page(self._number, granule, flags, self._packets))
        self._number += 1
        self._packets, self._lacing, self._filled = [], 0, 0

    def _slice(self) -> Slice:
        pages = b"".join(self._pages)
        samples = Samples(self._granule - self.samples)
        self._pages, self._bytes = [], 0
        self.samples = Samples(self._granule)
        if len(self._lengths) > 1:
            del self._lengths[0]
        return Slice(self._headers + pages, samples, last=self.ended)

    def _page(self, number: int, granule: int, flags: int, packets: Sequence[bytes]) -> bytes:
        lacing = b"".join(map(lacing_of, packets))
        return write_page(OggPage(flags, granule, self.serial, number, lacing, b"".join(packets)))
