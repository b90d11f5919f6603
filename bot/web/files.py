"""Sending stored files: small ranges from the page cache, large ones by sendfile.

A large one may take hours. While it runs it is checked again and again whether the client may still have it, and
whether the client takes anything of it.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from io import FileIO

from aiohttp import web

from bot.web.sockets import Delivery, discard
from storage.blobs import Blobs
from storage.records import BlobKey

log = logging.getLogger(__name__)

SMALL = 256 * 1024
"""Bytes: up to here a range is read and sent at once; above, the kernel copies it by sendfile."""
OPEN_FILES = 64
IDLE_S = 30.0
CHECK_EACH_S = 3.0

StillAllowed = Callable[[], Awaitable[bool]]


class OpenFile:
    """A file that stays open between requests. A blob is named by its bytes, so it can't become another one."""

    def __init__(self, body: FileIO, now: float) -> None:
        self.descriptor = body.fileno()
        self.body = body
        self.size = os.fstat(self.descriptor).st_size
        self.used_at = now
        self.users = 0


class Files:
    """A few open files: opening costs a thread hop, and a listener's app asks for one file again and again."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._open: dict[BlobKey, OpenFile] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def open(self, blob: BlobKey) -> OpenFile:
        """Open a blob, or share it where it is open. Raises OSError. Give it back with `release`."""
        loop = asyncio.get_running_loop()
        file = self._open.get(blob)
        if file is None:
            body = await asyncio.to_thread(self._blobs.open, blob)
            if blob in self._open:  # another request was faster
                body.close()
            else:
                self._open[blob] = OpenFile(body, loop.time())
            file = self._open[blob]
        file.used_at = loop.time()
        file.users += 1
        if self._timer is None:
            self._timer = loop.call_later(IDLE_S, self._close_idle)
        return file

    def release(self, file: OpenFile) -> None:
        file.users -= 1
        if len(self._open) > OPEN_FILES:
            unused = (entry for entry in self._open.items() if not entry[1].users)
            self._close(min(unused, key=_last_use, default=None))

    def _close_idle(self) -> None:
        """Close what was not used for a while: the disk space of a deleted file is freed only then."""
        self._timer = None
        loop = asyncio.get_running_loop()
        for blob, file in list(self._open.items()):
            if not file.users and loop.time() - file.used_at >= IDLE_S:
                self._close((blob, file))
        if self._open:
            self._timer = loop.call_later(IDLE_S, self._close_idle)

    def _close(self, entry: tuple[BlobKey, OpenFile] | None) -> None:
        if entry is not None:
            del self._open[entry[0]]
            entry[1].body.close()

    def close(self) -> None:
        """Close all files. To be called when no request runs any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for entry in list(self._open.items()):
            self._close(entry)


def _last_use(entry: tuple[BlobKey, OpenFile]) -> float:
    return entry[1].used_at


async def read(file: OpenFile, start: int, count: int) -> bytearray:
    """Read `count` bytes from `start`: on the loop where the kernel has them in memory, else in a thread.

    Raises OSError, also when the file is shorter than that.
    """
    body = bytearray(count)
    try:
        length = os.preadv(file.descriptor, [body], start, os.RWF_NOWAIT)
    except OSError:  # not in memory, or a file system that can't tell
        length = 0
    if length < count:
        length += await asyncio.to_thread(_read_rest, file.descriptor, memoryview(body)[length:], start + length)
    if length < count:
        raise OSError("the file is shorter than it was")
    return body


def _read_rest(descriptor: int, into: memoryview, start: int) -> int:
    length = 0
    while length < len(into):
        more = os.preadv(descriptor, [into[length:]], start + length)
        if not more:
            break
        length += more
    return length


async def send(
    request: web.BaseRequest,
    response: web.StreamResponse,
    file: OpenFile,
    start: int,
    count: int,
    still_allowed: StillAllowed,
) -> None:
    """Send the body of a prepared response. A client that disconnects half way is no error. Raises OSError."""
    transport = request.transport
    if transport is None or transport.is_closing():
        return
    try:
        async with _watched(transport, still_allowed):
            await _send(transport, response, file, start, count)
    except ConnectionError:
        log.debug("download ended: the client disconnected")
    except TimeoutError:
        discard(transport)


async def _send(
    transport: asyncio.Transport, response: web.StreamResponse, file: OpenFile, start: int, count: int
) -> None:
    loop = asyncio.get_running_loop()
    try:
        await loop.sendfile(transport, file.body, start, count, fallback=False)
    except asyncio.SendfileNotAvailableError:
        for offset in range(start, start + count, SMALL):
            await response.write(await read(file, offset, min(SMALL, start + count - offset)))
    await response.write_eof()


@asynccontextmanager
async def _watched(transport: asyncio.Transport, still_allowed: StillAllowed) -> AsyncIterator[None]:
    """End the block with TimeoutError when the client may no longer have the file, or takes nothing of it. A download
    that is over sooner than the first check costs no more than a timer."""
    loop, watchers = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    async with asyncio.timeout(None) as limit:

        async def watch() -> None:
            delivery = Delivery(loop.time())
            with suppress(Exception):  # a check that fails allows nothing
                while await still_allowed():
                    if delivery.is_stuck(transport, loop.time()):
                        log.info("download closed: the client takes nothing of it")
                        break
                    await asyncio.sleep(CHECK_EACH_S)
            limit.reschedule(loop.time())

        timer = loop.call_later(CHECK_EACH_S, lambda: watchers.add(loop.create_task(watch())))
        try:
            yield
        finally:
            timer.cancel()
            for task in watchers:
                task.cancel()
