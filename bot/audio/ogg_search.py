"""A search for Ogg pages in files that are damaged or hold other bytes: it finds every intact page once, in its place.

Other bytes between pages are skipped: a tag after the last page, a line break, the rest of a page whose checksum is
wrong. Pages are sorted by their numbers, and a page that was written twice counts once. The work is bounded: the bytes
that are searched in vain, and the pages that wait for an earlier one.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import BinaryIO

from bot.audio.ogg import CAPTURE, HEADER, STRETCH, OggPage, checksum
from bot.errors import GiveUp

MOST_WAITING = 1024  # pages; a larger step in the numbers is a jump, not that many missing pages
_AT_FIRST = 16  # pages that wait for a lower number at the beginning
_WAITING_BYTES = 1 << 23
_IN_VAIN = 1 << 20  # bytes that may be checked as pages without being one, besides half of the file
_AT_LEAST = 1024  # bytes that each try counts as, at least
_BLOCK = 1 << 16
_SMALL_PAGES = 100_000  # in a file with more, pages must have _SMALLEST bytes on average
_SMALLEST = 80


@dataclass(frozen=True, slots=True)
class Torn:
    """Bytes that are no intact page."""

    size: int
    page: OggPage | None = None  # the page that the bytes seem to have been, with as much of its body as is left
    cut: bool = False  # the file ends before this page does


def find_pages(file: BinaryIO) -> Iterator[OggPage | Torn]:
    """Yield all intact pages from the file's position to its end, and the bytes between them. Raises GiveUp
    (`bad_checksum`) where too many bytes only look like pages."""
    at = file.tell()
    end = file.seek(0, os.SEEK_END)
    file.seek(at)
    left = _IN_VAIN + (end - at) // 2
    begun, seen = at, Torn(0)  # offset of the bytes that are no page, and the page that they seem to have been
    while at < end:
        item = _read(file)
        if isinstance(item, OggPage):
            if at > begun:
                yield Torn(at - begun, seen.page, seen.cut)
            yield item
            at += HEADER.size + len(item.lacing) + len(item.body)
            begun, seen = at, Torn(0)
            continue
        if item.size:
            seen = seen if seen.page else item
            left -= max(item.size, _AT_LEAST)
        if left < 0:
            raise GiveUp("the chunk is made of damaged Ogg pages", reason="bad_checksum")
        at = _next_capture(file, at + 1, end)
        file.seek(at)
    if at > begun:
        yield Torn(at - begun, seen.page, seen.cut)


def walk_pages(file: BinaryIO) -> Iterator[None]:
    """Check that no page is damaged or missing from the file's position to its end; other bytes are ignored. Yields
    after each stretch of pages. For Vorbis and FLAC, whose pages are larger than those of Opus.

    Raises GiveUp: `not_audio`, `truncated`, `bad_checksum`, and `undecodable` for too many small pages.
    """
    size = count = 0
    due: dict[int, int] = {}  # by serial
    torn: Torn | None = None
    for item in find_pages(file):
        if isinstance(item, Torn):
            torn = item
            continue
        if torn is not None and item.number != due.get(item.serial, item.number):
            raise _damaged(torn)
        due[item.serial], torn = item.number + 1, None
        size += HEADER.size + len(item.lacing) + len(item.body)
        count += 1
        if count > _SMALL_PAGES and size < count * _SMALLEST:
            raise GiveUp("the chunk is made of too many small pages", reason="undecodable")
        if count % STRETCH == 0:
            yield
    if torn is not None and (torn.page is not None or torn.cut):
        raise _damaged(torn)
    if not count:
        raise GiveUp("the chunk is not made of Ogg pages", reason="not_audio")


def _damaged(torn: Torn) -> GiveUp:
    if torn.cut:
        return GiveUp("the last Ogg page is cut off", reason="truncated")
    return GiveUp("the checksum of an Ogg page does not match", reason="bad_checksum")


def _read(file: BinaryIO) -> OggPage | Torn:
    """Read the page that begins at this offset, else the bytes that look like one (size 0: none do)."""
    header = file.read(HEADER.size)
    if not header.startswith(CAPTURE[: len(header)]):
        return Torn(0)
    if len(header) < HEADER.size:
        return Torn(len(header), cut=True)
    _, version, flags, granule, serial, number, expected, segments = HEADER.unpack(header)
    lacing = file.read(segments)
    body = file.read(sum(lacing))
    size = len(header) + len(lacing) + len(body)
    if len(lacing) < segments:
        return Torn(size, cut=True)
    page = OggPage(flags, granule, serial, number, lacing, body)
    if len(body) < sum(lacing):
        return Torn(size, page, cut=True)
    whole = version == 0 and checksum(header[:22] + bytes(4) + header[26:] + lacing + body) == expected
    return page if whole else Torn(size, page)


def _next_capture(file: BinaryIO, at: int, end: int) -> int:
    """Return the offset at which the next page may begin; `end` if there is none."""
    file.seek(at)
    rest = b""
    while block := file.read(_BLOCK):
        place = (rest + block).find(CAPTURE)
        if place >= 0:
            return at - len(rest) + place
        at += len(block)
        rest = (rest + block)[-3:]
    return end


@dataclass(frozen=True, slots=True)
class PlacedPage:
    """A page in its place in its stream."""

    page: OggPage
    missing: int = 0  # missing pages before it
    is_next: bool = True  # its number is the one after the page before


class InOrder:
    """The pages of one stream, in the order of their numbers, each once. Where numbers make no sense, pages stay in
    the order of the file."""

    def __init__(self, first: int | None = None) -> None:
        """`first`: the number of the first page; None: the lowest number of the first pages counts."""
        self._next = first
        self._waiting: dict[int, OggPage] = {}
        self._numbers: list[int] = []  # a heap of pages that wait, and of some that did
        self._bytes = 0
        self._seen: OrderedDict[int, tuple[int, int]] = OrderedDict()

    @property
    def next(self) -> int:
        """The number of the page that is due."""
        return min(self._waiting, default=0) if self._next is None else self._next

    @property
    def waiting(self) -> int:
        """The number of pages that wait for pages before them."""
        return len(self._waiting)

    def put(self, page: OggPage) -> list[PlacedPage]:
        """Add a page; return the pages whose place is known now."""
        if self._is_known(page):
            return []
        if page.number == self._next:
            return [self._place(page), *self._due()]
        if page.number in self._waiting or (self._next is not None and self._is_odd(page.number - self._next)):
            before = self.end()
            late = self._next is not None and 0 < self._next - page.number <= MOST_WAITING
            self._next = self._next if late else page.number + 1
            return [*before, PlacedPage(page, is_next=False)]
        heappush(self._numbers, page.number)
        self._waiting[page.number] = page
        self._bytes += len(page.body)
        most = MOST_WAITING if self._next is not None else _AT_FIRST
        return self._skip() if len(self._waiting) > most or self._bytes > _WAITING_BYTES else []

    def end(self) -> list[PlacedPage]:
        """Return the pages that still wait for pages before them."""
        placed: list[PlacedPage] = []
        while self._waiting:
            placed += self._skip()
        return placed

    @staticmethod
    def _is_odd(ahead: int) -> bool:
        return not 0 < ahead <= MOST_WAITING

    def _skip(self) -> list[PlacedPage]:
        """Give up waiting for the pages that are due; return the pages after them."""
        while (first := heappop(self._numbers)) not in self._waiting:
            pass
        missing = 0 if self._next is None else first - self._next
        odd = missing > MOST_WAITING
        self._next = first
        head, *rest = self._due()
        return [PlacedPage(head.page, 0 if odd else missing, is_next=not missing), *rest]

    def _due(self) -> list[PlacedPage]:
        placed: list[PlacedPage] = []
        while self._next in self._waiting:
            page = self._waiting.pop(self._next)
            self._bytes -= len(page.body)
            placed.append(self._place(page))
        return placed

    def _place(self, page: OggPage) -> PlacedPage:
        self._next = page.number + 1
        return PlacedPage(page)

    def _is_known(self, page: OggPage) -> bool:
        """Return whether the very same page was among the last ones."""
        looks = (page.granule, hash((page.lacing, page.body)))
        if self._seen.get(page.number) == looks:
            return True
        self._seen[page.number] = looks
        if len(self._seen) > MOST_WAITING:
            self._seen.popitem(last=False)
        return False
