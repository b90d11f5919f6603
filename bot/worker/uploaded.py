"""Media that were uploaded to us: they are a blob already, and go the way of all media once more, so that they are
inspected like those of strangers."""

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

from bot.errors import GiveUp, TryLater
from storage.errors import MediaStoreError
from storage.records import BlobKey
from storage.store import Store


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The size and hash of media that were uploaded."""

    bytes: int
    sha256: str


async def uploaded(store: Store, blob: BlobKey, part: Path) -> Uploaded:
    """Copy a blob to `part`. Raises GiveUp where it is gone, and TryLater where it can't be reached now."""
    try:
        async with store.blobs.local(blob) as file:
            await asyncio.to_thread(shutil.copyfile, file, part)
            size = (await asyncio.to_thread(part.stat)).st_size
    except FileNotFoundError:
        raise GiveUp("what was uploaded is gone", reason="not_found") from None
    except MediaStoreError as error:
        raise TryLater(str(error)) from None
    return Uploaded(size, blob)
