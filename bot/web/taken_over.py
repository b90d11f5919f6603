"""A connection that is taken over from aiohttp: its bytes as they come, no more of them than are wanted."""

import asyncio
from collections.abc import Callable

MOST_WAITING = 64 * 1024
"""Bytes after which nothing more is read from the socket; what one read gives may come on top."""


class TakenOver:
    """The bytes of a connection from a moment on. While nobody wants them they wait in the kernel, and then at the
    other end."""

    def __init__(self, transport: asyncio.Transport, first: bytes) -> None:
        self._transport = transport
        self._waiting = bytearray(first)
        self._came = asyncio.Event()
        self._paused = self._over = False
        self._broken: BaseException | None = None

    def feed(self, data: bytes) -> None:
        self._waiting += data
        if len(self._waiting) >= MOST_WAITING and not self._paused and not self._over:
            self._paused = True
            self._transport.pause_reading()
        self._came.set()

    def end(self, broken: BaseException | None) -> None:
        """Note that nothing more comes. `broken`: the error that has ended the connection; None: the other end has
        closed it."""
        if not self._over:
            self._over, self._broken = True, broken
            self._came.set()

    async def read(self) -> bytes:
        """Return what has come, b"" when the other end has closed the connection. Raises ConnectionError where it
        broke off."""
        while not self._waiting:
            if self._over:
                if self._broken is not None:
                    raise ConnectionResetError from self._broken
                return b""
            self._came.clear()
            await self._came.wait()
        data = bytes(self._waiting)
        self._waiting.clear()
        if self._paused and not self._over:
            self._paused = False
            self._transport.resume_reading()
        return data

    def put_back(self, data: bytes) -> None:
        """Have these bytes read again, before all others."""
        self._waiting[:0] = data

    def write(self, data: bytes) -> None:
        """Send a short answer."""
        if not self._over:
            self._transport.write(data)

    def close(self) -> None:
        """Send what was written, and close the connection."""
        self._transport.close()


TakeSource = Callable[[asyncio.Transport, bytes, Callable[[], None], Callable[[], None]], TakenOver]
"""Takes a connection with its first bytes, which are a source's; says when the source is let in, and when it is done
with."""
