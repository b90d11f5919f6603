"""A session under test, and the sink that it writes to."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from bot.demo.people import Person
from bot.matrix.batch import Invite, SyncBatch
from bot.matrix.keys import Keys
from bot.matrix.session import Session
from bot.process import utc_now
from bot.settings import MatrixSettings, Settings
from storage.records import HeardEvent, RoomId
from tests.lab import PASSWORD

T = TypeVar("T")

WAIT_S = 120


def make_settings(homeserver: str, user_id: str, password: str | None = PASSWORD) -> Settings:
    return Settings(matrix=MatrixSettings(homeserver=homeserver, user_id=user_id, password=password))


class MemorySink:
    """Keeps batches in memory as the database does: each with its token, across sessions."""

    def __init__(self) -> None:
        self.token: str | None = None
        self.batches: list[SyncBatch] = []
        self.refused: list[SyncBatch] = []
        self.failures = 0  # the number of batches that are refused next
        self.encrypted: set[RoomId] = set()
        self._news = asyncio.Condition()

    async def since(self) -> str | None:
        return self.token

    async def take(self, batch: SyncBatch) -> None:
        async with self._news:
            if self.failures > 0:
                self.failures -= 1
                self.refused.append(batch)
                raise OSError("the disk is full")
            self.token = batch.next_batch
            self.batches.append(batch)
            self._news.notify_all()

    async def encrypted_rooms(self) -> frozenset[RoomId]:
        return frozenset(self.encrypted)

    def heard(self, room_id: str) -> list[HeardEvent]:
        """All events of a room's timeline, in the order they were written."""
        rooms = [room for batch in self.batches for room in batch.rooms if room.room_id == room_id]
        return [event for room in rooms for event in room.timeline]

    def bodies(self, room_id: str) -> list[str]:
        return [str(one.event["content"].get("body")) for one in self.heard(room_id) if "body" in one.event["content"]]

    def invites(self) -> list[Invite]:
        return [invite for batch in self.batches for invite in batch.invites]

    async def until(self, check: Callable[[], T | None]) -> T:
        """Wait until the check gives something; it is made again after each batch."""
        async with asyncio.timeout(WAIT_S), self._news:
            while not (result := check()):
                await self._news.wait()
            return result

    async def until_body(self, room_id: str, body: str) -> HeardEvent:
        def find() -> HeardEvent | None:
            return next((one for one in self.heard(room_id) if one.event["content"].get("body") == body), None)

        return await self.until(find)


class Running:
    """A session and its task. `stop` raises the error that ended the session."""

    def __init__(self, settings: Settings, directory: Path, sink: MemorySink | None = None) -> None:
        self.directory = directory
        self.sink = sink or MemorySink()
        self.session = Session(settings, directory, self.sink, Keys(utc_now), utc_now)
        self.task = asyncio.create_task(self.session.run())

    async def ready(self) -> "Running":
        ready = asyncio.create_task(self.session.ready.wait())
        async with asyncio.timeout(WAIT_S):
            await asyncio.wait({ready, self.task}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self.task.done():
            self.task.result()
        return self

    async def stop(self) -> None:
        async with asyncio.timeout(WAIT_S):  # a guard against hanging, no measure
            await self.session.stop()
            await self.task


async def meet(alice: Person, bot: Running, *, encrypted: bool = False) -> RoomId:
    """Create a room of Alice's that the bot has joined, and wait until both know it."""
    room_id = RoomId(await alice.create_room(encrypted=encrypted, invite=[bot.session.user_id]))
    await bot.sink.until(lambda: [one for one in bot.sink.invites() if one.room_id == room_id])
    await bot.session.sending.join(room_id)
    await bot.sink.until(lambda: [r for b in bot.sink.batches for r in b.rooms if r.room_id == room_id and r.joined])
    await alice.wait_until(lambda: alice.membership(room_id, bot.session.user_id) == "join" or None)
    if encrypted:
        bot.sink.encrypted.add(room_id)
    return room_id
