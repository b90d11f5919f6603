"""The event loop and the memory of a process whose media lie in a bucket of a server elsewhere."""

import asyncio
import hashlib
import tracemalloc
from pathlib import Path

import pytest

from storage import rooms
from storage.blobs import s3
from storage.place import Place
from storage.records import BlobKey
from storage.store import Store
from tests.buckets.servers import new_bucket
from tests.callbacks import callbacks_timed
from tests.factories import a_room

pytestmark = pytest.mark.s3

LONGEST_S = 0.01
"""CPU time that a callback of ours may take. A machine that is busy adds waits to it, which are not ours."""
MOST_BYTES = 4 * s3.PARTS_AT_ONCE * s3.PART
SOUND = b"ID3" + hashlib.shake_256(b"sound").digest(60 << 20)
KEY = BlobKey(hashlib.sha256(SOUND).hexdigest())


@pytest.mark.parametrize("measured", ["the loop", "memory"])
async def test_a_large_blob_keeps_nobody_waiting(
    s3_gateway: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: str
) -> None:
    """A large blob is uploaded, hashed, fetched, read by ranges and removed in parts, with no work on the loop."""
    bucket = new_bucket(s3_gateway, monkeypatch)
    store = await Store.own(Place(tmp_path / "data", media_url=bucket.url()))
    blobs = store.blobs
    assert isinstance(blobs, s3.S3Blobs)
    part = blobs.part("large")
    part.write_bytes(SOUND)
    if measured == "memory":
        tracemalloc.start()  # which makes everything slower
    with callbacks_timed() as longest:
        async with blobs.arriving((part, KEY)) as new, store.write() as db:
            await new.keep(db)
            await rooms.save_room(db, a_room(cover=KEY))
        await blobs.cache.drop([KEY])
        async with blobs.local(KEY) as file:
            size = (await asyncio.to_thread(file.stat)).st_size
        await blobs.cache.drop([KEY])
        assert size == len(SOUND)
        assert await blobs.is_whole(KEY)
        assert len(await blobs.read(KEY, 0, 1 << 20)) == 1 << 20
        async with store.write() as db:
            await rooms.save_room(db, a_room(cover=None))
        assert await blobs.forget([KEY]) == [KEY]
    if measured == "memory":
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < MOST_BYTES
    else:
        assert longest.cpu_s < LONGEST_S, longest.what
    await store.close()
