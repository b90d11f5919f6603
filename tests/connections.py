"""A bare connection to a server on loopback, for what no HTTP client would send."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple


class Connection(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@asynccontextmanager
async def connected(port: int, limit: int = 64 * 1024) -> AsyncIterator[Connection]:
    """Connect, and drop the connection at the end of the block, however it ends: what is left open is found by the
    garbage collection of another test. `limit`: bytes of the longest head that may be read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=limit)
    try:
        yield Connection(reader, writer)
    finally:
        writer.transport.abort()
