"""The WebSub hub is named by public feeds, and asked in the way that hubs understand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from lxml import etree

from bot.errors import GiveUp, TryLater
from bot.feeds.namespaces import ATOM
from bot.web import documents
from bot.web.hub import Hub
from storage import listings
from storage.records import Visibility
from tests.web.world import ALICE, world_of

HUB = "https://hub.example/push/"
PLAIN = {"Accept-Encoding": "identity"}


def hubs(feed: bytes) -> list[str | None]:
    links = etree.fromstring(feed).iter(f"{{{ATOM}}}link")
    return [link.get("href") for link in links if link.get("rel") == "hub"]


async def test_a_public_feed_names_the_hub(tmp_path: Path) -> None:
    """In the feed and in the headers, with the feed's own address; a personal feed names none."""
    async with world_of(tmp_path, web={"port": 0, "websub_hub": HUB}) as (world, client):
        room = await world.room(visibility=Visibility.PUBLIC)
        await world.member(room, ALICE)
        token = await world.listener(room, ALICE)
        async with client.get(f"/r/{room.key}/feed.xml", headers=PLAIN) as answer:
            feed = f"{world.server.address}/r/{room.key}/feed.xml"
            assert answer.headers["Link"] == f'<{HUB}>; rel="hub", <{feed}>; rel="self"'
            assert hubs(await answer.read()) == [HUB]
        async with client.get(f"/p/{token}/feed.xml", headers=PLAIN) as answer:
            assert answer.status == 200
            assert "Link" not in answer.headers
            assert hubs(await answer.read()) == []


async def test_an_older_document_of_a_feed_names_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told of its changes."""
    monkeypatch.setattr(listings, "BLOCK", 1)
    monkeypatch.setattr(documents, "MOST_IN_FEED", 1)
    async with world_of(tmp_path, web={"port": 0, "websub_hub": HUB}) as (world, client):
        room = await world.room(visibility=Visibility.PUBLIC)
        for number in range(3):
            recording = await world.recording(room)
            await world.episode(recording, f"sound {number}".encode())
        async with client.get(f"/r/{room.key}/feed-1-1.xml", headers=PLAIN) as answer:
            assert answer.status == 200
            assert "Link" not in answer.headers
            assert hubs(await answer.read()) == []


async def test_no_hub_is_named_unless_one_is_set(tmp_path: Path) -> None:
    """A link to a hub that nobody pings would delay episodes."""
    async with world_of(tmp_path) as (world, client):
        room = await world.room(visibility=Visibility.PUBLIC)
        async with client.get(f"/r/{room.key}/feed.xml", headers=PLAIN) as answer:
            assert "Link" not in answer.headers
            assert hubs(await answer.read()) == []


@asynccontextmanager
async def hub_that_answers(status: int, **headers: str) -> AsyncIterator[tuple[Hub, list[dict[str, str]]]]:
    forms: list[dict[str, str]] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        forms.append({key: str(value) for key, value in (await request.post()).items()})
        return web.Response(status=status, headers=headers)

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield Hub(f"http://127.0.0.1:{runner.addresses[0][1]}/push/"), forms
    finally:
        await runner.cleanup()


async def test_a_hub_is_told_the_address_of_the_feed() -> None:
    """Nothing else is said to it."""
    async with hub_that_answers(204) as (hub, forms):
        await hub.publish("https://pod.example/r/k/feed.xml")
    assert forms == [{"hub.mode": "publish", "hub.url": "https://pod.example/r/k/feed.xml"}]


@pytest.mark.parametrize(("status", "wait", "wished"), [(503, "120", 120), (500, "soon", None), (429, "9" * 9, 3600)])
async def test_a_hub_in_trouble_is_asked_again(status: int, wait: str, wished: float | None) -> None:
    """After the pause that it asks for, an hour at most."""
    async with hub_that_answers(status, **{"Retry-After": wait}) as (hub, _):
        with pytest.raises(TryLater) as refused:
            await hub.publish("https://pod.example/r/k/feed.xml")
    assert refused.value.after_s == wished


@pytest.mark.parametrize("status", [301, 400, 404])
async def test_a_hub_that_refuses_is_asked_no_more(status: int) -> None:
    """A redirect is a refusal too: it could lead anywhere."""
    async with hub_that_answers(status, Location="http://127.0.0.1:1/") as (hub, forms):
        with pytest.raises(GiveUp):
            await hub.publish("https://pod.example/r/k/feed.xml")
    assert len(forms) == 1


async def test_a_hub_that_nobody_reaches_is_asked_again() -> None:
    """A refused connection may pass."""
    with pytest.raises(TryLater):
        await Hub("http://127.0.0.1:1/").publish("https://pod.example/r/k/feed.xml")
