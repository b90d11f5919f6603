"""The move of media between folder and bucket, and the trial of a bucket."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from bot.errors import AircheckError, ConfigError
from bot.shell.check_media import check_media
from bot.shell.move_media import move_media
from storage import rooms
from storage.blobs.folder import Folder
from storage.errors import MediaStoreError
from storage.place import Place
from storage.records import BlobKey, RoomId
from storage.store import Store
from tests.buckets.faults import proxy_before, refused
from tests.buckets.servers import TestBucket
from tests.factories import a_room
from tests.web.world import settings_with

FILES = [b"OggS one", b"ID3 two", bytes(6 << 20)]
KEYS = {hashlib.sha256(data).hexdigest() for data in FILES}


async def filled(place: Place) -> None:
    """Store a file for each of some rooms, and one that no row names."""
    store = await Store.own(place)
    for number, data in enumerate(FILES):
        part, key = store.blobs.part("one"), BlobKey(hashlib.sha256(data).hexdigest())
        await asyncio.to_thread(part.write_bytes, data)
        async with store.blobs.arriving((part, key)) as new, store.write() as db:
            await new.keep(db)
            await rooms.save_room(db, a_room(RoomId(f"!r{number}:hs"), cover=key))
    await store.close()


async def test_media_move_to_a_bucket_and_back(bucket: TestBucket, tmp_path: Path) -> None:
    """All files that rows name are in the bucket, and back in an empty folder, byte for byte; a move that broke off is
    begun again; the old place keeps everything."""
    directory, folder = tmp_path / "data", Folder(tmp_path / "data")
    await filled(Place(directory))
    with proxy_before(bucket.endpoint) as proxy:
        proxy.faults["PUT"] = [lambda _: False, lambda _: False, refused(403, "ExpiredToken")]
        there = settings_with(storage={"directory": str(directory)})
        with pytest.raises(MediaStoreError, match="expired"):
            await move_media(there, bucket.url(proxy.endpoint))
        assert len(bucket.blobs()) == 1
    said = await move_media(there, bucket.url())
    assert said.startswith(
        "moved 3 files of 6291471 bytes, and compared them: done, now set storage.media_url to s3://"
    )
    assert bucket.blobs() == KEYS
    for batch in [*folder.key_batches()]:
        for key in batch:
            folder.remove(key)
    moved = settings_with(storage={"directory": str(directory), "media_url": bucket.url()})
    assert "remove storage.media_url" in await move_media(moved, "folder")
    assert {key for batch in folder.key_batches() for key in batch if folder.is_whole(key)} == KEYS
    assert bucket.blobs() == KEYS


async def test_a_damaged_file_is_named_and_not_moved(bucket: TestBucket, tmp_path: Path) -> None:
    """A file that is not as it was stored is an error at the end; the others are moved."""
    await filled(Place(tmp_path))
    folder = Folder(tmp_path)
    folder.path(BlobKey(hashlib.sha256(FILES[0]).hexdigest())).write_bytes(b"other")
    settings = settings_with(storage={"directory": str(tmp_path)})
    with pytest.raises(AircheckError, match="2 files are moved, and 1 could not be"):
        await move_media(settings, bucket.url())
    assert len(bucket.blobs()) == 2
    for wrong in ("folder", "ftp://x"):
        with pytest.raises(ConfigError):
            await move_media(settings, wrong)


async def test_the_check_tries_the_bucket(bucket: TestBucket, tmp_path: Path) -> None:
    """A bucket that can be used is ok and left empty; each trouble is one sentence, without keys."""

    async def said(url: str) -> str:
        found = await check_media(settings_with(storage={"directory": str(tmp_path), "media_url": url}))
        return str(found)

    assert "ok    media store          http://127.0.0.1" in await said(bucket.url())
    assert bucket.names() == {}
    assert "no such bucket" in await said(bucket.url().replace(bucket.name, "none-such"))
    assert "FAIL  media store" in await said("s3://bucket/x?endpoint=nonsense")
    with proxy_before(bucket.endpoint) as proxy:
        proxy.always = refused(403, "SignatureDoesNotMatch")
        assert "the secret key is not that of the access key" in await said(bucket.url(proxy.endpoint))
    assert await check_media(settings_with()) is None


async def test_a_torn_name_is_no_file_that_moves(
    bucket: TestBucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row that names no file by what should be a name is said, and the others' files move."""
    place = Place(tmp_path / "data")
    await filled(place)
    store = await Store.own(place)
    async with store.write() as db:
        await rooms.save_room(db, a_room(RoomId("!torn:hs"), cover=BlobKey("../../torn")))
    await store.close()
    with pytest.raises(AircheckError, match="3 files are moved, and 1 could not be"):
        await move_media(settings_with(storage={"directory": str(tmp_path / "data")}), bucket.url())
    assert "1 rows name no file any more" in capsys.readouterr().err
    assert bucket.blobs() == KEYS
