"""A bucket whose server or network fails: nothing half is seen, nothing is lost, and the reason is one sentence."""

import asyncio
import hashlib
import json
import os
import shutil
import threading
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import patch

import pytest
from sqlalchemy import select

from bot import orders
from bot.worker.forgetting import Forgetting
from storage import jobs, rooms
from storage.blobs import marks, s3
from storage.blobs.cache import Cache
from storage.errors import MediaStoreError, StoreError
from storage.place import Place
from storage.records import BlobKey
from storage.store import Store
from storage.tables import blob_marks
from tests.buckets.faults import Proxy, held, refused, reset, slow, truncated, wrong_bytes
from tests.buckets.servers import KEYS, TestBucket
from tests.factories import ROOM, a_room

LARGE = bytes(range(256)) * 4096 * 11  # 11 MiB: three parts
ON_GATEWAY = os.environ.get("AIRCHECK_TEST_S3") == "gateway"
NOW = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)


def key_of(data: bytes) -> BlobKey:
    return BlobKey(hashlib.sha256(data).hexdigest())


@pytest.fixture
async def store(
    bucket: TestBucket, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Store]:
    """A store whose media lie behind the proxy, with little patience."""
    backoff = {"init_backoff": timedelta(milliseconds=5), "max_backoff": timedelta(milliseconds=20), "base": 2}
    monkeypatch.setattr(s3, "RETRIES", {"max_retries": 2, "backoff": backoff, "retry_timeout": timedelta(seconds=5)})
    opened = await Store.own(Place(tmp_path / "data", media_url=bucket.url(proxy.endpoint)))
    yield opened
    await opened.close()


def written(store: Store, data: bytes) -> tuple[Path, BlobKey]:
    part = store.blobs.part(f"test-{key_of(data)[:8]}")
    part.write_bytes(data)
    return part, key_of(data)


async def add(store: Store, data: bytes) -> BlobKey:
    """Store a blob that a room's cover names, and drop its local copy."""
    key = key_of(data)
    async with store.blobs.arriving(written(store, data)) as new, store.write() as db:
        await new.keep(db)
        await rooms.save_room(db, a_room(cover=key))
    await blobs_of(store).cache.drop([key])
    return key


def blobs_of(store: Store) -> s3.S3Blobs:
    assert isinstance(store.blobs, s3.S3Blobs)
    return store.blobs


def left(bucket: TestBucket) -> int:
    """Count uploads in parts that were neither ended nor aborted. The gateway may keep one to which a part was
    under way when it was aborted, as S3 does: the bucket's rule ends it."""
    return 0 if ON_GATEWAY else bucket.uploads()


async def marked(store: Store) -> list[tuple[str, bool]]:
    async with store.read() as db:
        rows = await db.execute(select(blob_marks.c.blob, blob_marks.c.leaving))
        return [(row.blob, row.leaving) for row in rows]


async def test_a_large_file_goes_in_parts_over_faults(store: Store, bucket: TestBucket, proxy: Proxy) -> None:
    """Errors, a plea to slow down and a reset in the middle of a part are tried again, and the object is whole."""
    proxy.faults["PUT"] = [refused(500, "InternalError"), refused(503, "SlowDown"), reset]
    key = await add(store, LARGE)
    assert bucket.names() == {f"some/media/{key[:2]}/{key}": len(LARGE)}
    assert left(bucket) == 0
    assert await marked(store) == []
    proxy.faults["GET"] = [refused(503, "SlowDown"), reset, slow(0), truncated]
    async with store.blobs.local(key) as path:
        assert path.read_bytes() == LARGE
    assert await store.blobs.is_whole(key)


async def test_an_upload_that_breaks_off_is_seen_by_nobody(store: Store, bucket: TestBucket, proxy: Proxy) -> None:
    """After an upload that can't be ended there is neither an object, nor an upload in parts, nor a mark."""
    proxy.faults["PUT"] = [refused(500, "InternalError")] * 20
    with pytest.raises(MediaStoreError, match="refuses: InternalError"):
        await add(store, LARGE)
    assert (bucket.names(), left(bucket), await marked(store)) == ({}, 0, [])


async def test_a_file_of_another_hash_becomes_no_object(store: Store, bucket: TestBucket) -> None:
    """Bytes that are not those of the key, large or small, are not stored."""
    for data in (LARGE, b"small"):
        part = store.blobs.part("wrong")
        part.write_bytes(data)
        with pytest.raises(OSError, match="hash"):
            async with store.blobs.arriving((part, key_of(b"other"))):
                pass
    assert (bucket.names(), left(bucket), await marked(store)) == ({}, 0, [])


async def test_wrong_bytes_of_the_server_are_never_used(store: Store, proxy: Proxy) -> None:
    """A local copy is compared with its hash; other bytes are asked for again, and given up."""
    key = await add(store, b"OggS some sound")
    proxy.faults["GET"] = [wrong_bytes]
    async with store.blobs.local(key) as path:
        assert path.read_bytes() == b"OggS some sound"
    await blobs_of(store).cache.drop([key])
    proxy.faults["GET"] = [wrong_bytes] * 20
    with pytest.raises(MediaStoreError, match="other bytes"):
        async with store.blobs.local(key):
            pass
    with pytest.raises(MediaStoreError, match="other bytes"):
        await store.blobs.read(key)
    assert not await store.blobs.is_whole(key)
    assert [path.name for path in store.blobs.scratch.rglob("*.part")] == []


@pytest.mark.parametrize(
    ("status", "code", "sentence"),
    [
        (403, "ExpiredToken", "have expired"),
        (403, "SignatureDoesNotMatch", "secret key"),
        (403, "RequestTimeTooSkewed", "clock"),
        (403, "AccessDenied", "don't allow"),
        (404, "NoSuchBucket", "no such bucket"),
        (404, "XAdminUserNotFound", "access key"),
        (404, "NotOfS3", "refuses: NotOfS3"),
    ],
)
async def test_each_refusal_is_one_sentence(store: Store, proxy: Proxy, status: int, code: str, sentence: str) -> None:
    """A refusal of the server is said in our words, without its own words, and is no missing blob."""
    proxy.always = refused(status, code)
    with pytest.raises(MediaStoreError, match=sentence) as told:
        await store.blobs.read(BlobKey("ab" * 32), 0, 4)
    assert "secret details" not in str(told.value)
    for act in (store.blobs.size, store.blobs.exists):
        with pytest.raises(MediaStoreError):
            await act(BlobKey("ab" * 32))
    with pytest.raises(MediaStoreError):
        await add(store, b"new")


async def test_slow_and_absent_servers_are_given_up_in_time(
    store: Store, bucket: TestBucket, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that does not answer, and one that is not there, end in an error and not in silence."""
    key = await add(store, b"some sound")
    proxy.always = slow(0.8)
    monkeypatch.setitem(s3.CLIENT, "read_timeout", timedelta(seconds=0.3))
    for number, url in enumerate((bucket.url(proxy.endpoint), "s3://none/x?endpoint=http://127.0.0.1:9")):
        other = await Store.own(Place(tmp_path / str(number), media_url=url))
        with pytest.raises(MediaStoreError, match="can't be reached"):
            await other.blobs.size(key)
        await other.close()


async def test_a_removal_and_an_arrival_of_the_same_bytes_exclude_each_other(store: Store, proxy: Proxy) -> None:
    """While a blob is being removed it can't arrive; while it arrives it is not removed."""
    data, key = b"the same bytes", key_of(b"the same bytes")
    async with store.blobs.arriving(written(store, data)) as new:
        assert await store.blobs.forget([key]) == []
        async with store.write() as db:
            await new.keep(db)
    go_on = threading.Event()
    proxy.faults["POST"] = [held(go_on)]
    removal = asyncio.create_task(store.blobs.forget([key]))
    with store.changes.subscribe() as changed:
        while not await marked(store):
            changed.clear()
            await changed.wait()
    with pytest.raises(MediaStoreError, match="being removed"):
        async with store.blobs.arriving(written(store, data)):
            pass
    go_on.set()
    assert await removal == [key]
    assert await add(store, data) == key
    assert await store.blobs.exists(key)


async def test_a_removal_that_was_paused_removes_nothing(
    store: Store, bucket: TestBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that sleeps between its mark and the removal finds its mark old, and leaves the object alone."""
    key = await add(store, b"some sound")
    async with store.write() as db:
        await rooms.save_room(db, a_room(cover=None))
    monkeypatch.setattr(marks, "LONGEST_REMOVAL", timedelta(0))
    with pytest.raises(MediaStoreError, match="broken off"):
        await store.blobs.forget([key])
    assert (bucket.blobs(), await marked(store)) == ({key}, [])


async def test_what_was_removed_and_has_a_row_again_is_mended(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that a removal took although a row names it by now is brought back by an order."""
    key = await add(store, b"some sound")
    async with store.write() as db:
        await rooms.save_room(db, a_room(cover=None))
    forget = store.blobs.forget

    async def forget_too_late(keys: Sequence[BlobKey]) -> list[BlobKey]:
        gone = await forget(keys)
        async with store.write() as db:
            await rooms.save_room(db, a_room(cover=key))
        return gone

    monkeypatch.setattr(store.blobs, "forget", forget_too_late)
    async with store.write() as db:
        await jobs.add(db, orders.Forget((key,)).job(), NOW)
        job = await jobs.find(db, orders.Forget((key,)).job().name)
    assert job is not None
    await Forgetting(store)(job)
    async with store.read() as db:
        assert [orders.MendRoom.of(each).room_id for each in await jobs.unfinished(db, orders.MendRoom.kind)] == [ROOM]


async def test_marks_of_the_dead_end(store: Store) -> None:
    """Blobs that a killed process was about to bring or remove are named again in time, and its late end fails."""
    async with store.write() as db:
        await marks.arriving(db, [BlobKey("a")], "1", NOW)
        await marks.leaving(db, [BlobKey("b")], "2", NOW)
        assert await marks.take_overdue(db, NOW + marks.LONGEST_REMOVAL) == []
        assert await marks.take_overdue(db, NOW + marks.LONGEST_REMOVAL * 2) == ["b"]
        assert await marks.take_overdue(db, NOW + marks.LONGEST_ARRIVAL * 2) == ["a"]
        with pytest.raises(MediaStoreError, match="broken off"):
            await s3.S3Arrival("1", [BlobKey("a")]).keep(db)


async def test_recent_blobs_are_read_from_local_copies(store: Store, proxy: Proxy) -> None:
    """A blob that was just stored, or read once as a file, costs no request."""
    data = b"OggS some sound"
    key = key_of(data)
    async with store.blobs.arriving(written(store, data)) as new, store.write() as db:
        await new.keep(db)
        await rooms.save_room(db, a_room(cover=key))
    before = len(proxy.seen)
    assert await store.blobs.read(key, 4, 3) == data[4:7]
    async with store.blobs.local(key) as path:
        assert path.read_bytes() == data
    with store.blobs.open(key) as file:
        assert file.read() == data
    assert len(proxy.seen) == before


async def test_copies_have_bounds_but_stay_while_they_are_used(tmp_path: Path) -> None:
    """The least recently used copies go first; those in use stay; a dropped one goes when its user is done; many who
    ask at once wait for one fetch."""
    cache, fetched = Cache(tmp_path, 250, _all_named), []

    async def hold(name: str) -> Path:
        async def fetch(part: Path) -> None:
            fetched.append(name)
            await asyncio.to_thread(part.write_bytes, bytes(100))

        async with cache.local(BlobKey(name), fetch) as path:
            await asyncio.sleep(0)
            assert path.stat().st_size == 100
            return path

    async def fail(part: Path) -> None:
        await asyncio.to_thread(part.write_bytes, b"half")
        raise MediaStoreError("away")

    assert len(set(await asyncio.gather(*(hold("a") for _ in range(5))))) == 1
    assert fetched == ["a"]
    async with cache.local(BlobKey("a"), fail) as used:
        for name in "bcd":
            await hold(name)
        assert used.exists()
        assert (cache.path(BlobKey("b")), cache.path(BlobKey("c"))) == (None, None)
        await cache.drop([BlobKey("a")])
        assert used.exists()
    assert not used.exists()
    with pytest.raises(MediaStoreError):
        async with cache.local(BlobKey("e"), fail):
            pass
    assert (cache.bytes, [path.stat().st_size for path in cache.folder.iterdir()]) == (100, [100])


async def _all_named(keys: Sequence[BlobKey]) -> frozenset[BlobKey]:
    return frozenset(keys)


async def test_a_copy_of_what_goes_while_it_comes_does_not_stay(tmp_path: Path) -> None:
    """A blob that is removed between its row and its copy, or while it is fetched, leaves no copy behind."""
    named = {BlobKey("a"), BlobKey("b")}

    async def still_named(keys: Sequence[BlobKey]) -> frozenset[BlobKey]:
        return frozenset(named.intersection(keys))

    async def fetch(part: Path) -> None:
        await asyncio.to_thread(part.write_bytes, b"sound")
        named.clear()

    cache = Cache(tmp_path, 250, still_named)
    async with cache.local(BlobKey("a"), fetch) as path:
        assert path.read_bytes() == b"sound"
    part = tmp_path / "part"
    part.write_bytes(b"sound")
    await cache.take(part, BlobKey("b"))
    assert ([*cache.folder.iterdir()], cache.bytes) == ([], 0)


async def test_copies_in_an_emptied_folder_are_fetched_again(tmp_path: Path) -> None:
    """A process that starts empties the scratch folder; another one that serves beside it goes on."""

    async def fetch(part: Path) -> None:
        await asyncio.to_thread(part.write_bytes, b"sound")

    cache = Cache(tmp_path, 250, _all_named)
    for _ in range(2):
        async with cache.local(BlobKey("a"), fetch) as path:
            assert path.read_bytes() == b"sound"
        shutil.rmtree(cache.folder)


async def test_copies_of_other_processes_go_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that hears of commits by others drops its copies of what rows name no more, and at its end all."""
    monkeypatch.setattr(s3, "TENDED_EVERY_S", 0.0)
    key = await add(store, b"said and redacted")
    copies = s3.S3Blobs(store.place, store.place.media_url or "", store)
    dropped, drop = asyncio.Event(), copies.cache.drop

    async def drop_and_tell(keys: list[BlobKey]) -> None:
        await drop(keys)
        if keys:
            dropped.set()

    monkeypatch.setattr(copies.cache, "drop", drop_and_tell)
    tending = asyncio.create_task(copies.tend(store.changes))
    async with copies.local(key) as path:
        pass
    assert path.exists()
    async with store.write() as db:
        await rooms.save_room(db, a_room(cover=None))
    await store.blobs.forget([key])
    async with asyncio.timeout(30):
        await dropped.wait()
    assert not path.exists()
    tending.cancel()
    key = await add(store, b"something else")
    async with store.blobs.local(key) as path:
        pass
    await store.close()
    assert not path.parent.exists()


async def test_signed_addresses_name_their_answer(store: Store, bucket: TestBucket) -> None:
    """An address ends after five minutes and has the type and the name of the file in it; without keys in the
    environment obstore signs."""
    blobs, key = blobs_of(store), await add(store, b"ID3 some sound")
    address = await blobs.address(key, mime="audio/mpeg", disposition='inline; filename="a b.mp3"')
    assert address.startswith(f"{blobs.origin}/{bucket.name}/some/media/{key[:2]}/{key}?X-Amz-Algorithm=")
    assert "X-Amz-Expires=300" in address
    assert "response-content-disposition=inline%3B%20filename%3D%22a%20b.mp3%22" in address
    with patch.object(blobs, "keys", None):
        assert "X-Amz-Expires=300" in await blobs.address(key, mime="audio/mpeg", disposition="inline")


class _Role(BaseHTTPRequestHandler):
    """A platform that gives keys to those who have its token."""

    def do_GET(self) -> None:
        known = self.headers["Authorization"] == "token-of-the-pod"
        keys = {
            "AccessKeyId": "AKIAROLE",
            "SecretAccessKey": "role",
            "Token": "session",
            "Expiration": "2099-01-01T00:00:00Z",
        }
        body = json.dumps(keys).encode()
        self.send_response_only(200 if known else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


async def test_a_role_gives_the_keys(bucket: TestBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without keys in the environment those of the platform's role are used, with their session's token."""
    platform = ThreadingHTTPServer(("127.0.0.1", 0), _Role)
    threading.Thread(target=platform.serve_forever, daemon=True).start()
    (tmp_path / "token").write_text("token-of-the-pod")
    for name in KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{platform.server_port}/keys")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
    store = await Store.own(Place(tmp_path / "data", media_url=bucket.url()))
    try:
        if ON_GATEWAY:
            with pytest.raises(MediaStoreError, match="session token"):  # which it knows none of
                await add(store, b"some sound")
            return
        key = await add(store, b"some sound")
        assert await store.blobs.read(key) == b"some sound"
        address = await blobs_of(store).address(key, mime="audio/mpeg", disposition="inline")
        assert "X-Amz-Credential=AKIAROLE" in address
        assert "X-Amz-Security-Token=session" in address
    finally:
        await store.close()
        platform.shutdown()
        platform.server_close()


def test_an_address_that_is_none_is_said_at_once(tmp_path: Path) -> None:
    """Unknown options and endpoints that are none are named."""
    for url, sentence in {
        "s3://bucket/x?colour=red": "unknown option colour",
        "s3://bucket/x?endpoint=example.org": "endpoint must be",
        "s3://bucket/x?style=odd": "style must be",
        "s3://bucket/../x": "plain path",
    }.items():
        with pytest.raises(StoreError, match=sentence):
            s3.S3Blobs(Place(tmp_path), url, None)  # type: ignore[arg-type]
