"""A cable between a process and a server: cut, nothing goes through it any more, and nobody is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path


class Cable:
    """A way to a server on loopback: an address, or a socket in the file system. While it is `cut`, bytes vanish, as
    behind a firewall that drops packets, and connections are opened but answered by nobody."""

    def __init__(self, server: tuple[str, int] | Path) -> None:
        self.cut = False
        self.port = 0
        self._server = server
        self._carrying: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(self._server, Path):
            far_reader, far_writer = await asyncio.open_unix_connection(str(self._server))
        else:
            far_reader, far_writer = await asyncio.open_connection(*self._server)
        self._writers += [writer, far_writer]
        for source, target in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._carry(source, target))
            self._carrying.add(task)
            task.add_done_callback(self._carrying.discard)

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(64 * 1024):
                if not self.cut:
                    target.write(data)
                    await target.drain()
        if not self.cut:
            target.close()

    async def close(self) -> None:
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
