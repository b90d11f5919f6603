"""A cable between a process and a server: cut, nothing goes through it any more, and nobody is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.connections import Connection


class Cable:
    """A way to a server on loopback: an address, or a socket in the file system. While it is `cut`, bytes vanish, as
    behind a firewall that drops packets, and connections are opened but answered by nobody."""

    def __init__(self, server: tuple[str, int] | Path) -> None:
        self.cut = False
        self.port = 0
        self._server = server
        self._carrying: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._over = False

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            far = await self._far_end()
        except OSError:
            writer.transport.abort()
            return
        self._writers.append(far.writer)
        if self._over:
            far.writer.transport.abort()
            return
        for source, target in ((reader, far.writer), (far.reader, writer)):
            task = asyncio.create_task(self._carry(source, target))
            self._carrying.add(task)
            task.add_done_callback(self._carrying.discard)

    async def _far_end(self) -> Connection:
        if isinstance(self._server, Path):
            return Connection(*await asyncio.open_unix_connection(str(self._server)))
        return Connection(*await asyncio.open_connection(*self._server))

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(64 * 1024):
                if not self.cut:
                    target.write(data)
                    await target.drain()
        if not self.cut:
            target.close()

    async def close(self) -> None:
        self._over = True
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)


@asynccontextmanager
async def cable(server: tuple[str, int] | Path, host: str = "127.0.0.1") -> AsyncIterator[Cable]:
    made = Cable(server)
    listening = await asyncio.start_server(made.connected, host, 0)
    made.port = listening.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        listening.close()
        await made.close()
