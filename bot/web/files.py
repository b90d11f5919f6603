"""Stored files on their way out: small pieces from the page cache, large ones by sendfile.

A large one may take hours. Now and then it is asked whether it may still go on, and whether the client takes anything.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aiohttp import web

from bot.web.connections import Taken, cut
from storage.records import BlobKey

log = logging.getLogger(__name__)

SMALL = 256 * 1024
"""Up to here a piece is read and sent at once; above, the kernel copies it without us."""
OPEN_FILES = 64
IDLE_S = 30.0
ASK_S = 3.0

MayGoOn = Callable[[], Awaitable[bool]]


class OpenFile:
    """A file that stays open between requests. Blobs are named by their bytes, so it can't become another one."""

    def __init__(self, descriptor: int, size: int, now: float) -> None:
        self.descriptor = descriptor
        self.body = open(descriptor, "rb", buffering=0, closefd=False)  # noqa: SIM115  a descriptor, no path
        self.size = size
        self.used_at = now
        self.users = 0


class Files:
    """A few open files; opening costs a thread hop, and a listener's app asks for one file again and again."""

    def __init__(self, path: Callable[[BlobKey], Path]) -> None:
        self._path = path
        self._open: dict[BlobKey, OpenFile] = {}
        self._sweep: asyncio.TimerHandle | None = None

    async def open(self, blob: BlobKey) -> OpenFile:
        """Raises OSError. Give it back with `done`."""
        loop = asyncio.get_running_loop()
        file = self._open.get(blob)
        if file is None:
            descriptor, size = await asyncio.to_thread(_open, self._path(blob))
            if blob in self._open:  # somebody was faster
                os.close(descriptor)
            else:
                self._open[blob] = OpenFile(descriptor, size, loop.time())
            file = self._open[blob]
        file.used_at = loop.time()
        file.users += 1
        if self._sweep is None:
            self._sweep = loop.call_later(IDLE_S, self._close_idle)
        return file

    def done(self, file: OpenFile) -> None:
        file.users -= 1
        if len(self._open) > OPEN_FILES:
            self._close(min((one for one in self._open.items() if not one[1].users), key=_age, default=None))

    def _close_idle(self) -> None:
        """A deleted recording's bytes leave the disk only when nobody has them open."""
        self._sweep = None
        loop = asyncio.get_running_loop()
        for blob, file in list(self._open.items()):
            if not file.users and loop.time() - file.used_at >= IDLE_S:
                self._close((blob, file))
        if self._open:
            self._sweep = loop.call_later(IDLE_S, self._close_idle)

    def _close(self, entry: tuple[BlobKey, OpenFile] | None) -> None:
        if entry is not None:
            del self._open[entry[0]]
            os.close(entry[1].descriptor)

    def close(self) -> None:
        """When no request runs any more."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for entry in list(self._open.items()):
            self._close(entry)


def _age(entry: tuple[BlobKey, OpenFile]) -> float:
    return entry[1].used_at


def _open(path: Path) -> tuple[int, int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    return descriptor, os.fstat(descriptor).st_size


async def read(file: OpenFile, start: int, count: int) -> bytearray:
    """Bytes of a file: on the loop when the kernel has them in memory, else in a thread.

    Raises OSError, also when the file is shorter than that.
    """
    piece = bytearray(count)
    try:
        got = os.preadv(file.descriptor, [piece], start, os.RWF_NOWAIT)
    except OSError:  # not in memory, or a file system that can't tell
        got = 0
    if got < count:
        got += await asyncio.to_thread(_read_rest, file.descriptor, memoryview(piece)[got:], start + got)
    if got < count:
        raise OSError("the file is shorter than it was")
    return piece


def _read_rest(descriptor: int, into: memoryview, start: int) -> int:
    got = 0
    while got < len(into):
        more = os.preadv(descriptor, [into[got:]], start + got)
        if not more:
            break
        got += more
    return got


async def send(
    request: web.BaseRequest,
    response: web.StreamResponse,
    file: OpenFile,
    start: int,
    count: int,
    may_go_on: MayGoOn,
) -> None:
    """Sends a prepared response's body. A client that hangs up half way is nobody's error. Raises OSError."""
    transport = request.transport
    if transport is None or transport.is_closing():
        return
    try:
        async with _watched(transport, may_go_on):
            await _send(transport, response, file, start, count)
    except ConnectionError:
        log.debug("a listener hung up")
    except TimeoutError:
        cut(transport)


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
async def _watched(transport: asyncio.Transport, may_go_on: MayGoOn) -> AsyncIterator[None]:
    """Ends its block with TimeoutError when that may not go on, or goes on without the client. What is over sooner
    costs no more than a timer."""
    loop, looks = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    async with asyncio.timeout(None) as limit:

        async def look() -> None:
            taken = Taken(loop.time())
            with suppress(Exception):  # what can't be asked is not allowed
                while await may_go_on():
                    if taken.is_stuck(transport, loop.time()):
                        log.info("a listener takes nothing of a download: the connection is closed")
                        break
                    await asyncio.sleep(ASK_S)
            limit.reschedule(loop.time())

        timer = loop.call_later(ASK_S, lambda: looks.add(loop.create_task(look())))
        try:
            yield
        finally:
            timer.cancel()
            for task in looks:
                task.cancel()
