"""Downloads where media lie in a bucket: listeners are sent to signed addresses, and everything else is as it was."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import ClientResponse, ClientSession

from bot import counted, orders
from storage import jobs
from storage.blobs import s3
from storage.records import Visibility
from tests.buckets.faults import Proxy, refused
from tests.buckets.servers import KEYS, TestBucket
from tests.factories import ALICE
from tests.web.world import World, world_of

AUDIO = b"ID3" + bytes(range(256)) * 8192  # 2 MiB


@pytest.fixture
async def served(bucket: TestBucket, proxy: Proxy, tmp_path: Path) -> AsyncIterator[tuple[World, ClientSession]]:
    async with world_of(tmp_path / "data", storage={"media_url": bucket.url(proxy.endpoint)}) as world_and_client:
        yield world_and_client


async def published(world: World) -> tuple[str, str]:
    """Publish an episode; return its address and its tag."""
    room = await world.room(visibility=Visibility.PUBLIC)
    recording = await world.recording(room)
    episode = await world.episode(recording, AUDIO)
    return f"/r/{room.key}/{recording.code}.mp3", f'"{episode.blob}"'


def target(answer: ClientResponse, proxy: Proxy) -> str:
    assert answer.status == 302
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "ETag" not in answer.headers
    address = answer.headers["Location"]
    assert address.startswith(f"{proxy.endpoint}/")
    assert "X-Amz-Expires=300&" in address
    return address


async def test_a_download_is_sent_to_a_signed_address(
    served: tuple[World, ClientSession], proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """A download goes to the bucket, which has its type, its name and its ranges; HEAD and the tag are answered here,
    and no log has the address."""
    world, client = served
    address, tag = await published(world)
    async with client.head(address) as answer:
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(AUDIO)))
        assert (answer.headers["Content-Type"], answer.headers["ETag"]) == ("audio/mpeg", tag)
        named = answer.headers["Content-Disposition"]
    async with client.get(address, allow_redirects=False) as answer:
        signed = target(answer, proxy)
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in signed
    async with ClientSession() as other, other.get(signed) as answer:
        assert (answer.headers["Content-Type"], answer.headers["Content-Disposition"]) == ("audio/mpeg", named)
        assert await answer.read() == AUDIO
    async with client.get(address, headers={"Range": "bytes=100-199"}) as answer:
        assert (answer.status, await answer.read()) == (206, AUDIO[100:200])
    async with client.get(address, headers={"If-None-Match": tag}) as answer:
        assert answer.status == 304
    async with client.get(address, headers={"Range": f"bytes={len(AUDIO)}-"}) as answer:
        assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{len(AUDIO)}")
    assert "X-Amz" not in caplog.text


async def test_a_resumed_download_never_mixes_two_files(served: tuple[World, ClientSession], proxy: Proxy) -> None:
    """A client that resumes another file gets the whole of this one from here; one that resumes this file, by our
    tag or the bucket's, is sent on."""
    world, client = served
    address, tag = await published(world)
    async with client.get(address) as answer:
        theirs = answer.headers["ETag"]
    for condition in (tag, theirs):
        headers = {"Range": "bytes=5-9", "If-Range": condition}
        async with client.get(address, headers=headers, allow_redirects=False) as answer:
            target(answer, proxy)
    headers = {"Range": "bytes=5-9", "If-Range": '"of another"'}
    async with client.get(address, headers=headers, allow_redirects=False) as answer:
        assert (answer.status, await answer.read()) == (200, AUDIO)


async def test_a_personal_address_ends_before_the_redirect(served: tuple[World, ClientSession], proxy: Proxy) -> None:
    """Private audio is asked for at the one check of access; who has left is sent nowhere."""
    world, client = served
    room = await world.room()
    await world.member(room, ALICE)
    token = await world.listener(room, ALICE)
    recording = await world.recording(room)
    await world.episode(recording, AUDIO)
    address = f"/p/{token}/{recording.code}.mp3"
    async with client.get(address, allow_redirects=False) as answer:
        assert token not in target(answer, proxy)
        assert "Access-Control-Allow-Origin" not in answer.headers
    await world.member(room, ALICE, "leave", at=5)
    async with client.get(address, allow_redirects=False) as answer:
        assert (answer.status, answer.headers.get("Location")) == (404, None)


async def test_a_lost_object_and_an_absent_bucket_differ(
    served: tuple[World, ClientSession], proxy: Proxy, bucket: TestBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object that is gone is a short 404 and is looked after; a bucket that is away is a 503, and none is."""
    world, client = served
    address, tag = await published(world)
    monkeypatch.setattr(s3, "REMEMBERED", timedelta(0))
    proxy.always = refused(403, "ExpiredToken")
    put_off = counted.REQUESTS.copy()["audio", "5xx"]
    async with client.get(address) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "30")
    assert counted.REQUESTS.copy()["audio", "5xx"] == put_off + 1
    async with world.store.read() as db:
        assert not await jobs.unfinished(db, orders.CheckEpisode.kind)
    proxy.always = None
    key = tag.strip('"')
    assert bucket.request("DELETE", f"/some/media/{key[:2]}/{key}")[0] == 204
    async with client.get(address) as answer:
        assert answer.status == 404
    async with world.store.read() as db:
        assert len(await jobs.unfinished(db, orders.CheckEpisode.kind)) == 1


async def test_a_page_may_play_what_lies_in_the_bucket(served: tuple[World, ClientSession], proxy: Proxy) -> None:
    """The policy of a page names the origin of the bucket for sound, and for nothing else."""
    world, client = served
    address, _ = await published(world)
    async with client.get(address.rpartition("/")[0] + "/") as answer:
        policy = answer.headers["Content-Security-Policy"]
    assert f"media-src 'self' blob: {proxy.endpoint};" in policy
    assert policy.count(proxy.endpoint) == 1


async def test_a_feed_costs_no_request(served: tuple[World, ClientSession], proxy: Proxy) -> None:
    """A feed has each file's length from its row, and asks the bucket for nothing."""
    world, client = served
    address, _ = await published(world)
    before = len(proxy.seen)
    async with client.get(address.rpartition("/")[0] + "/feed.xml") as answer:
        assert f'length="{len(AUDIO)}"' in await answer.text()
    assert len(proxy.seen) == before
