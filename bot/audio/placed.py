"""The files of a call's stems, placed on its clock: each begins at 0 of the call, with silence up to its own beginning.

So every program lines them up that opens them side by side, also those that know of no offsets. Pages are written
again with other numbers and granules; no packet is touched.
"""

import heapq
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO

from bot.audio.ogg import BEGINS, OggPage, lacing_of, read_pages, write_page
from bot.audio.opus_head import TAGS, read_head
from bot.audio.opus_packets import MAX_DURATION, SILENT_UNIT, digital_silence, length_of
from bot.errors import GiveUp
from storage.records import Samples

HEADERS = 2  # pages of a stem's file
PAGE = 50 * MAX_DURATION  # samples of silence on a page: 6 s
BLOCK_BYTES = 1 << 18
UNSENT = 2  # the mark of this silence: nothing was sent (`bot.calls.stems.stream.Silence`)


def placed(file: BinaryIO, begin: Samples, *, serial: int, title: str) -> Iterator[OggPage]:
    """Yield the pages of a stem's file that begins at `begin`, from 0 on. `title` is what players show. A damaged file
    ends at its damage."""
    pages = _whole(file)
    head = next(pages, None)
    if head is None or next(pages, None) is None:
        return
    silence = -(-begin // SILENT_UNIT) * SILENT_UNIT
    packet = read_head(head.body).with_pre_skip(silence - begin)
    yield OggPage(BEGINS, 0, serial, 0, lacing_of(packet), packet)
    tags = _tags(title)
    yield OggPage(0, 0, serial, 1, lacing_of(tags), tags)
    number = HEADERS
    for page in _silent(silence, serial):
        yield page
        number += 1
    for page in pages:
        yield replace(page, serial=serial, number=number, granule=page.granule + silence)
        number += 1


def together(streams: Sequence[Iterable[OggPage]]) -> Iterator[OggPage]:
    """Yield the pages of several streams as one file (RFC 3533, section 4): all first pages, then each page when its
    sound ends."""
    iterators = [iter(stream) for stream in streams]
    firsts = [page for stream in iterators if (page := next(stream, None)) is not None]
    yield from firsts
    yield from heapq.merge(*iterators, key=lambda page: page.granule)


def blocks(pages: Iterable[OggPage]) -> Iterator[bytes]:
    """Yield the bytes of pages in blocks of some BLOCK_BYTES."""
    block = bytearray()
    for page in pages:
        block += write_page(page)
        if len(block) >= BLOCK_BYTES:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)


def _whole(file: BinaryIO) -> Iterator[OggPage]:
    try:
        yield from read_pages(file)
    except GiveUp:
        return


def _silent(samples: int, serial: int) -> Iterator[OggPage]:
    granule, number = 0, HEADERS
    while granule < samples:
        packets = digital_silence(min(PAGE, samples - granule), UNSENT)
        granule += sum(length_of(packet) or 0 for packet in packets)
        yield OggPage(0, granule, serial, number, b"".join(map(lacing_of, packets)), b"".join(packets))
        number += 1


def _tags(title: str) -> bytes:
    """Return an OpusTags packet (RFC 7845, section 5.2) with a title."""
    comment = f"TITLE={title}".encode("utf-8", "replace")
    vendor = TAGS[:-4]  # without the number of comments
    return vendor + struct.pack("<II", 1, len(comment)) + comment
