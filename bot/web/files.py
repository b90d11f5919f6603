"""Sending stored files: small ranges from the page cache, large ones by sendfile.

A large one may take hours. While it runs it is checked again and again whether the client may still have it.
"""

import asyncio
import errno
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import BinaryIO

from aiohttp import web

from bot.web.caches import OnceCache
from bot.web.connections import ClientConnection
from bot.web.sockets import discard
from storage.blobs.door import Blobs, RemoteBlobs
from storage.errors import StoreError
from storage.records import BlobKey

log = logging.getLogger(__name__)

SMALL = 256 * 1024
"""Bytes: up to here a range is read and sent at once; above, the kernel copies it by sendfile."""
AT_ONCE = 1024 * 1024
"""Bytes that are sent without a wait, as far as the socket takes them: some hundred microseconds of the loop's time."""
OPEN_FILES = 64
PARTS_BYTES = 8 * 1024 * 1024
"""Parts of remote blobs that are kept in memory."""
RELAYED = 1024 * 1024
"""Bytes of a remote blob that are read at once for a client that can't be sent there."""
IDLE_S = 30.0
CHECK_EACH_S = 3.0

StillAllowed = Callable[[], Awaitable[bool]]


class CutError(OSError):
    """A file has another length than its row says."""

    def __init__(self) -> None:
        super().__init__(errno.EIO, "its length is not that of its row")


class OpenFile:
    """A file that stays open between requests. A blob is named by its bytes, so it can't become another one."""

    def __init__(self, body: BinaryIO, now: float) -> None:
        self.descriptor = body.fileno()
        self.body = body
        self.used_at = now
        self.users = 0

    @property
    def size(self) -> int:
        """Its length now, in bytes."""
        return os.fstat(self.descriptor).st_size


class Files:
    """A few open files: opening costs a thread hop, and a listener's app asks for one file again and again."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._parts: OnceCache[tuple[BlobKey, int, int], bytes] = OnceCache(PARTS_BYTES, len)
        self._open: dict[BlobKey, OpenFile] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def open(self, blob: BlobKey, size: int | None = None) -> OpenFile:
        """Open a blob, or share it where it is open. Raises OSError, also where it has not this size. Give it back with
        `release`."""
        loop = asyncio.get_running_loop()
        file = self._open.get(blob)
        if file is not None and size is not None and file.size != size:
            if file.users:
                raise CutError
            self._close((blob, file))  # it may have been made again meanwhile
            file = None
        if file is None:
            body = await asyncio.to_thread(self._blobs.open, blob)
            if blob in self._open:  # another request was faster
                body.close()
            else:
                self._open[blob] = OpenFile(body, loop.time())
            file = self._open[blob]
            if size is not None and file.size != size:
                raise CutError
        file.used_at = loop.time()
        file.users += 1
        if self._timer is None:
            self._timer = loop.call_later(IDLE_S, self._close_idle)
        return file

    @property
    def remote(self) -> RemoteBlobs | None:
        """The blobs, where they lie on another machine: there is nothing to open then."""
        return self._blobs.remote

    async def part(self, blob: BlobKey, start: int, count: int) -> bytes | bytearray:
        """Read a small range. Raises OSError, also where it is not all there, and MediaStoreError."""
        if (remote := self._blobs.remote) is not None:
            # Many listeners ask for one segment at the same time.
            body = await self._parts.get((blob, start, count), lambda: remote.read(blob, start, count))
            if len(body) < count:
                raise CutError
            return body
        file = await self.open(blob)
        try:
            return await read(file, start, count)
        finally:
            self.release(file)

    def read_at_once(self, blob: BlobKey, size: int, start: int, count: int, head: bytes) -> bytearray | None:
        """Return `head` and a part of a blob behind it; None unless it is open, whole, and in memory there."""
        file = self._open.get(blob)
        if file is None or file.size != size:
            return None
        answer = bytearray(len(head) + count)
        answer[: len(head)] = head
        file.used_at = asyncio.get_running_loop().time()
        return answer if _read_cached(file, memoryview(answer)[len(head) :], start) == count else None

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
    length = _read_cached(file, memoryview(body), start)
    if length < count:
        length += await asyncio.to_thread(_read_rest, file.descriptor, memoryview(body)[length:], start + length)
    if length < count:
        raise CutError
    return body


def _read_cached(file: OpenFile, into: memoryview, start: int) -> int:
    """Read what the kernel has in memory; return how many bytes."""
    try:
        return os.preadv(file.descriptor, [into], start, os.RWF_NOWAIT)
    except OSError:  # not in memory, or a file system that can't tell
        return 0


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
    """Send the body of a prepared response. A client that disconnects half way is no error."""
    transport, connection = request.transport, request.protocol
    assert isinstance(connection, ClientConnection)
    if transport is None or transport.is_closing():
        return
    try:
        sent = _send_at_once(transport, file, start, min(count, AT_ONCE))
        if sent < count:
            async with _watched(connection, still_allowed):
                await _send(transport, file, start + sent, count - sent, response)
        await response.write_eof()
    except ConnectionError:
        log.debug("download ended: the client disconnected")
    except TimeoutError:
        discard(transport)
    except OSError as error:  # the file was cut while it was sent: the client must not take what it got for all of it
        log.error("a download was broken off: %s", error.strerror)
        discard(transport)


async def relay(
    request: web.BaseRequest,
    response: web.StreamResponse,
    blobs: RemoteBlobs,
    blob: BlobKey,
    size: int,
    still_allowed: StillAllowed,
) -> None:
    """Send a remote blob as the body of a prepared response, in constant memory."""
    transport, connection = request.transport, request.protocol
    assert isinstance(connection, ClientConnection)
    if transport is None:
        return
    try:
        async with _watched(connection, still_allowed):
            for start in range(0, size, RELAYED):
                body = await blobs.read(blob, start, min(RELAYED, size - start))
                if not body:
                    raise CutError
                await response.write(body)
        await response.write_eof()
    except ConnectionError:
        log.debug("download ended: the client disconnected")
    except TimeoutError:
        discard(transport)
    except (OSError, StoreError) as error:
        log.error("a download was broken off: %s", error)
        discard(transport)


def _send_at_once(transport: asyncio.Transport, file: OpenFile, start: int, count: int) -> int:
    """Send what the socket takes without waiting; return how many bytes. A range is often sent with that, and needs no
    watch. Raises OSError."""
    socket, sent = transport.get_extra_info("socket"), 0
    if socket is None or transport.get_write_buffer_size():
        return 0
    with suppress(BlockingIOError):
        while sent < count and (more := os.sendfile(socket.fileno(), file.descriptor, start + sent, count - sent)):
            sent += more
    return sent


async def _send(
    transport: asyncio.Transport, file: OpenFile, start: int, count: int, response: web.StreamResponse
) -> None:
    loop = asyncio.get_running_loop()
    try:
        if await loop.sendfile(transport, file.body, start, count, fallback=False) < count:
            raise CutError
    except asyncio.SendfileNotAvailableError:
        for offset in range(start, start + count, SMALL):
            await response.write(await read(file, offset, min(SMALL, start + count - offset)))


@asynccontextmanager
async def _watched(connection: ClientConnection, still_allowed: StillAllowed) -> AsyncIterator[None]:
    """End the block with TimeoutError when the client may no longer have the file, or takes nothing of it. A download
    that is over sooner than the first check costs no more than a timer."""
    loop, watchers = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    async with asyncio.timeout(None) as limit:

        def stop() -> None:
            limit.reschedule(loop.time())

        async def watch() -> None:
            with suppress(Exception):  # a check that fails allows nothing
                while await still_allowed():  # noqa: ASYNC110  nobody tells when access ends
                    await asyncio.sleep(CHECK_EACH_S)
            stop()

        timer = loop.call_later(CHECK_EACH_S, lambda: watchers.add(loop.create_task(watch())))
        try:
            with connection.sending_file(stop):
                yield
        finally:
            timer.cancel()
            for task in watchers:
                task.cancel()
