"""The page at the root of the server."""

import asyncio
import json
import re
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import ClientSession

from bot.audio.grid import SEGMENT_FRAMES as FRAMES
from storage.database import Connection
from storage.records import RecordingState, Visibility
from tests.web.on_the_air import Broadcast
from tests.web.reader import page
from tests.web.world import NOW, World, world_of


async def test_home_lists_public_podcasts(world: World, client: ClientSession) -> None:
    """The page lists public rooms with cover, title, a line and the newest date, each linked; private ones never."""
    for name, days in (("Older", 1), ("Newer", 2)):
        room = await world.room(name, visibility=Visibility.PUBLIC)
        await world.state(room, "m.room.topic", {"topic": f"About {name}"})
        await world.episode(await world.recording(room, started_at=NOW + timedelta(days=days)), name.encode())
    await world.room("Secret")
    found = await page(client, "/")
    words = " ".join(found.text.split())
    assert "Newer About Newer 22 November 2026 Older About Older 21 November 2026" in words
    assert "Secret" not in words
    assert "!aircheck feed" in words
    addresses = [address for address in found.addresses if address.startswith("r/")]
    assert len(addresses) == 4
    for address in addresses:
        async with client.get(f"/{address}") as answer:
            assert answer.status == 200


async def test_home_shows_what_is_on_the_air_first(world: World, client: ClientSession) -> None:
    """A podcast on the air stands before newer ones, and says who speaks; one that is about to begin stands behind it,
    and a broadcast out of public reach says nothing."""
    quiet = await world.room("Quiet", visibility=Visibility.PUBLIC)
    await world.episode(await world.recording(quiet, started_at=NOW + timedelta(days=9)))
    await world.recording(quiet, state=RecordingState.LIVE, broadcaster_name="Dave", public=False)
    airs = await world.room("Airs", visibility=Visibility.PUBLIC)
    live = Broadcast(world, await world.recording(airs, state=RecordingState.LIVE, broadcaster_name="Carol"))
    waits = await world.room("Waits", visibility=Visibility.PUBLIC)
    await world.recording(waits, state=RecordingState.LIVE, broadcaster_name="Erin")
    words = " ".join((await page(client, "/")).text.split())
    assert "Airs About to begin Carol" in words
    await live.speak(FRAMES)
    words = " ".join((await page(client, "/")).text.split())
    assert words.index("Airs On air Carol") < words.index("Waits About to begin Erin") < words.index("Quiet")
    assert "Dave" not in words


async def test_home_of_an_empty_server(world: World, client: ClientSession) -> None:
    """Without a public podcast the page says so, and how a room gets one."""
    words = " ".join((await page(client, "/")).text.split())
    assert "No room on this server has a public podcast yet." in words
    assert "!aircheck publish public" in words


async def test_home_names_the_server(tmp_path: Path) -> None:
    """The heading names the host of web.public_url."""
    async with world_of(tmp_path / "data", web={"port": 0, "public_url": "https://radio.example"}) as (_, client):
        found = await page(client, "/")
        assert "Podcasts on radio.example" in found.text


async def test_open_home_pages_learn_what_begins(world: World, client: ClientSession) -> None:
    """The file beside the page says what is on the air in public podcasts, and when the page has changed."""
    room = await world.room("Airs", visibility=Visibility.PUBLIC)
    said, shown = [], []
    for public in (None, False, True):
        if public is not None:
            await world.recording(room, state=RecordingState.LIVE, broadcaster_name="Carol", public=public)
        async with client.get("/now.json") as answer:
            said.append(json.loads(await answer.read()))
        async with client.get("/") as answer:
            shown.append(re.findall(r'data-now="now.json" data-page="(\w+)"', (await answer.read()).decode()))
    assert [[each["speakers"] for each in one["live"]] for one in said] == [[], [], ["Carol"]]
    assert said[0]["page"] != said[2]["page"]
    assert shown == [[one["page"]] for one in said]


async def test_home_offers_all_podcasts_at_once(world: World, client: ClientSession) -> None:
    """The page links the feed of all podcasts, and the list for podcast apps."""
    room = await world.room(visibility=Visibility.PUBLIC)
    await world.episode(await world.recording(room))
    found = await page(client, "/")
    for name, kind in (("feed.xml", "application/rss+xml"), ("podcasts.opml", "text/x-opml")):
        assert name in found.addresses
        async with client.get(f"/{name}") as answer:
            assert (answer.status, answer.content_type) == (200, kind)


async def test_what_is_asked_after_a_commit_costs_the_same_with_many_podcasts(
    world: World, client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page, its file and the server's feed read a few times after a commit, and after a change of a private room,
    however many podcasts and requests there are; they tell what begins."""
    secret = await world.room("Secret")
    many = [await world.room(f"Room {number}", visibility=Visibility.PUBLIC) for number in range(6)]
    reads, read = 0, world.store.read

    def counted() -> AbstractAsyncContextManager[Connection]:
        nonlocal reads
        reads += 1
        return read()

    async def ask(name: str) -> bytes:
        async with client.get(f"/{name}", headers={"Accept-Encoding": "identity"}) as answer:
            assert answer.status == 200
            return await answer.read()

    names = ("now.json", "", "feed.xml")
    for name in names:
        await ask(name)
    monkeypatch.setattr(world.store, "read", counted)
    for about in (world.recording(secret), world.change(secret)):
        await about
        reads = 0
        await asyncio.gather(*(ask(name) for name in names * 4))
        assert reads <= 5  # the revision, the podcasts, what is on the air for the page and for the feed
    await world.recording(many[3], state=RecordingState.LIVE, started_at=NOW, broadcaster_name="Carol")
    now, _, feed = [await ask(name) for name in names]
    assert [each["speakers"] for each in json.loads(now)["live"]] == ["Carol"]
    assert feed.count(b"</podcast:liveItem>") == 1
