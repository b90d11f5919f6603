"""The move of all blobs that rows name from one place to another, a folder or a bucket. It can be killed and begun
again: what has arrived is not moved twice. The old place keeps everything.
"""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select, union

from storage import archive
from storage.blobs.door import Blobs
from storage.blobs.opening import blobs_at
from storage.place import Place
from storage.records import BlobKey
from storage.store import Store

Shown = Callable[[int, int], None]
"""A function that is told of how many blobs are moved, and how many there are."""


@dataclass(frozen=True, slots=True)
class Moved:
    """The outcome. `wrong`: the blobs that are gone, or not as they were stored, where they were; `torn`: the rows that
    name none by what should be a name, whose files stay where they were."""

    blobs: int
    bytes: int
    wrong: tuple[BlobKey, ...]
    torn: int = 0


async def move(store: Store, target: Place, shown: Shown = lambda *_: None) -> Moved:
    """Copy all blobs, each compared with its hash on the way, to the media store of `target`. Raises StoreError."""
    there = blobs_at(target, store)
    if there.remote is None:
        there.prepare()
    else:
        from storage.blobs import held  # who has a folder needs no obstore

        await held.hold(store, there)
    async with store.read() as db:
        named = union(*(select(column).where(~archive.is_torn(column)) for column in archive.NAMED))
        torn = await archive.torn_names(db)
        keys = sorted(map(BlobKey, (await db.execute(named)).scalars()))
    size, wrong = 0, []
    for number, key in enumerate(keys, start=1):
        moved = await _move(store, store.blobs, there, key)
        if moved is None:
            wrong.append(key)
        size += moved or 0
        shown(number, len(keys))
    return Moved(len(keys) - len(wrong), size, tuple(wrong), torn)


async def _move(store: Store, here: Blobs, there: Blobs, key: BlobKey) -> int | None:
    """Copy a blob unless it is there; return its bytes, None where it is not whole here."""
    size = await here.size(key)
    if size is None:
        return None
    if await there.is_whole(key):
        return size
    if here.remote is None and not await here.is_whole(key):
        return None
    await there.discard(key)
    try:
        async with here.local(key) as path, there.arriving((Path(path), key), stays=True) as new, store.write() as db:
            await new.keep(db)
    except OSError as error:
        if error.errno not in (errno.EIO, errno.ENOENT):
            raise
        return None
    return size
