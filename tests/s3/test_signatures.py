"""Media in a bucket of a server that checks each signature: what was signed is given, and nothing else."""

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from bot.check.finding import Level
from bot.shell.check_media import check_media
from storage import rooms
from storage.blobs.bucket import Bucket, Keys
from storage.blobs.s3 import S3Blobs
from storage.errors import MediaStoreError
from storage.place import Place
from storage.records import BlobKey
from storage.store import Store
from tests.buckets.gateway import DOMAIN
from tests.buckets.servers import KEYS, REGION, TestBucket, new_bucket
from tests.factories import a_room
from tests.web.world import settings_with

pytestmark = pytest.mark.s3

DATA = b"ID3" + bytes(range(256)) * 8
KEY = BlobKey(hashlib.sha256(DATA).hexdigest())
KEYS_OF_BUCKET = Keys(KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"])
ODD = "odd ~*'()!+/p%20q/a?b#c/ü=é&x;y:z@w,v$"
NAMED = "attachment; filename=\"a + b.mp3\"; filename*=UTF-8''%C3%A4%2Bb.mp3"


@pytest.fixture
def bucket(s3_gateway: str, monkeypatch: pytest.MonkeyPatch) -> TestBucket:
    return new_bucket(s3_gateway, monkeypatch)


@pytest.fixture(params=["some/media", ODD, ""], ids=["plain", "odd", "none"])
async def store(request: pytest.FixtureRequest, bucket: TestBucket, tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.own(Place(tmp_path / "data", media_url=bucket.url(prefix=quote(request.param))))
    yield opened
    await opened.close()


def blobs_of(store: Store) -> S3Blobs:
    assert isinstance(store.blobs, S3Blobs)
    return store.blobs


async def add(store: Store, data: bytes = DATA) -> BlobKey:
    """Store a blob that a room's cover names, and drop its local copy."""
    key = BlobKey(hashlib.sha256(data).hexdigest())
    part = store.blobs.part(f"test-{key}")
    part.write_bytes(data)
    async with store.blobs.arriving((part, key)) as new, store.write() as db:
        await new.keep(db)
        await rooms.save_room(db, a_room(cover=key))
    await blobs_of(store).cache.drop([key])
    return key


def ask(address: str, method: str = "GET", *, to: str | None = None, **headers: str) -> tuple[int, HTTPMessage, bytes]:
    """Follow an address, perhaps with a connection to another host than its own."""
    parts = urlsplit(address)
    connection = HTTPConnection(to or parts.netloc, timeout=20)
    try:
        connection.request(method, f"{parts.path}?{parts.query}", headers={"Host": parts.netloc, **headers})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


async def test_a_blob_under_any_prefix_comes_and_goes(store: Store, bucket: TestBucket) -> None:
    """With odd characters in its prefix too, an object is written, read, listed, signed for and removed."""
    blobs = blobs_of(store)
    await add(store)
    assert [*bucket.names()] == ["/".join(filter(None, (blobs.bucket.prefix, KEY[:2], KEY)))]
    assert await blobs.read(KEY, 3, 5) == DATA[3:8]
    async with blobs.local(KEY) as path:
        assert path.read_bytes() == DATA
    assert [key async for page in blobs.pages() for key in page] == [KEY]
    status, headers, body = ask(await blobs.address(KEY, mime="audio/mpeg", disposition=NAMED))
    assert (status, body) == (200, DATA)
    assert (headers["Content-Type"], headers["Content-Disposition"]) == ("audio/mpeg", NAMED)
    blobs.keys = None  # as with a role: the library signs
    assert ask(await blobs.address(KEY, mime="audio/mpeg", disposition=NAMED))[::2] == (200, DATA)
    async with store.write() as db:
        await rooms.save_room(db, a_room(cover=None))
    assert await blobs.forget([KEY]) == [KEY]
    assert bucket.names() == {}


async def test_an_address_gives_one_object_whole_or_in_ranges(bucket: TestBucket) -> None:
    """GET and ranges work at an address, and HEAD at one that is signed for it; nothing that is changed does."""
    assert bucket.request("PUT", "/some/media/one", DATA)[0] == 200
    assert bucket.request("PUT", "/some/media/other", b"other")[0] == 200
    ours, now = Bucket.of(bucket.url(), {}), datetime.now(UTC)
    answer = {"content-type": "audio/ogg", "content-disposition": NAMED}
    address = ours.signed("one", KEYS_OF_BUCKET, now, 300, answer=answer)
    assert ask(address)[::2] == (200, DATA)
    status, headers, body = ask(address, Range="bytes=5-9")
    assert (status, body, headers["Content-Range"]) == (206, DATA[5:10], f"bytes 5-9/{len(DATA)}")
    assert (headers["Content-Type"], headers["Content-Disposition"]) == ("audio/ogg", NAMED)
    status, headers, _ = ask(ours.signed("one", KEYS_OF_BUCKET, now, 300, method="HEAD"), "HEAD")
    assert (status, headers["Content-Length"]) == (200, str(len(DATA)))
    elsewhere = Bucket.of(bucket.url().replace(REGION, "eu-test-2"), {})
    changed = {
        "method": (address, "HEAD"),
        "removal": (address, "DELETE"),
        "object": (address.replace("/media/one", "/media/other"), "GET"),
        "path": (address.replace("/some/media/one", "/some/other"), "GET"),
        "time": (address.replace("Expires=300", "Expires=3000"), "GET"),
        "type": (address.replace("audio%2Fogg", "text%2Fhtml"), "GET"),
        "more": (f"{address}&response-cache-control=public", "GET"),
        "bucket": (address.replace(bucket.name, f"{bucket.name}x"), "GET"),
        "signature": (address[:-4] + "0000", "GET"),
        "secret": (ours.signed("one", Keys(KEYS_OF_BUCKET.access, "wrong"), now, 300), "GET"),
        "region": (elsewhere.signed("one", KEYS_OF_BUCKET, now, 300), "GET"),
    }  # fmt: skip
    answers = {what: ask(url, method) for what, (url, method) in changed.items()}
    assert {what: status for what, (status, _, _) in answers.items() if status not in (400, 403, 404)} == {}
    assert [what for what, (_, _, body) in answers.items() if b"SignatureDoesNotMatch" in body or DATA in body] != []
    assert not any(DATA in body or body == b"other" for _, _, body in answers.values())


async def test_an_address_that_is_over_is_refused(bucket: TestBucket) -> None:
    """An address works to its end and not after it."""
    assert bucket.request("PUT", "/some/media/one", DATA)[0] == 200
    ours, now = Bucket.of(bucket.url(), {}), datetime.now(UTC)
    assert ask(ours.signed("one", KEYS_OF_BUCKET, now - timedelta(seconds=240), 300))[0] == 200
    status, _, body = ask(ours.signed("one", KEYS_OF_BUCKET, now - timedelta(seconds=310), 300))
    assert status == 403
    assert b"expired" in body


async def test_a_bucket_may_be_part_of_the_host_name(
    bucket: TestBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the bucket's name in the host name requests and signed addresses are right too."""
    gateway = urlsplit(bucket.endpoint).netloc
    there = f"http://{DOMAIN}:80"
    monkeypatch.setenv("HTTP_PROXY", bucket.endpoint)  # which takes requests for hosts that no name server knows
    place = Place(tmp_path / "data", media_url=bucket.url(there) + "&style=virtual")
    store = await Store.own(place)
    await add(store)
    assert await store.blobs.read(KEY) == DATA
    assert bucket.names() == {f"some/media/{KEY[:2]}/{KEY}": len(DATA)}
    address = await blobs_of(store).address(KEY, mime="audio/mpeg", disposition=NAMED)
    assert address.startswith(f"http://{bucket.name}.{DOMAIN}/some/media/")
    assert ask(address, to=gateway)[::2] == (200, DATA)
    assert ask(address.replace(KEY[2:], KEY[2:-1] + "x"), to=gateway)[0] in (403, 404)
    await store.close()


async def test_a_hundred_megabytes_go_in_parts(bucket: TestBucket, tmp_path: Path) -> None:
    """A large file arrives in parts, whole, and is read back from end to end; a changed one is stored nowhere."""
    store = await Store.own(Place(tmp_path / "data", media_url=bucket.url()))
    data = hashlib.shake_256(b"sound").digest(1 << 20) * 100
    key = await add(store, data)
    assert bucket.names() == {f"some/media/{key[:2]}/{key}": len(data)}
    assert await store.blobs.is_whole(key)
    assert await store.blobs.read(key, 50 << 20, 1 << 20) == data[: 1 << 20]
    part = store.blobs.part("changed")
    part.write_bytes(data[:-1] + b"x")
    other = BlobKey("ab" * 32)
    with pytest.raises(OSError, match="hash"):
        async with store.blobs.arriving((part, other)):
            pass
    assert len(bucket.names()) == 1
    await store.close()


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("AWS_ACCESS_KEY_ID", "AKIANOBODY", "does not know the access key"),
        ("AWS_SECRET_ACCESS_KEY", "wrong", "the secret key is not that of the access key"),
    ],
)
async def test_the_check_says_which_key_is_wrong(
    bucket: TestBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, sentence: str
) -> None:
    """`aircheck check` says in one line which of the keys is wrong, and no part of a key."""
    settings = settings_with(storage={"directory": str(tmp_path), "media_url": bucket.url()})
    finding = await check_media(settings)
    assert finding is not None
    assert (finding.level, bucket.names()) == (Level.OK, {})
    monkeypatch.setenv(variable, value)
    finding = await check_media(settings)
    assert finding is not None
    assert finding.level is Level.FAIL
    assert sentence in finding.text
    assert "tests-secret-key" not in finding.text


async def test_the_check_says_that_a_bucket_or_a_region_is_wrong(bucket: TestBucket, tmp_path: Path) -> None:
    """`aircheck check` says in one line that there is no such bucket, or that it is in another region."""
    for url, sentence in {
        bucket.url().replace(bucket.name, "media-of-nobody"): "no such bucket",
        bucket.url().replace(REGION, "eu-test-2"): "the bucket is in another region",
    }.items():
        finding = await check_media(settings_with(storage={"directory": str(tmp_path), "media_url": url}))
        assert finding is not None
        assert finding.level is Level.FAIL
        assert sentence in finding.text


async def test_a_wrong_key_is_said_when_a_blob_is_written(
    bucket: TestBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload with a wrong key is refused in our words, and leaves nothing."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    store = await Store.own(Place(tmp_path / "data", media_url=bucket.url()))
    with pytest.raises(MediaStoreError, match="secret key"):
        await add(store)
    await store.close()
    assert bucket.names() == {}
