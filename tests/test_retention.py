"""The life of recordings under a room's rule, from the command to the tombstone."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import ClientSession

from bot.feeds.addresses import public_shelf
from bot.web.server import WebServer
from storage import archive
from storage.records import EventId, Recording, RecordingState, Visibility
from tests.clock import Clock
from tests.worker.quick import without_ffmpeg
from tests.worker.retained import DAY_S, DONE_TOO, Ears, Retained, broadcast, retained

LOST, SAVED = "$lost", "$saved"


class Listener:
    """A subscriber of the public podcast."""

    def __init__(self, world: Retained, client: ClientSession, feed: str) -> None:
        self.world = world
        self._client = client
        self._feed = feed

    async def status(self, address: str) -> int:
        async with self._client.get(address) as answer:
            return answer.status

    async def guids(self) -> list[str]:
        """Read the feed, and check that all that it lists can be heard."""
        async with self._client.get(self._feed) as answer:
            feed = await answer.text()
        for address in re.findall(r'<enclosure url="([^"]+)"', feed):
            assert await self.status(address) == 200, "the feed lists what is gone"
        return re.findall(r"<guid[^>]*>([^<]+)</guid>", feed)

    async def listens_on(self) -> None:
        """Do everything that is due, and read the feed after each job."""
        await self.world.settle()
        while await self.world.work_one(DONE_TOO):
            await self.guids()
            await self.world.settle()


@asynccontextmanager
async def running(directory: Path, ears: Ears, clock: Clock) -> AsyncIterator[Listener]:
    """Run the world with its web server, as one process does."""
    async with retained(directory, ears, clock, web={"port": 0}) as world:
        server = WebServer(world.store, world.settings, lambda: True, clock)
        await server.start(lambda: True)
        try:
            async with ClientSession() as client:
                await world.join()
                room = await world.rule(visibility=Visibility.PUBLIC)
                yield Listener(world, client, public_shelf(server.address, room.key).feed)
        finally:
            await server.stop()


async def recorded(world: Retained, name: str) -> Recording:
    async with world.store.read() as db:
        found = await archive.recording_by_event(db, EventId(name))
    assert found is not None
    return found


async def published(world: Retained, name: str) -> Recording:
    """Record a broadcast, and make it public as one is that begins in a public room."""
    await world.hear(*broadcast(name))
    await world.done()
    async with world.store.write() as db:
        found = await archive.recording_by_event(db, EventId(name))
        assert found is not None
    await world.say(f"{name}p", f"publish {found.code}")
    return found


async def test_a_rule_is_told_waits_and_deletes_what_nobody_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The room is told, one recording is kept, the bot starts again, a week passes: audio, files and feed item of the
    other are gone at once and stay so, and late parts of it are refused."""
    without_ffmpeg(monkeypatch)
    ears, clock = Ears(), Clock()
    async with running(tmp_path / "data", ears, clock) as listener:
        world = listener.world
        lost, saved = await published(world, LOST), await published(world, SAVED)
        both = await listener.guids()
        assert len(both) == 2
        clock.pass_by(DAY_S)
        await world.say("$rule", "retention 1 day")
        assert [code in ears.words[-1] for code in (lost.code, saved.code)] == [True, True]
        await world.say("$keep", f"keep {saved.code}")
        files = set(world.files())
    async with running(tmp_path / "data", ears, clock) as listener:
        world = listener.world
        await listener.listens_on()
        clock.pass_by(7 * DAY_S - 1)
        await listener.listens_on()
        assert await listener.guids() == both
        clock.pass_by(1)
        await listener.listens_on()
        assert len(await listener.guids()) == 1
        assert ears.words[-1].startswith("Retention has deleted this recording")
        assert lost.code in ears.words[-1]
        gone = files - set(world.files())
        async with world.store.read() as db:
            kept = {one.blob for one in await archive.chunks(db, saved.id)}
            episode = await archive.episode(db, saved.id)
        assert episode is not None
        assert gone
        assert not gone & {*kept, episode.blob}
        part = broadcast(LOST)[1]
        late = replace(part, event_id=EventId("$late"), event={**part.event, "event_id": "$late"})
        await world.hear(late)
        await listener.listens_on()
        assert (await recorded(world, LOST)).state is RecordingState.DELETED
        assert await listener.guids() == [guid for guid in both if guid == episode.guid]
        assert files - set(world.files()) == gone
