"""A room's name and topic reach feed and page by the way of every event: sync, intake, state, web."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from aiohttp import ClientSession
from lxml import etree, html

from bot.web.server import WebServer
from storage import rooms
from storage.records import Visibility
from tests.world import ROOM, World, batch, heard, state, world_of

PLAIN = {"Accept-Encoding": "identity"}
NO_TOPIC = "What was said in Kitchen radio."


@dataclass
class Shown:
    """The world behind a web server, and what strangers see of its public room."""

    world: World
    client: ClientSession
    root: str
    tag: str = ""

    async def feed(self) -> tuple[str | None, str | None]:
        """Return the title and the description of the feed."""
        async with self.client.get(f"{self.root}feed.xml", headers=PLAIN) as answer:
            channel = etree.fromstring(await answer.read())[0]
            self.tag = answer.headers["ETag"]
        return channel.findtext("title"), channel.findtext("description")

    async def is_unchanged(self) -> bool:
        """Return whether a client that has the feed hears that it has not changed."""
        async with self.client.get(f"{self.root}feed.xml", headers={**PLAIN, "If-None-Match": self.tag}) as answer:
            return answer.status == 304

    async def page(self) -> str:
        async with self.client.get(self.root, headers=PLAIN) as answer:
            return str(html.fromstring(await answer.read()).text_content())


@pytest.fixture
async def shown(tmp_path: Path) -> AsyncIterator[Shown]:
    async with world_of(tmp_path / "data", web={"port": 0}) as world:
        await world.join()
        await world.intake.take(batch(before=(state("m.room.name", {"name": "Kitchen radio"}),)))
        async with world.store.write() as db:
            room = await rooms.room(db, ROOM)
            assert room is not None
            await rooms.save_room(db, replace(room, visibility=Visibility.PUBLIC))
        server = WebServer(world.store, world.settings, lambda: True, world.clock)
        await server.start()
        try:
            async with ClientSession(f"http://127.0.0.1:{server.port}", auto_decompress=False) as client:
                yield Shown(world, client, f"/r/{room.key}/")
        finally:
            await server.stop()


async def test_a_topic_reaches_feed_and_page(shown: Shown) -> None:
    """When it is set, and when it is changed; a client that has the feed is told that it has changed."""
    assert await shown.feed() == ("Kitchen radio", NO_TOPIC)
    assert await shown.is_unchanged()
    for event, topic in (("$one", "Soup & bread"), ("$two", "Tea\nand <cake>")):
        await shown.world.hear(heard(event, "m.room.topic", {"topic": topic}, state_key=""))
        assert not await shown.is_unchanged()
        assert await shown.feed() == ("Kitchen radio", topic)
        assert " ".join(topic.split()) in " ".join((await shown.page()).split())


async def test_a_topic_that_was_there_before_the_bot_is_shown(shown: Shown) -> None:
    """The homeserver gives it with the state of a room, not in its timeline."""
    await shown.world.intake.take(batch(before=(state("m.room.topic", {"topic": "Soup"}),)))
    assert await shown.feed() == ("Kitchen radio", "Soup")


@pytest.mark.parametrize("content", [{"topic": ""}, {}, {"topic": ["Soup"]}, {"topic": "  \n"}])
async def test_a_topic_that_is_emptied_is_gone(shown: Shown, content: dict[str, object]) -> None:
    """However a client empties it."""
    await shown.world.hear(heard("$one", "m.room.topic", {"topic": "Soup"}, state_key=""))
    assert await shown.feed() == ("Kitchen radio", "Soup")
    await shown.world.hear(heard("$two", "m.room.topic", content, state_key=""))
    assert not await shown.is_unchanged()
    assert await shown.feed() == ("Kitchen radio", NO_TOPIC)
    assert "Soup" not in await shown.page()


async def test_a_topic_that_is_redacted_is_gone(shown: Shown) -> None:
    """In the room's state the homeserver leaves nothing of it."""
    await shown.world.hear(heard("$one", "m.room.topic", {"topic": "Soup"}, state_key=""))
    await shown.feed()
    await shown.world.hear(heard("$gone", "m.room.redaction", {}, redacts="$one"))
    assert not await shown.is_unchanged()
    assert await shown.feed() == ("Kitchen radio", NO_TOPIC)
    assert "Soup" not in await shown.page()


async def test_a_new_name_reaches_feed_and_page(shown: Shown) -> None:
    """And is gone with its redaction."""
    await shown.world.hear(heard("$name", "m.room.name", {"name": "Cellar radio"}, state_key=""))
    assert (await shown.feed())[0] == "Cellar radio"
    assert "Cellar radio" in await shown.page()
    await shown.world.hear(heard("$gone", "m.room.redaction", {}, redacts="$name"))
    assert (await shown.feed())[0] == "A room"
    assert "Cellar radio" not in await shown.page()
