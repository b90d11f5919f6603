"""Studios where media lie in a bucket: a slice is acknowledged when it lies there, and not before."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession

from storage.records import BlobKey
from tests.buckets.faults import Proxy, refused
from tests.buckets.servers import TestBucket
from tests.web.studio import Page, page_of
from tests.web.world import World, world_of

SOUND = b"OggS" + bytes(range(256)) * 100


@pytest.fixture
async def served(bucket: TestBucket, proxy: Proxy, tmp_path: Path) -> AsyncIterator[tuple[World, ClientSession]]:
    async with world_of(tmp_path / "data", storage={"media_url": bucket.url(proxy.endpoint)}) as world_and_client:
        yield world_and_client


@pytest.fixture
async def live(served: tuple[World, ClientSession]) -> Page:
    page = await page_of(*served)
    assert (await page.step("start"))[0] == 200
    return page


async def test_a_bucket_that_is_away(live: Page, proxy: Proxy) -> None:
    """While the bucket is away a slice is put off, and taken when it is back."""
    proxy.always = refused(403, "ExpiredToken")
    assert await live.send(1, SOUND) == (503, {"problem": "later"})
    assert (await live.state())["have"] == []
    proxy.always = None
    assert await live.send(1, SOUND) == (201, {"number": 1})
    assert (await live.state())["have"] == [[1, 1]]


async def test_the_same_sound_sent_twice_at_once(live: Page) -> None:
    """A slice that is sent three times at once is taken once, and lies in the bucket."""
    answers = await asyncio.gather(*(live.send(1, SOUND) for _ in range(3)))
    assert sorted(answer[0] for answer in answers) == [200, 200, 201]
    blobs = live.world.store.blobs
    (key,) = {BlobKey(str(each["blob"])) for each in await contents(live) if "blob" in each}
    assert await blobs.read(key) == SOUND
    assert [*blobs.scratch.glob("studio-*")] == []


async def contents(live: Page) -> list[dict[str, object]]:
    return [dict(heard.event["content"]) for heard in await live.heard()]
