"""Ogg Opus that arrives bit by bit and never ends, packet by packet. Pure.

Files are read by `bot.audio.opus_reader`, which looks back and ahead. Here nothing is kept but a page: what comes is as
hostile as a file, and may go on for a day. A stream may be followed by another one, as source clients begin one for
each song; streams of other codecs beside it are passed over.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from bot.audio.ogg import CAPTURE, HEADER, OggPage, PacketReader, checksum
from bot.audio.opus_head import Head, read_head
from bot.audio.opus_packets import duration, length_of, lost, silence, well_formed
from bot.errors import GiveUp
from storage.records import SAMPLE_RATE, Samples

_HEAD, _TAGS = b"OpusHead", b"OpusTags"
_IN_VAIN = 1 << 20  # bytes that may be checked as pages without being one, besides half of what came
_MOST_CAPTURES = 64  # beginnings of a last page that are tried
_AT_LEAST = 1024  # bytes that each try counts as, at least
_WITHOUT_SOUND = 5000  # pages that may come in a row without any
_PAGES_A_SECOND = 1000  # of sound: packets may be of 2.5 ms, each on its own page, and pictures stand beside them
MOST_PAGE = HEADER.size + 255 + 255 * 255
"""Bytes of the longest page."""
LONGEST_HOLE = 60 * SAMPLE_RATE
"""Samples of silence that take the place of lost pages; a longer step of the granules is no hole."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The packets that ended on one page. `head`: of the stream that begins with it; None where one goes on."""

    packets: Sequence[bytes]
    samples: Samples
    head: Head | None = None
    ends: bool = False  # the stream ends with it
    trim: int = 0  # samples before the end of the last packet where the sound ends; of a stream that ends


class PagesArriving:
    """Ogg pages out of bytes as they come. Other bytes between them are passed over."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._may_try = _IN_VAIN

    def feed(self, data: bytes) -> list[OggPage]:
        """Take bytes in; give the pages that are whole now. Raises GiveUp (`bad_checksum`) where too many bytes only
        look like pages."""
        self._buffer += data
        self._may_try += len(data) // 2
        pages, at = [], 0
        while (at := self._buffer.find(CAPTURE, at)) >= 0:
            size = self.size_at(self._buffer, at)
            if size is None or at + size > len(self._buffer):
                break
            page = _page(bytes(self._buffer[at : at + size]))
            if page is not None:
                pages.append(page)
                at += size
                continue
            self._may_try -= max(size, _AT_LEAST)
            if self._may_try < 0:
                raise GiveUp("what comes is made of damaged Ogg pages", reason="bad_checksum")
            at += 1
        del self._buffer[: at if at >= 0 else max(0, len(self._buffer) - len(CAPTURE) + 1)]
        return pages

    @staticmethod
    def size_at(buffer: bytes | bytearray, at: int) -> int | None:
        """Return the bytes of the page that begins here; None until its header is there."""
        if len(buffer) < at + HEADER.size:
            return None
        segments = buffer[at + HEADER.size - 1]
        lacing = buffer[at + HEADER.size : at + HEADER.size + segments]
        return HEADER.size + segments + sum(lacing) if len(lacing) == segments else None


def _page(data: bytes) -> OggPage | None:
    _, version, flags, granule, serial, number, expected, segments = HEADER.unpack_from(data)
    if version != 0 or checksum(data[:22] + bytes(4) + data[26:]) != expected:
        return None
    body = HEADER.size + segments
    return OggPage(flags, granule, serial, number, data[HEADER.size : body], data[body:])


def ends_ogg(newest: bytes) -> bool:
    """Return whether these bytes end with the last page of an Ogg stream. As many as MOST_PAGE are enough."""
    at = newest.rfind(CAPTURE)
    for _ in range(_MOST_CAPTURES):
        if at < 0:
            break
        if PagesArriving.size_at(newest, at) == len(newest) - at and (page := _page(newest[at:])) is not None:
            return page.ends
        at = newest.rfind(CAPTURE, 0, at)
    return False


class OpusArriving:
    """The Opus in Ogg pages as they come."""

    def __init__(self) -> None:
        self._pages = PagesArriving()
        self._packets = PacketReader()
        self._head: Head | None = None
        self._fresh = False  # no packet of the stream came so far
        self._serial: int | None = None
        self._in_tags = False
        self._next = 0  # the number of its next page
        self._granule: int | None = None  # as the packets so far have it; None before the first page of sound
        self._may_read = _WITHOUT_SOUND  # pages

    def feed(self, data: bytes) -> Generator[Stretch]:
        """Take bytes in; yield the sound that is there now, of which all has to be taken. It is made as it is taken:
        a page of 30 bytes may tell of a minute that was lost. Raises GiveUp: `bad_checksum`, `undecodable` (also for a
        stream whose packets hold several streams, and for pages that hold next to no sound)."""
        for page in self._pages.feed(data):
            self._may_read -= 1
            if self._may_read < 0:
                raise GiveUp("what comes has many pages and no sound in them", reason="undecodable")
            if (stretch := self._of(page)) is not None:
                earned = stretch.samples * _PAGES_A_SECOND // SAMPLE_RATE
                self._may_read = min(_WITHOUT_SOUND, self._may_read + earned)
                yield stretch

    def _of(self, page: OggPage) -> Stretch | None:
        if page.begins and page.body.startswith(_HEAD):
            self._begin(page)
            return None
        if page.serial != self._serial:
            return None
        if self._in_tags:
            left = self._behind_tags(page)
            if left is None:
                return None
            page = left
        return self._sound(page)

    def _begin(self, page: OggPage) -> None:
        head = read_head(page.first_packet)
        if not head.one_stream:
            raise GiveUp("what comes has several streams in one", reason="undecodable")
        self._head, self._fresh, self._serial, self._in_tags = head, True, page.serial, True
        self._next, self._granule = page.number + 1, None
        self._packets = PacketReader()

    def _behind_tags(self, page: OggPage) -> OggPage | None:
        """Return the page without the tags, which may be as long as a picture; None where it holds nothing else."""
        self._next = page.number + 1
        if not page.continued and not page.body.startswith(_TAGS):
            self._in_tags = False  # there are none
            return page
        if min(page.lacing, default=0) == 255:
            return None
        self._in_tags = False
        rest = page.behind_first()
        return rest if rest.lacing else None

    def _sound(self, page: OggPage) -> Stretch | None:
        whole = page.number == self._next
        if not whole:
            self._packets.reset()
        self._next = page.number + 1
        packets = [packet if well_formed(packet) else lost(packet) for packet in self._fed(page)]
        samples: int = sum(map(duration, packets))
        if self._granule is None:
            self._granule = 0 if page.ends or page.granule < samples else page.granule - samples
        elif not whole and packets and 0 < (hole := page.granule - self._granule - samples) <= LONGEST_HOLE:
            filling = silence(packets[0], hole)
            packets = [*filling, *packets]
            samples += sum(map(duration, filling))
        self._granule += samples
        if not packets and not page.ends:
            return None
        trim = max(0, self._granule - page.granule) if page.ends and packets and page.granule >= 0 else 0
        head, self._fresh = (self._head if self._fresh else None), False
        return Stretch(packets, Samples(samples), head, page.ends, min(trim, samples))

    def _fed(self, page: OggPage) -> list[bytes]:
        return [packet for packet in self._packets.feed(page) if length_of(packet) is not None]
