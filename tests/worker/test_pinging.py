"""The WebSub hub is told of each change of a public podcast, and of nothing else."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bot import orders
from bot.errors import TryLater
from bot.worker.pinging import GATHERED, GIVEN_UP_AFTER, FeedChanges, PingingHub
from storage import heirs, jobs, rooms
from storage.records import JobState, Room, RoomId, Visibility
from tests.factories import a_room
from tests.world import ROOM, Killed, Mortal, World, settings_for, world_of

KIND = orders.PingHub.kind
HEIR = RoomId("!heir:hs")


class Town(World):
    """A world with a hub, which outlives the process. `down`: what it answers instead."""

    def __init__(self, store: Mortal) -> None:
        self.pinged: list[tuple[str, int]] = []  # each topic, and the room's revision then
        self.down: TryLater | None = None
        super().__init__(store, settings_for(store.directory, web={"public_url": "https://pod.example"}))

    def _begin(self) -> None:
        super()._begin()
        self.changes = FeedChanges(self.store, self.clock)
        self.handlers[KIND] = PingingHub(self.store, self._publish, "https://pod.example", self.clock)

    async def _publish(self, feed: str) -> None:
        if self.down is not None:
            raise self.down
        self.pinged.append((feed, (await self.room()).revision))

    async def room(self, room_id: RoomId = ROOM) -> Room:
        async with self.store.read() as db:
            room = await rooms.room(db, room_id)
        assert room is not None
        return room

    async def touch(self, room_id: RoomId = ROOM) -> None:
        async with self.store.write() as db:
            await rooms.touch(db, room_id, self.clock())

    async def ping(self) -> None:
        """Order what has to be told, and do what is due."""
        while await self.changes.order():
            pass
        self.clock.pass_by(GATHERED.seconds)
        while await self.work_one([KIND]):
            pass

    async def ended(self) -> JobState:
        async with self.store.read() as db:
            job = await jobs.find(db, orders.PingHub.about(ROOM))
        assert job is not None
        return job.state


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with world_of(tmp_path / "data") as world:
        town = Town(world.store)
        async with town.store.write() as db:
            await rooms.save_room(db, a_room(ROOM, key="kitchen", visibility=Visibility.PUBLIC))
        yield town


async def test_changes_that_follow_one_another_are_one_ping(town: Town) -> None:
    """The hub fetches the feed once for them; a later change is another ping, and no change is none."""
    await town.touch()
    await town.changes.order()
    await town.touch()
    await town.ping()
    await town.ping()
    assert town.pinged == [("https://pod.example/r/kitchen/feed.xml", 2)]
    await town.touch()
    await town.ping()
    assert [revision for _, revision in town.pinged] == [2, 3]


async def test_a_private_podcast_is_never_told_of(town: Town) -> None:
    """Neither its changes, nor those before it was made private that wait still."""
    await town.touch()
    await town.changes.order()
    async with town.store.write() as db:
        await rooms.save_room(db, replace(await town.room(), visibility=Visibility.PRIVATE))
        await rooms.touch(db, ROOM, town.clock())
    await town.ping()
    await town.touch()
    await town.ping()
    assert town.pinged == []


async def test_a_change_in_an_upgraded_room_is_told_of_its_podcast(town: Town) -> None:
    """The feed of the line has changed, which keeps the first room's address."""
    async with town.store.write() as db:
        await rooms.save_room(db, a_room(HEIR, key="other", visibility=Visibility.PUBLIC))
        await heirs.inherit(db, ROOM, HEIR)
    await town.ping()
    assert [feed for feed, _ in town.pinged] == ["https://pod.example/r/kitchen/feed.xml"]


async def test_a_hub_that_is_away_is_asked_for_a_day(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    """The pauses grow; after a day the ping is given up, and the next change is told again."""
    caplog.set_level(logging.DEBUG)
    town.down = TryLater("the hub answered 503")
    await town.ping()
    assert await town.ended() is JobState.READY
    town.clock.now += timedelta(hours=1)
    assert await town.work_one([KIND])
    town.clock.now += GIVEN_UP_AFTER
    assert await town.work_one([KIND])
    assert await town.ended() is JobState.FAILED
    town.down = None
    await town.ping()
    assert town.pinged == []
    await town.touch()
    await town.ping()
    assert len(town.pinged) == 1
    assert "kitchen" not in caplog.text


@pytest.mark.parametrize("after_commit", [False, True])
async def test_a_death_loses_no_change(tmp_path: Path, after_commit: bool) -> None:
    """Killed at each write in turn: after the next start the hub has been told since the last change."""
    for number in range(1, 5):
        async with world_of(tmp_path / f"{number}{after_commit}") as world:
            town = Town(world.store)
            async with town.store.write() as db:
                await rooms.save_room(db, a_room(ROOM, visibility=Visibility.PUBLIC))
            town.store.die_at(number, after_commit=after_commit)
            try:
                await town.touch()
                await town.ping()
            except Killed:
                await town.rise_again()
                await town.ping()
            assert town.pinged, f"died at write {number}"
            assert town.pinged[-1][1] == (await town.room()).revision, f"died at write {number}"


async def test_the_look_out_runs_until_it_is_stopped(town: Town) -> None:
    """Changes from before its start are ordered too."""
    running = asyncio.create_task(town.changes.run())
    with town.store.changes.subscribe() as changed:
        while not await town.ordered(orders.PingHub):
            changed.clear()
            await asyncio.wait_for(changed.wait(), 60)
    town.changes.stop()
    await asyncio.wait_for(running, 60)
