"""Bodies of requests: read piece by piece, never more than was allowed, from clients that may be slow or mean harm.

A slow client is waited for as long as it goes on sending: it is disconnected when nothing came for `STUCK_S`, or when
it has sent less than `LEAST_BYTES_S` for longer than `GRACE_S`, so that none holds its place for ever.
"""

import asyncio
import errno
import hashlib
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from aiohttp import web
from aiohttp.http import HttpVersion11
from aiohttp.web_protocol import RequestPayloadError

from storage.errors import DiskFullError, StoreBusyError
from storage.private import FILE_MODE, make_folder
from storage.records import BlobKey

STUCK_S = 30.0
"""Seconds for which nothing may come."""
GRACE_S = 60.0
LEAST_BYTES_S = 1000
"""Bytes a second, on the average: the slowest of mobile networks has more."""
CHECK_EACH_S = 1.0
BLOCK = 256 * 1024
"""Bytes of a body that are in memory before they go to the file."""

Check = Callable[[], Awaitable[None]]
"""A function that raises where the body is not wanted any more."""


class BodyError(Exception):
    """A body that is refused, with this status and sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


async def whole(request: web.BaseRequest, most: int) -> bytes:
    """Return a small body. Raises BodyError, ConnectionError."""
    body = bytearray()
    async for piece in pieces(request, most):
        body += piece
    return bytes(body)


async def pieces(request: web.BaseRequest, most: int, check: Check | None = None) -> AsyncIterator[bytes]:
    """Yield the pieces of a body as they come. `check` is called once a second meanwhile, whether something comes or
    not. Raises BodyError, ConnectionError, and what `check` raises."""
    _refuse_unfit(request, most)
    if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer has not begun with it
    loop, came = asyncio.get_running_loop(), 0
    began = last = checked = loop.time()
    while True:
        piece = await _next(request)
        now = loop.time()
        if check is not None and now - checked >= CHECK_EACH_S:
            checked = now
            await check()
        if piece == b"":
            return
        if piece is not None:
            last, came = now, came + len(piece)
        if came > most:
            raise _too_large(most)
        if now - last > STUCK_S or now - began > GRACE_S + came / LEAST_BYTES_S:
            raise BodyError(408, "too slow")
        if piece is not None:
            yield piece


async def _next(request: web.BaseRequest) -> bytes | None:
    """Return what came, empty at the end; None where nothing came for a while."""
    try:
        async with asyncio.timeout(CHECK_EACH_S):
            return await request.content.readany()
    except TimeoutError:
        return None
    except RequestPayloadError:
        raise BodyError(400, "the body is malformed") from None


def _refuse_unfit(request: web.BaseRequest, most: int) -> None:
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise BodyError(415, "the body is packed")  # a kilobyte could become a gigabyte
    if request.headers.get("Expect", "100-continue").lower() != "100-continue":
        raise BodyError(417, "nothing but 100-continue can be expected")
    if (request.content_length or 0) > most:
        raise _too_large(most)


def _too_large(most: int) -> BodyError:
    return BodyError(413, f"more than {most} bytes")


class Spool:
    """A scratch file that a body goes to, and its hash. Its methods are blocking; `discard` may come at any time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._hash = hashlib.sha256()
        self._file: BinaryIO | None = None
        self._lock = threading.Lock()
        self._discarded = False

    @property
    def key(self) -> BlobKey:
        return BlobKey(self._hash.hexdigest())

    def write(self, data: bytes, *, last: bool = False) -> None:
        """Write more; `last`: have all of it on the disk. Raises OSError."""
        with self._lock:
            if self._discarded:
                return
            if self._file is None:
                make_folder(self.path.parent)
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                self._file = os.fdopen(os.open(self.path, flags, FILE_MODE), "wb")
            self._file.write(data)
            self._hash.update(data)
            self.size += len(data)
            if last:
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()

    def discard(self) -> None:
        """Remove the file, if it has not become anything else."""
        with self._lock:
            self._discarded = True
            if self._file is not None:
                with suppress(OSError):  # on a full disk it fails again to write what waits, and is closed
                    self._file.close()
                self.path.unlink(missing_ok=True)


@asynccontextmanager
async def spooled(
    request: web.BaseRequest, path: Path, most: int, check: Check, came: Callable[[int], None] = lambda _: None
) -> AsyncIterator[Spool]:
    """Provide a body as a file that is on the disk, as long as the context lasts. `came` hears of the bytes as they
    come, also of those of a body that ends early. Raises as `pieces`, and StoreError where it can't be written."""
    spool, block = Spool(path), bytearray()
    try:
        async for piece in pieces(request, most, check):
            came(len(piece))
            block += piece
            if len(block) >= BLOCK:
                await _written(spool, bytes(block))
                block.clear()
        await _written(spool, bytes(block), last=True)
        yield spool
    finally:
        await asyncio.to_thread(spool.discard)


async def _written(spool: Spool, data: bytes, *, last: bool = False) -> None:
    try:
        await asyncio.to_thread(spool.write, data, last=last)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError("the disk is full: what was sent could not be stored") from None
        raise StoreBusyError(f"what was sent could not be stored: {error.strerror}") from None
