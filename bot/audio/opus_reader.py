"""The pages of sound in one Ogg Opus chunk, whatever else is in it.

Chunks of Element Web's voice broadcasts begin with copies of the two header pages; serial, page numbers and granules
run on over the chunks of one run. An empty tail is an EOS page without packets. Chunks recorded after a resume are
broken in two ways (https://github.com/element-hq/element-ios/issues/7311):

- From 2022-10-20 to 2022-11-25 headers have the serial of an earlier run, or are doubled. The head of the sound's own
  serial is used, else any other: that serves the decoder as well, but does not identify the run.
- From then to 2023-01-31 all chunks of a run but the first have no headers.

Other writers put sound on the page of the tags, mark tags as a beginning, or begin a second stream after the first. So
a header is recognised by its first bytes, whatever the flags of its page.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import BinaryIO

from bot.audio.ogg import NO_GRANULE, OggPage, PacketReader
from bot.audio.ogg_search import InOrder, PlacedPage, Torn, find_pages
from bot.audio.opus_head import Head, read_head
from bot.audio.opus_packets import length_of
from bot.errors import GiveUp
from storage.records import Samples

MAX_HEADER_PAGES = 1024
MAX_IDLE_PAGES = 10_000  # pages on which no packet of sound ends
MOST_STREAMS = 1000  # in one chunk, one after the other
_FIRST_PAGE = 2  # number of the first page of sound, after two headers
_HEAD, _TAGS = b"OpusHead", b"OpusTags"


@dataclass(frozen=True, slots=True)
class Heard:
    """A page of sound with the packets that end on it."""

    stream: int  # number of the stream, from 0
    placed: PlacedPage
    packets: Sequence[bytes]
    lost: Sequence[Samples | None] = ()  # damaged packets after these, with the samples that they seem to hold


class OpusReader:
    """An iterator over the pages of sound in one chunk, in order. Its attributes describe the stream whose page came
    last, and are valid from the first page on."""

    def __init__(self, file: BinaryIO) -> None:
        self.serial: int | None = None  # of the sound
        self.head: Head | None = None
        self.begins = False  # whether the stream's first page directly follows its headers
        self.torn: Torn | None = None  # the last bytes that were no page
        self.pages = 0  # of any kind
        self._file = file
        self._heads: dict[int, Head] = {}
        self._header_pages: dict[int, int] = {}  # the number of the last one, by serial
        self._in_tags: set[int] = set()  # serials whose OpusTags packet has not ended yet
        self._foreign: set[int] = set()  # serials of other codecs, and of streams that run beside the sound
        self._anew: set[int] = set()  # serials whose head came after sound
        self._stream = -1
        self._first = self._ended = False
        self._order = InOrder()
        self._packets = PacketReader()

    def __iter__(self) -> Iterator[Heard]:
        """Yield the pages of sound. Raises GiveUp (`bad_checksum`, `headers_missing`, `undecodable`)."""
        headers = with_packets = 0
        at_end: Torn | None = None
        for item in find_pages(self._file):
            if isinstance(item, Torn):
                self.torn = at_end = item
                continue
            self.pages, at_end = self.pages + 1, None
            page = self._sound_of(item)
            headers = 0 if page is item else headers + (item.serial not in self._foreign)
            if headers > MAX_HEADER_PAGES:
                raise GiveUp("the headers of the chunk never end", reason="headers_missing")
            for heard in self._taken(page) if page is not None else ():
                with_packets += bool(heard.packets)
                yield heard
            if self.pages - with_packets - self._order.waiting > MAX_IDLE_PAGES:
                raise GiveUp("the pages of the chunk hold no sound", reason="undecodable")
        yield from self._given(self._order.end())
        if at_end is not None:
            yield from self._salvaged(at_end)

    @property
    def headless(self) -> bool:
        """Whether there is sound without an OpusHead before it."""
        return self.serial is not None and self.head is None

    @property
    def head_is_its_own(self) -> bool:
        """Whether the head belongs to the sound's own stream."""
        return self.serial in self._heads

    # ---- headers

    def _sound_of(self, page: OggPage) -> OggPage | None:
        """Return the page without its headers; None where it holds nothing else."""
        serial = page.serial
        if serial in self._foreign:
            return None
        left = page
        if serial in self._in_tags:
            self._header_pages[serial] = page.number
            if min(page.lacing, default=0) == 255:
                return None
            self._in_tags.discard(serial)
            left = page.behind_first() if page.continued else page
        while left.lacing and not left.continued and left.body.startswith((_HEAD, _TAGS)):
            self._take_header(left)
            left = left.behind_first()
        known = serial == self.serial or serial in self._heads
        if left is page and page.begins and not known:
            self._foreign.add(serial)
            return None
        return left if left is page or left.lacing else None

    def _take_header(self, page: OggPage) -> None:
        serial = page.serial
        if page.body.startswith(_TAGS):
            if min(page.lacing) == 255:
                self._in_tags.add(serial)
        else:
            self._heads.pop(serial, None)
            self._heads[serial] = read_head(page.first_packet)
            if self.serial is not None:
                self._anew.add(serial)
        if serial != self.serial or serial in self._anew:
            self._header_pages[serial] = page.number

    # ---- streams

    def _taken(self, page: OggPage) -> Iterator[Heard]:
        """Add a page and yield the pages of sound whose place is known now."""
        if self._is_next_stream(page):
            yield from self._given(self._order.end())
            self._begin(page)
        if page.serial == self.serial:
            yield from self._given(self._order.put(page))

    def _is_next_stream(self, page: OggPage) -> bool:
        """Return whether this page begins another stream: the one before has ended, or the new head came after its
        sound. A stream beside it is ignored, as by other players."""
        if self.serial is None:
            return True
        if page.serial == self.serial:
            return page.serial in self._anew and not self._goes_on(page)
        if self.headless:
            raise headers_missing()  # nothing proves that there are two
        if self._ended or page.serial in self._anew:
            return True
        self._foreign.add(page.serial)
        return False

    def _goes_on(self, page: OggPage) -> bool:
        """Return whether headers in the middle of a stream only begin its next slice: its page numbers run on."""
        self._anew.discard(page.serial)
        return not self._ended and page.number >= self._order.next

    def _begin(self, page: OggPage) -> None:
        serial = page.serial
        if self.serial is not None and self.serial != serial:
            self._foreign.add(self.serial)
        self._anew.discard(serial)
        self.serial, self._ended = serial, False
        self.head = self._heads.get(serial, next(reversed(self._heads.values()), None))
        self._order, self._packets = InOrder(page.number if self._is_first(page) else None), PacketReader()
        self._stream += 1
        if self._stream == MOST_STREAMS:
            raise GiveUp("the chunk is made of too many streams", reason="undecodable")
        self._first = True

    def _given(self, places: Sequence[PlacedPage]) -> Iterator[Heard]:
        for placed in places:
            self._note(placed)
            yield Heard(self._stream, placed, self._packets.feed(placed.page))

    def _note(self, placed: PlacedPage) -> None:
        if self._first:
            self.begins = placed.page.number <= _FIRST_PAGE or self._is_first(placed.page)
            self._first = False
        if not placed.is_next:
            self._packets.reset()
        self._ended = self._ended or placed.page.ends

    def _is_first(self, page: OggPage) -> bool:
        """Return whether the page directly follows the last header of its stream, or holds it."""
        headers = self._header_pages.get(page.serial)
        return headers is not None and page.number in (headers, headers + 1)

    # ---- the end

    def _salvaged(self, torn: Torn) -> Iterator[Heard]:
        """Yield the intact packets of a last page that is damaged or cut off by the end of the file."""
        page = torn.page
        if self.serial is None or self._ended:
            return
        if page is None or page.serial != self.serial or page.number != self._order.next:
            if torn.cut:  # at least one packet
                last = OggPage(0, NO_GRANULE, self.serial, self._order.next - 1, b"", b"")
                yield Heard(self._stream, PlacedPage(last), (), (None,))
            return
        for placed in self._order.put(page):
            self._note(placed)
            there = self._packets.feed(page.shortened())
            if torn.cut:
                whole = list(takewhile(length_of, there))
                count = sum(size < 255 for size in page.lacing) - len(whole)
                yield Heard(self._stream, placed, whole, (None,) * max(1, count))
            else:
                yield Heard(self._stream, placed, (), tuple(map(length_of, there)) or (None,))


def headers_missing() -> GiveUp:
    return GiveUp("the Ogg headers of the chunk are missing", reason="headers_missing")
