"""Opus in Ogg (RFC 7845): what a chunk's pages prove.

What real chunks bring (voice broadcasts of Element Web): each has copies of the two header pages in front; serial,
page numbers and granules run on over the chunks of one run. An empty tail is an EOS page without packets. What was
recorded after a resume is broken in two ways (https://github.com/element-hq/element-ios/issues/7311):

- From 2022-10-20 to 2022-11-25 headers have the serial of an earlier run, or are doubled. The head of the sound's own
  serial counts, else any: it is as good for the decoder, but says nothing of the run.
- From then to 2023-01-31 all chunks of a run but the first have no headers. The pages alone must prove then that they
  hold Opus: each packet has a valid length, and together they pass as much time as the granules do from page to page.
  Such a chunk is decoded as if it had the head that RFC 7845 (section 5.1) recommends, and that this client writes:
  pre-skip 3840, no gain. Even if it is the first of its run that is there: then it stands where it will stand when the
  head turns up.
"""

import hashlib
import struct
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from bot.audio.ogg import NO_GRANULE, STRETCH, PacketReader, Page, read_pages
from bot.audio.opus_packets import duration, is_stereo
from bot.errors import GiveUp
from storage.records import SAMPLE_RATE, ChunkFacts, Container, OggFacts, Samples, Timing

MAX_HEADER_PAGES = 1024
MAX_IDLE_PAGES = 10_000  # that no packet of sound ends on: their bytes buy nothing but work
MAX_FINE_PACKETS = 10_000  # in a chunk of more than that they last 10 ms on average: no recorder makes them shorter
_SHORTEST = 480  # samples
USUAL_PRE_SKIP = Samples(3840)
TAGS = b"OpusTags" + struct.pack("<I8sI", 8, b"aircheck", 0)


class Chained(Exception):
    """More than one stream of sound in one file: nothing that a sliced broadcast would hold."""


@dataclass(frozen=True, slots=True)
class Head:
    """An OpusHead packet (RFC 7845, section 5.1)."""

    packet: bytes
    channels: int
    pre_skip: Samples
    input_rate: int

    @property
    def one_stream(self) -> bool:
        """Each packet is one of Opus; in other mapping families it may be several in a row (RFC 7845, section 3)."""
        return self.packet[18] == 0

    def with_pre_skip(self, samples: int) -> bytes:
        """The packet with another pre-skip (at most 65,535 samples)."""
        return self.packet[:10] + struct.pack("<H", samples) + self.packet[12:]


def read_head(packet: bytes) -> Head:
    """Raises GiveUp (`undecodable`) for a version or a size that nobody can read, and for streams that nobody hears:
    each has to be decoded."""
    if len(packet) < 19 or packet[8] >> 4 != 0 or packet[9] == 0:
        raise GiveUp("the OpusHead of the chunk is not valid", reason="undecodable")
    if packet[18] and (len(packet) < 21 or packet[19] + packet[20] > packet[9]):
        raise GiveUp("the chunk has more streams than channels", reason="undecodable")
    pre_skip, rate = struct.unpack_from("<HI", packet, 10)
    return Head(packet, packet[9], Samples(pre_skip), rate)


def usual_head(channels: int) -> Head:
    """What stands for a head that is not there (1 or 2 channels)."""
    packet = b"OpusHead" + struct.pack("<BBHIhB", 1, channels, USUAL_PRE_SKIP, SAMPLE_RATE, 0, 0)
    return Head(packet, channels, USUAL_PRE_SKIP, SAMPLE_RATE)


class OpusReader:
    """The audio pages of one chunk with the packets that end on each. What it says of them is known from the first of
    them on."""

    def __init__(self, file: BinaryIO) -> None:
        self.serial: int | None = None  # of the sound
        self.head: Head | None = None
        self._file = file
        self._heads: dict[int, Head] = {}
        self._untagged: set[int] = set()  # serials whose OpusTags has not ended yet
        self._foreign: set[int] = set()  # serials of other codecs

    def __iter__(self) -> Iterator[tuple[Page, list[bytes]]]:
        """Raises GiveUp (as read_pages, `headers_missing`, `undecodable`) and Chained."""
        packets = PacketReader()
        headers = idle = 0
        for page in read_pages(self._file):
            ended: list[bytes] = []
            if self._is_header(page):
                headers += 1
                if headers > MAX_HEADER_PAGES:
                    raise GiveUp("the headers of the chunk do not end", reason="headers_missing")
                if self.serial is not None and page.serial not in self._foreign:
                    raise self._another()
            elif page.serial not in self._foreign:
                if self.serial is None:
                    self.serial = page.serial
                    self.head = self._heads.get(page.serial, next(reversed(self._heads.values()), None))
                if self.serial != page.serial:
                    raise self._another()
                ended = packets.feed(page)
                yield page, ended
            idle += not ended
            if idle > MAX_IDLE_PAGES:
                raise GiveUp("the pages of the chunk bring no sound", reason="undecodable")

    @property
    def headless(self) -> bool:
        """There is sound, and no OpusHead before it."""
        return self.serial is not None and self.head is None

    @property
    def head_is_its_own(self) -> bool:
        """The head is of the sound's own stream."""
        return self.serial in self._heads

    def _another(self) -> Exception:
        """A second stream of sound. Without a head nothing proves that there are two."""
        return headers_missing() if self.headless else Chained()

    def _is_header(self, page: Page) -> bool:
        """The first page of any stream, and the pages of an OpusTags (which may hold a large picture)."""
        if page.begins:
            if page.body.startswith(b"OpusHead"):
                self._heads.pop(page.serial, None)
                self._heads[page.serial] = read_head(page.body)
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


def headers_missing() -> GiveUp:
    return GiveUp("the Ogg headers of the chunk are missing", reason="headers_missing")


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
    stereo: bool = False
    lengths: set[int] = field(default_factory=set)  # of packets: RFC 6716 allows no more than a few
    agreed: int = 0  # pages whose packets pass as much time as their granule says
    disagreed: bool = False

    def add(self, page: Page, packets: Sequence[bytes]) -> None:
        lengths = [duration(packet) for packet in packets]
        samples = sum(lengths)
        self.lengths.update(lengths)
        self.stereo = self.stereo or any(map(is_stereo, packets))
        follows = page.number == self.last_page + 1
        self._compare(page, samples, follows=follows)
        self.contiguous = self.contiguous and follows
        self.last_page = page.number
        self.eos = page.ends
        self.packets += samples
        if samples and page.granule >= 0:
            if self.start is None:
                # A run that fits on its only page may end before its last packet does.
                self.start = max(0, page.granule - self.packets)
            self.end = page.granule

    def _compare(self, page: Page, samples: int, *, follows: bool) -> None:
        """The packets of a page with its granule; a last page may cut its end off (RFC 7845, section 4.4)."""
        if not samples:
            return
        begins = page.granule - samples
        if self.start is None or not follows:
            before = 0 if self.start is None else self.end
            self.disagreed = self.disagreed or begins < before
        elif begins == self.end or (page.ends and self.end <= page.granule < self.end + samples):
            self.agreed += 1
        else:
            self.disagreed = True

    @property
    def is_opus(self) -> bool:
        """Proved by the pages alone. Of a single page all packets must be of one length, and its granule a multiple of
        that; one without packets only ends a stream."""
        if not self.packets:
            return self.eos
        if self.agreed:
            return not self.disagreed
        return not self.disagreed and len(self.lengths) == 1 and self.end % next(iter(self.lengths)) == 0


def opus_facts(file: BinaryIO, *, max_samples: int) -> ChunkFacts:
    """Walks all pages with their checksums; nothing is decoded.

    A chunk without packets has granules of -1. Raises GiveUp (as read_pages, `headers_missing`: no head, and nothing
    proves that it is Opus, `undecodable`, `empty`: not even a page, `too_long`) and Chained.
    """
    walk = walk_opus(file, max_samples=max_samples)
    while True:
        try:
            next(walk)
        except StopIteration as end:
            facts: ChunkFacts = end.value
            return facts


def walk_opus(file: BinaryIO, *, max_samples: int) -> Generator[None, None, ChunkFacts]:
    """The same, a stretch of pages at a time."""
    reader = OpusReader(file)
    try:
        tally = yield from _walked(reader, max_samples)
    except GiveUp as damage:
        if reader.headless and damage.reason == "undecodable":
            raise headers_missing() from None
        raise
    if reader.headless and not tally.is_opus:
        raise headers_missing()
    head = reader.head or usual_head(2 if tally.stereo else 1)
    return _facts(head, tally, known=reader.head_is_its_own)


def _walked(reader: OpusReader, max_samples: int) -> Generator[None, None, _Tally]:
    tally: _Tally | None = None
    count = 0
    for number, (page, packets) in enumerate(reader):
        if tally is None:
            tally = _Tally(first_page=page.number, last_page=page.number - 1, serial=page.serial)
        tally.add(page, packets)
        count += len(packets)
        if count > MAX_FINE_PACKETS and tally.packets < count * _SHORTEST:
            raise GiveUp("the chunk is made of too many tiny packets", reason="undecodable")
        if tally.packets > max_samples:
            raise GiveUp("the chunk is longer than a broadcast may be", reason="too_long")
        if number % STRETCH == STRETCH - 1:
            yield
    if tally is None:
        raise GiveUp("the chunk holds no page of sound", reason="empty")
    return tally


def _facts(head: Head, tally: _Tally, *, known: bool) -> ChunkFacts:
    """`known`: the head is that of this stream."""
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
        head_sha256=hashlib.sha256(head.packet).hexdigest() if known else "",
    )
    return ChunkFacts(
        container=Container.OGG_OPUS,
        timing=Timing.EXACT,
        samples=Samples(max(0, tally.packets - head.pre_skip - ogg.end_trim())),
        sample_rate=head.input_rate or SAMPLE_RATE,
        channels=head.channels,
        ogg=ogg,
    )
