"""Opus in Ogg (RFC 7845): what a chunk's pages prove, and Ogg files of our own around its packets.

What real chunks bring (voice broadcasts of Element Web): each has copies of the two header pages in front; serial,
page numbers and granules run on over the chunks of one run. An empty tail is an EOS page without packets. From
2022-10-20 to 2022-11-25 the headers of a chunk could have another serial than its sound, or be doubled
(https://github.com/matrix-org/matrix-react-sdk/pull/9617): so any OpusHead before the sound is its head.
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from bot.audio.ogg import (
    BEGINS,
    ENDS,
    MAX_PACKET,
    NO_GRANULE,
    PacketReader,
    Page,
    lacing_of,
    read_pages,
    write_page,
)
from bot.errors import GiveUp
from storage.records import SAMPLE_RATE, ChunkFacts, Container, OggFacts, Samples, Timing

_FRAMES = [480, 960, 1920, 2880] * 3 + [480, 960] * 2 + [120, 240, 480, 960] * 4  # RFC 6716, table 2
MAX_DURATION = 5760  # samples: 120 ms, RFC 6716, section 3.2.5
MAX_HEADER_PAGES = 1024
PACKETS_PER_PAGE = 50
_TAGS = b"OpusTags" + struct.pack("<I8sI", 8, b"aircheck", 0)


class Chained(Exception):
    """More than one stream of sound in one file: nothing that a sliced broadcast would hold."""


def duration(packet: bytes) -> Samples:
    """A packet's length at 48 kHz (RFC 6716, section 3.1). Raises GiveUp (`undecodable`)."""
    if not packet or len(packet) > MAX_PACKET:
        raise GiveUp("an Opus packet has no valid size", reason="undecodable")
    code = packet[0] & 3
    if code == 3 and len(packet) < 2:
        raise GiveUp("an Opus packet has no frame count", reason="undecodable")
    count = 1 if code == 0 else 2 if code < 3 else packet[1] & 63
    samples = _FRAMES[packet[0] >> 3] * count
    if not 0 < samples <= MAX_DURATION:
        raise GiveUp("an Opus packet has no valid length", reason="undecodable")
    return Samples(samples)


@dataclass(frozen=True, slots=True)
class Head:
    """An OpusHead packet (RFC 7845, section 5.1)."""

    packet: bytes
    channels: int
    pre_skip: Samples
    input_rate: int

    def with_pre_skip(self, samples: int) -> bytes:
        """The packet with another pre-skip (at most 65,535 samples)."""
        return self.packet[:10] + struct.pack("<H", samples) + self.packet[12:]


def read_head(packet: bytes) -> Head:
    """Raises GiveUp (`undecodable`) for a version or a size that nobody can read."""
    if len(packet) < 19 or packet[8] >> 4 != 0 or packet[9] == 0:
        raise GiveUp("the OpusHead of the chunk is not valid", reason="undecodable")
    pre_skip, rate = struct.unpack_from("<HI", packet, 10)
    return Head(packet, packet[9], Samples(pre_skip), rate)


class OpusReader:
    """The audio pages of one chunk with the packets that end on each. `head` is known from the first of them on."""

    def __init__(self, file: BinaryIO) -> None:
        self.head: Head | None = None
        self._file = file
        self._untagged: set[int] = set()  # serials whose OpusTags has not ended yet
        self._foreign: set[int] = set()  # serials of other codecs

    def __iter__(self) -> Iterator[tuple[Page, list[bytes]]]:
        """Raises GiveUp (as read_pages, `headers_missing`, `undecodable`) and Chained."""
        packets = PacketReader()
        sound: int | None = None  # the serial
        headers = 0
        for page in read_pages(self._file):
            if self._is_header(page):
                headers += 1
                if headers > MAX_HEADER_PAGES:
                    raise GiveUp("the headers of the chunk do not end", reason="headers_missing")
                if sound is not None and page.serial not in self._foreign:
                    raise Chained
            elif page.serial not in self._foreign:
                if self.head is None:
                    raise GiveUp("the Ogg headers of the chunk are missing", reason="headers_missing")
                if sound not in (None, page.serial):
                    raise Chained
                sound = page.serial
                yield page, packets.feed(page)

    def _is_header(self, page: Page) -> bool:
        """The first page of any stream, and the pages of an OpusTags (which may hold a large picture)."""
        if page.begins:
            if page.body.startswith(b"OpusHead"):
                self.head = read_head(page.body)
                self._untagged.add(page.serial)
            else:
                self._foreign.add(page.serial)
            return True
        if page.serial not in self._untagged:
            return False
        tags = page.continued or page.body.startswith(b"OpusTags")
        if not tags or min(page.lacing, default=0) < 255:
            self._untagged.discard(page.serial)
        return tags


@dataclass(slots=True)
class _Tally:
    """Counts the pages of a chunk."""

    first_page: int
    last_page: int
    serial: int
    packets: int = 0  # samples
    start: int | None = None
    end: int = NO_GRANULE
    contiguous: bool = True
    eos: bool = False

    def add(self, page: Page, samples: int) -> None:
        self.contiguous = self.contiguous and page.number == self.last_page + 1
        self.last_page = page.number
        self.eos = page.ends
        self.packets += samples
        if samples and page.granule >= 0:
            if self.start is None:
                # A run that fits on its only page may end before its last packet does.
                self.start = max(0, page.granule - self.packets)
            self.end = page.granule


def opus_facts(file: BinaryIO, *, max_samples: int) -> ChunkFacts:
    """Walks all pages with their checksums; nothing is decoded.

    A chunk without packets has granules of -1. Raises GiveUp (as read_pages, `headers_missing`, `undecodable`,
    `empty`: not even a page, `too_long`) and Chained.
    """
    reader = OpusReader(file)
    tally: _Tally | None = None
    for page, packets in reader:
        if tally is None:
            tally = _Tally(first_page=page.number, last_page=page.number - 1, serial=page.serial)
        tally.add(page, sum(map(duration, packets)))
        if tally.packets > max_samples:
            raise GiveUp("the chunk is longer than a broadcast may be", reason="too_long")
    if reader.head is None or tally is None:
        raise GiveUp("the chunk holds no page of sound", reason="empty")
    return _facts(reader.head, tally)


def _facts(head: Head, tally: _Tally) -> ChunkFacts:
    start = NO_GRANULE if not tally.packets else tally.start or 0
    end = tally.end if tally.end >= 0 or not tally.packets else start + tally.packets
    ogg = OggFacts(
        serial=tally.serial,
        first_page=tally.first_page,
        last_page=tally.last_page,
        start_granule=start,
        end_granule=end,
        eos=tally.eos,
        pre_skip=head.pre_skip,
        packet_samples=Samples(tally.packets),
        contiguous=tally.contiguous,
        head_sha256=hashlib.sha256(head.packet).hexdigest(),
    )
    return ChunkFacts(
        container=Container.OGG_OPUS,
        timing=Timing.EXACT,
        samples=Samples(max(0, tally.packets - head.pre_skip - end_trim(ogg))),
        sample_rate=head.input_rate or SAMPLE_RATE,
        channels=head.channels,
        ogg=ogg,
    )


def end_trim(facts: OggFacts) -> Samples:
    """What the granule of the last page cuts off the end of a stream (RFC 7845, section 4.4)."""
    if not facts.eos:
        return Samples(0)
    surplus = facts.start_granule + facts.packet_samples - facts.end_granule
    return Samples(min(max(0, surplus), facts.packet_samples))


class OpusWriter:
    """An Ogg Opus file of our own: packets in, fresh pages and granules out."""

    def __init__(self, file: BinaryIO, head: Head, *, pre_skip: int) -> None:
        self._file = file
        self._number = 0
        self._granule = 0
        self._packets: list[bytes] = []
        self._lacing = bytearray()
        self._write(BEGINS, head.with_pre_skip(pre_skip), lacing_of(head.packet))
        self._write(0, _TAGS, lacing_of(_TAGS))

    def put(self, packet: bytes) -> None:
        """Adds one packet. Raises GiveUp (`undecodable`) if it is none."""
        samples = duration(packet)
        lacing = lacing_of(packet)
        if len(self._packets) == PACKETS_PER_PAGE or len(self._lacing) + len(lacing) > 255:
            self._flush(0)
        self._packets.append(packet)
        self._lacing += lacing
        self._granule += samples

    def close(self) -> None:
        """Ends the stream; the file stays open."""
        self._flush(ENDS)

    def _flush(self, flags: int) -> None:
        self._write(flags, b"".join(self._packets), bytes(self._lacing))
        self._packets.clear()
        self._lacing.clear()

    def _write(self, flags: int, body: bytes, lacing: bytes) -> None:
        self._file.write(write_page(Page(flags, self._granule, 1, self._number, lacing, body)))
        self._number += 1
