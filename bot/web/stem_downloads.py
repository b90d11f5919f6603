"""Downloads of all stems of a call at once: as a Matroska file with a track for each, and as a zip with a file for each
and a label track. Both are made while they are sent, in constant memory: nothing of them is on the disk.
"""

import asyncio
import logging
import zipfile
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, aclosing
from functools import cache
from typing import BinaryIO

from aiohttp import web

from bot.audio.ffmpeg import Ffmpeg
from bot.audio.placed import blocks, placed, together
from bot.errors import TryLater
from bot.feeds.catalog import Published
from bot.feeds.stems import WholeStem, whole_stems
from bot.feeds.titles import episode_title
from bot.settings import Settings
from bot.web import files, sockets
from bot.web.access import Family
from bot.web.connections import ClientConnection, Transferring
from bot.web.lost_files import LostFiles, stem_file
from bot.web.media import disposition
from bot.web.respond import OF_FAMILY, later
from bot.web.stem_names import LABELS_FILE, MOST_TRACKS
from storage.blobs.door import Blobs
from storage.errors import StoreError
from storage.records import SAMPLE_RATE, Recording

log = logging.getLogger(__name__)

MOST = 8
"""Downloads at once of all stems of a call: each costs work for as long as it runs."""
MOST_OF_A_CLIENT = 2
"""Downloads of one client, so that a slow one keeps nobody else waiting."""
_READ_BYTES = 1 << 16


class StemDownloads:
    """Answers with all stems of a call. `transferring` says whether one more download may begin."""

    def __init__(self, settings: Settings, blobs: Blobs, lost_files: LostFiles, transferring: Transferring) -> None:
        self._settings = settings
        self._blobs = blobs
        self._lost_files = lost_files
        self._transferring = transferring
        self._running: Counter[str | None] = Counter()  # by client
        self._ffmpeg = cache(lambda: Ffmpeg.find(settings.audio.ffmpeg))

    async def matroska(
        self, request: web.BaseRequest, family: Family, published: Published, still_allowed: files.StillAllowed
    ) -> web.StreamResponse | None:
        """Answer with a Matroska file; None for a call without stems, or with more than MOST_TRACKS."""
        stems = whole_stems(published[0])
        if not 0 < len(stems) <= MOST_TRACKS:
            return None
        if await self._any_lost(published[0], stems):
            return None
        headers = self._headers(family, published, "mka", "audio/x-matroska")
        return await self._send(request, headers, lambda: self._tracks(stems), still_allowed)

    async def zip(
        self,
        request: web.BaseRequest,
        family: Family,
        published: Published,
        still_allowed: files.StillAllowed,
        label_track: str,
    ) -> web.StreamResponse | None:
        """Answer with a zip; None for a call without stems. `label_track`: the text of its labels."""
        recording, stems = published[0], whole_stems(published[0])
        if not stems or await self._any_lost(recording, stems):
            return None
        headers = self._headers(family, published, "zip", "application/zip")
        zipped = zip_blocks(recording, stems, self._open, label_track)
        return await self._send(request, headers, lambda: _in_threads(zipped), still_allowed)

    async def _any_lost(self, recording: Recording, stems: Sequence[WholeStem]) -> bool:
        """Return whether the file of one of the stems is gone or cut: what is made of it would pass for the whole."""
        files = [stem_file(recording, stem) for stem in stems]
        return bool(await self._lost_files.among(files))

    def _headers(self, family: Family, published: Published, ending: str, kind: str) -> dict[str, str]:
        recording = published[0]
        title = episode_title(recording, self._settings.feeds.zone)
        return {
            **OF_FAMILY[family],
            "Accept-Ranges": "none",
            "Content-Type": kind,
            "Content-Disposition": disposition(title, f"{recording.code}-stems", ending, saved=True),
        }

    def _open(self, stem: WholeStem) -> BinaryIO:
        return self._blobs.open(stem.blob, _READ_BYTES)

    async def _tracks(self, stems: Sequence[WholeStem]) -> AsyncGenerator[bytes, None]:
        ffmpeg = await asyncio.to_thread(self._ffmpeg)
        seconds = sum(stem.left for stem in stems) / SAMPLE_RATE
        ogg = _in_threads(_interleaved(stems, self._open))
        async with aclosing(ffmpeg.to_matroska(ogg, seconds=seconds)) as made:
            async for block in made:
                yield block

    async def _send(
        self,
        request: web.BaseRequest,
        headers: dict[str, str],
        begin: Callable[[], AsyncGenerator[bytes, None]],
        still_allowed: files.StillAllowed,
    ) -> web.StreamResponse:
        with self._transferring() as admitted:
            client = request.protocol.asking if isinstance(request.protocol, ClientConnection) else None
            if not admitted or self._is_full(client):
                return later()
            response = web.StreamResponse(headers=headers)
            self._running[client] += 1
            try:
                await response.prepare(request)
                if request.method != "HEAD":
                    async with aclosing(begin()) as made:
                        await _send(request, response, made, still_allowed)
            except ConnectionError:
                log.debug("download ended: the client disconnected")
            except (TimeoutError, OSError, StoreError, TryLater) as error:
                log.info("download of stems closed: %s", type(error).__name__)
                if request.transport is not None:
                    sockets.discard(request.transport)
            finally:
                self._running -= Counter([client])
            return response

    def _is_full(self, client: str | None) -> bool:
        if self._running.total() >= MOST:
            return True
        return client is not None and self._running[client] >= MOST_OF_A_CLIENT


async def _send(
    request: web.BaseRequest,
    response: web.StreamResponse,
    made: AsyncIterator[bytes],
    still_allowed: files.StillAllowed,
) -> None:
    """Send the blocks. Raises ConnectionError, and TimeoutError for a client that may no longer have them."""
    loop = asyncio.get_running_loop()
    sockets.limit_send_buffer(request.transport)
    check_at = loop.time() + files.CHECK_EACH_S
    async for block in made:
        if loop.time() >= check_at:
            if not await still_allowed():
                raise TimeoutError
            check_at = loop.time() + files.CHECK_EACH_S
        await response.write(block)
    await response.write_eof()


async def _in_threads(made: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield blocks that are made in threads, each when it is asked for."""
    while (block := await asyncio.to_thread(next, made, None)) is not None:
        yield block


def _interleaved(stems: Sequence[WholeStem], open_stem: Callable[[WholeStem], BinaryIO]) -> Iterator[bytes]:
    with ExitStack() as stack:
        streams = [
            placed(stack.enter_context(open_stem(stem)), stem.joined, serial=stem.number, title=stem.name)
            for stem in stems
        ]
        yield from blocks(together(streams))


class _Sink:
    """A file that only collects: `zipfile` takes it for a pipe."""

    def __init__(self) -> None:
        self._collected = bytearray()

    def write(self, data: bytes) -> int:
        self._collected += data
        return len(data)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        taken = bytes(self._collected)
        self._collected.clear()
        return taken


def zip_blocks(
    recording: Recording,
    stems: Sequence[WholeStem],
    open_stem: Callable[[WholeStem], BinaryIO],
    label_track: str,
) -> Iterator[bytes]:
    """Yield a zip of stems, which all begin at 0 of the call, and its labels. Sound is stored as it is. Blocking."""
    sink = _Sink()
    when = max(recording.started_at.timetuple()[:6], (1980, 1, 1, 0, 0, 0))
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]
        archive.writestr(zipfile.ZipInfo(LABELS_FILE, when), label_track.encode("utf-8", "replace"))
        for stem in stems:
            info = zipfile.ZipInfo(stem.file_name, when)
            with open_stem(stem) as file, archive.open(info, "w", force_zip64=stem.bytes > 1 << 31) as entry:
                for block in blocks(placed(file, stem.joined, serial=stem.number, title=stem.name)):
                    entry.write(block)
                    yield sink.take()
    yield sink.take()
