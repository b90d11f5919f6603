"""Continuous sound of any kind, as packets of Opus: those that come are kept, all else is encoded once.

A source is looked at by its first bytes, as a file is; what it says of itself counts for nothing. Nothing is read
ahead of the one who takes the packets but a few hundred kilobytes.
"""

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator
from contextlib import aclosing

from bot.audio.ffmpeg import Ffmpeg
from bot.audio.opus_arriving import OpusArriving, PagesArriving, Stretch
from bot.audio.sniff import sniff
from bot.errors import GiveUp
from storage.records import SAMPLE_RATE, Container

LOOK_AT = 4096
"""Bytes after which a source is looked at for the first time: some frames of MP3, or the headers of other kinds."""
MOST_LOOKED_AT = 1 << 16
PIECE = 1 << 12
"""Bytes of pages that are read at once: of the shortest ones they hold 140, some 2 ms of work."""
NEEDS_FILE = frozenset({Container.MP4_AAC, Container.MP4_AMR, Container.MP4_AMR_WB, Container.CAF, Container.MP3})
"""Containers of which ffmpeg reads more out of a file, in which it can jump: tables that may stand at the end, and of
MP3 the place where the sound ends."""


async def sound_of(
    ffmpeg: Ffmpeg, blocks: AsyncIterator[bytes], *, max_seconds: float
) -> AsyncGenerator[Stretch, None]:
    """Yield the sound of a source as it comes. What the source raises is raised after its sound so far.

    Raises GiveUp: `empty`, `not_audio`, `undecodable`, `bad_checksum`. Close the iterator if you leave it early.
    """
    beginning = bytearray()
    container = None
    async for block in blocks:
        beginning += block
        if len(beginning) >= LOOK_AT and (container := _container(bytes(beginning))) is not None:
            break
        if len(beginning) >= MOST_LOOKED_AT:
            break
    if container is None:
        container = _container(bytes(beginning), is_all=True)
    assert container is not None
    kept = container is Container.OGG_OPUS and _is_one_stream(bytes(beginning))
    async with (
        aclosing(_joined(bytes(beginning), blocks)) as whole,
        aclosing(
            _as_it_is(whole, max_seconds) if kept else ffmpeg.to_opus(whole, container, max_seconds=max_seconds)
        ) as sound,
    ):
        async for stretch in sound:
            yield stretch


def _container(beginning: bytes, *, is_all: bool = False) -> Container | None:
    """Return the container of what begins so; None where more has to come. Raises GiveUp if that was all."""
    if beginning.startswith(b"ID3") and not is_all and len(beginning) < MOST_LOOKED_AT:
        size = _tag_size(beginning)
        if len(beginning) < size + LOOK_AT:
            return None  # a tag, with a picture in it
    try:
        return sniff(io.BytesIO(beginning))
    except GiveUp:
        if beginning.startswith(b"ID3") and len(beginning) >= LOOK_AT:
            return Container.MP3  # whose tag is longer than what is looked at
        if is_all:
            raise
        return None


def _tag_size(beginning: bytes) -> int:
    """Return the bytes of an ID3 tag (ID3v2.4, section 3.1)."""
    size = 0
    for byte in beginning[6:10]:
        size = size << 7 | byte & 127
    return size + 10


def _is_one_stream(beginning: bytes) -> bool:
    """Return whether each Ogg packet will be one Opus packet (RFC 7845, section 5.1.1): such packets are kept."""
    pages = PagesArriving()
    for piece in _cut(beginning):
        for page in pages.feed(piece):
            if page.begins and page.body.startswith(b"OpusHead"):
                return len(page.body) >= 19 and page.body[18] == 0
    return False


def _cut(data: bytes) -> Iterator[bytes]:
    return (data[at : at + PIECE] for at in range(0, len(data), PIECE))


async def _joined(beginning: bytes, blocks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    if beginning:
        yield beginning
    async for block in blocks:
        yield block


async def _as_it_is(blocks: AsyncIterable[bytes], max_seconds: float) -> AsyncGenerator[Stretch, None]:
    opus, samples = OpusArriving(), 0
    async for block in blocks:
        for piece in _cut(block):
            for stretch in opus.feed(piece):
                samples += stretch.samples
                yield stretch
            await asyncio.sleep(0)  # pages without sound are waited for by nobody
        if samples >= max_seconds * SAMPLE_RATE:
            return
