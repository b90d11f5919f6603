"""The door to the blobs: the same for a folder and for a bucket, except for what is said here."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage import rooms
from storage.blobs import s3
from storage.blobs.door import Blobs
from storage.place import Place
from storage.records import BlobKey
from storage.store import Store
from tests.blobs import folder_of
from tests.buckets.servers import TestBucket
from tests.factories import a_room

DATA = b"OggS" + bytes(range(256)) * 3
KEY = BlobKey(hashlib.sha256(DATA).hexdigest())


@pytest.fixture(params=["folder", "bucket"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    url = request.getfixturevalue("bucket").url() if request.param == "bucket" else None
    opened = await Store.own(Place(tmp_path / "data", media_url=url))
    yield opened
    await opened.close()


@pytest.fixture
def blobs(store: Store) -> Blobs:
    return store.blobs


def written(blobs: Blobs, data: bytes = DATA) -> tuple[Path, BlobKey]:
    key = BlobKey(hashlib.sha256(data).hexdigest())
    part = blobs.part(f"test-{key}")
    part.write_bytes(data)
    return part, key


async def add(store: Store, data: bytes = DATA) -> BlobKey:
    """Store a blob that a room's cover names."""
    part, key = written(store.blobs, data)
    async with store.blobs.arriving((part, key)) as new, store.write() as db:
        await new.keep(db)
        await rooms.save_room(db, a_room(cover=key))
    return key


async def test_a_blob_is_read_in_every_way(store: Store, blobs: Blobs) -> None:
    """The same bytes are read whole, as a range, from an open file, and from a local file."""
    await add(store)
    assert await blobs.exists(KEY)
    assert await blobs.size(KEY) == len(DATA)
    assert await blobs.read(KEY) == DATA
    assert await blobs.read(KEY, 2, 3) == DATA[2:5]
    assert await blobs.read(KEY, len(DATA) - 2, 100) == DATA[-2:]
    assert await blobs.read(KEY, len(DATA) + 5, 100) == b""
    assert await blobs.is_whole(KEY)
    with blobs.open(KEY, 100) as file:
        file.seek(4)
        assert file.read(10) == DATA[4:14]
        assert file.read() == DATA[14:]
    async with blobs.local(KEY) as path:
        assert path.read_bytes() == DATA
    assert [key async for page in blobs.pages() for key in page] == [KEY]
    assert KEY in blobs.relative(KEY)


async def test_without_local_copies_a_blob_is_the_same(store: Store, blobs: Blobs) -> None:
    """A blob that another process stored is read in every way too."""
    await add(store)
    if isinstance(blobs, s3.S3Blobs):
        await blobs.cache.drop([KEY])
    assert await blobs.read(KEY, 2, 3) == DATA[2:5]
    assert await blobs.read(KEY) == DATA
    with blobs.open(KEY, 100) as file:
        file.seek(-10, 2)
        assert file.read() == DATA[-10:]
    async with blobs.local(KEY) as path:
        assert path.read_bytes() == DATA


async def test_a_missing_blob_is_told_from_one_that_cannot_be_had(blobs: Blobs) -> None:
    """A blob that is not there has no size, and reading it is an error of its own."""
    assert not await blobs.exists(KEY)
    assert await blobs.size(KEY) is None
    assert await blobs.unlike({KEY: 5}) == {KEY}
    assert not await blobs.is_whole(KEY)
    with pytest.raises(FileNotFoundError):
        await blobs.read(KEY)
    with pytest.raises(FileNotFoundError):
        blobs.open(KEY)


@pytest.mark.parametrize("torn", ["", ".", "..", f"../{KEY}", f"{KEY[:2]}/..", f"{KEY}0", "é" * 64, "\0" * 64])
async def test_a_torn_name_is_that_of_no_blob(store: Store, blobs: Blobs, torn: str) -> None:
    """Whatever stands in a row in place of a name leads to no file, in the store's folder or out of it, and can be
    forgotten."""
    await add(store)
    name = BlobKey(torn)
    assert await blobs.size(name) is None
    assert not await blobs.is_whole(name)
    with pytest.raises(FileNotFoundError):
        await blobs.read(name)
    with pytest.raises(FileNotFoundError):
        blobs.open(name)
    await blobs.discard(name)
    if "\0" not in torn:  # which PostgreSQL takes in no text
        await blobs.forget([name])
    assert await blobs.is_whole(KEY)


async def test_what_no_row_names_is_forgotten_and_nothing_else(store: Store, blobs: Blobs) -> None:
    """Forgetting spares what a row names, and can be done again."""
    await add(store)
    assert await blobs.forget([KEY]) == []
    async with store.write() as db:
        await rooms.save_room(db, a_room(cover=None))
    assert await blobs.forget([KEY]) == [KEY]
    assert not await blobs.exists(KEY)
    assert await blobs.forget([KEY]) == [KEY]
    with pytest.raises(FileNotFoundError):
        await blobs.read(KEY)


async def test_only_other_bytes_are_discarded(store: Store, blobs: Blobs, request: pytest.FixtureRequest) -> None:
    """A blob whose bytes are those of its key stays, also where it was found damaged a moment ago."""
    await add(store)
    await blobs.discard(KEY)
    assert await blobs.is_whole(KEY)
    if isinstance(blobs, s3.S3Blobs):
        request.getfixturevalue("bucket").request("PUT", f"/some/media/{blobs.bucket.path(KEY)}", b"other")
    else:
        folder_of(store).path(KEY).write_bytes(b"other")
    await blobs.discard(KEY)
    assert not await blobs.exists(KEY)
    await blobs.discard(KEY)
    await add(store)
    assert await blobs.is_whole(KEY)


async def test_files_that_are_not_kept_leave_nothing(store: Store, blobs: Blobs) -> None:
    """A file that is found not to be needed, or whose transaction fails, is no blob afterwards."""
    async with blobs.arriving(written(blobs)):
        pass
    assert not await blobs.exists(KEY)

    async def fail() -> None:
        async with blobs.arriving(written(blobs)) as new, store.write() as db:
            if blobs.remote is not None:
                await new.keep(db)
            raise RuntimeError("of the transaction")

    with pytest.raises(RuntimeError):
        await fail()
    assert not await blobs.exists(KEY)
    assert [key async for page in blobs.pages() for key in page] == []


async def test_a_file_that_stays_is_where_it_was(store: Store, blobs: Blobs, tmp_path: Path) -> None:
    """A file of another folder becomes a blob and stays, again too."""
    file = tmp_path / "stem.ogg"
    file.write_bytes(DATA)
    for _ in range(2):
        async with blobs.arriving((file, KEY), stays=True) as new, store.write() as db:
            await new.keep(db)
            await rooms.save_room(db, a_room(cover=KEY))
    assert await blobs.is_whole(KEY)
    assert file.read_bytes() == DATA


async def test_objects_of_others_are_not_ours(bucket: TestBucket, tmp_path: Path) -> None:
    """The sweep sees blobs alone: names of other kinds below the prefix, and other prefixes, are nobody's business."""
    store = await Store.own(Place(tmp_path / "data", media_url=bucket.url(prefix="some/media")))
    bucket.request("PUT", "/some/media/notes.txt", b"x")
    bucket.request("PUT", f"/other/{KEY}", b"x")
    await add(store)
    assert [key async for page in store.blobs.pages() for key in page] == [KEY]
    assert f"some/media/{KEY[:2]}/{KEY}" in bucket.names()
    await store.close()
