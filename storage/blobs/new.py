"""A blob that is made of bytes in memory, such as a picture."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from storage.blobs.door import Arrival, Blobs
from storage.private import synced
from storage.records import BlobKey


@asynccontextmanager
async def new_blob(blobs: Blobs, data: bytes, name: str) -> AsyncIterator[tuple[Arrival, BlobKey]]:
    """Write bytes into a file of its own, which becomes a blob under this key if it is kept, and remove what is left.
    `name`: the beginning of the file's name."""
    part = blobs.part(f"{name}-{secrets.token_hex(8)}")  # two may make the same at once
    try:
        await asyncio.to_thread(_write, part, data)
        key = BlobKey(hashlib.sha256(data).hexdigest())
        async with blobs.arriving((part, key)) as arrival:
            yield arrival, key
    finally:
        await asyncio.to_thread(_remove, part)


def _write(part: Path, data: bytes) -> None:
    with synced(part) as out:
        out.write(data)


def _remove(part: Path) -> None:
    part.unlink(missing_ok=True)
