"""A world whose recordings go by retention, over a homeserver that hears each transaction once, or is deaf."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from bot import orders
from bot.commands.handle import Commands
from bot.errors import GiveUp
from bot.matrix.sending import Sending
from bot.worker.expiring import Expiring, Forewarning
from bot.worker.notices import Notices
from storage import archive, changes, jobs, rooms
from storage.place import Place
from storage.records import EventId, HeardEvent, Json, Recording, Room, RoomId
from tests.clock import Clock
from tests.factories import a_recording, always
from tests.world import ALICE, DONE_HERE, INFO, PREFIX, ROOM, Killed, Mortal, World, heard, settings_for

DAY = timedelta(days=1)
DAY_S = 86_400
DONE_TOO = (*DONE_HERE, orders.Command.kind, orders.Expire.kind, orders.Forewarn.kind, orders.Notice.kind)


@dataclass
class Ears:
    """The homeserver's ears. It dies at the n-th notice: before it is heard, or before the answer is read."""

    said: dict[str, str] = field(default_factory=dict)  # by transaction: the same one is the same event
    muted: bool = False
    left: int | None = None
    taken: bool = False

    async def send(self, room_id: RoomId, kind: str, content: Json, *, txn_id: str) -> EventId:
        if self.muted:
            raise GiveUp("the homeserver refused: 403 M_FORBIDDEN", reason="forbidden")
        if self.left is not None:
            self.left -= 1
        if self.left == 0 and not self.taken:
            raise Killed
        self.said.setdefault(txn_id, content["body"])
        if self.left == 0:
            raise Killed
        return EventId(f"${txn_id}")

    @property
    def words(self) -> list[str]:
        """The notices in the order in which they were heard."""
        return list(self.said.values())


class Retained(World):
    """A world that carries out commands and retention, and speaks."""

    def __init__(self, store: Mortal, ears: Ears, clock: Clock, **sections: Any) -> None:
        self.ears = ears
        sections = {"storage": {"directory": str(store.directory), "min_free_bytes": 0}} | sections
        super().__init__(store, settings_for(store.directory, **sections), clock)

    def _begin(self) -> None:
        super()._begin()
        store, settings, clock, apply = self.store, self.settings, self.clock, self.recorder.apply
        sending = cast("Sending", self.ears)
        self.handlers |= {
            orders.Command.kind: Commands(store, settings, always(b"s" * 32), clock, apply=apply),
            orders.Expire.kind: Expiring(store, settings, apply=apply, clock=clock),
            orders.Forewarn.kind: Forewarning(store, settings, sending, clock),
            orders.Notice.kind: Notices(store, sending, settings, apply=apply, clock=clock),
        }

    async def done(self) -> None:
        """Do everything that is due, as the lanes do it."""
        await self.settle()
        while await self.work_one(DONE_TOO):
            await self.settle()

    async def days(self, count: float) -> None:
        """Let days pass, with the keeper's daily look at the end of the last."""
        self.clock.pass_by(count * DAY_S)
        await self.keeper.expire()
        await self.done()

    async def say(self, name: str, words: str) -> str:
        """Have Alice say a command, do all that follows, and return the answer."""
        at = round(self.clock().timestamp() * 1000)
        content = {"msgtype": "m.text", "body": f"{PREFIX} {words}"}
        await self.hear(heard(name, "m.room.message", content, origin_server_ts=at))
        before = len(self.ears.words)
        await self.done()
        return self.ears.words[before]

    async def old(self, days: float, **fields: Any) -> Recording:
        """Store the row of a broadcast that ended so many days ago."""
        ended = self.clock() - days * DAY
        async with self.store.write() as db:
            count = len(await archive.recordings(db))
            row = a_recording(
                at=ended, ended_at=ended, room_id=ROOM, event_id=EventId(f"$old{count}"), broadcaster=ALICE
            )
            return await archive.add_recording(db, replace(row, **fields))

    async def rule(self, **fields: Any) -> Room:
        """Change the room's row."""
        async with self.store.write() as db:
            room = await rooms.room(db, ROOM)
            assert room is not None
            await rooms.save_room(db, replace(room, **fields))
        return room

    async def states(self) -> dict[str, str]:
        async with self.store.read() as db:
            return {one.event_id: str(one.state) for one in await archive.recordings(db)}

    async def look(self, recording: Recording) -> Recording:
        async with self.store.read() as db:
            found = await archive.recording(db, recording.id)
        assert found is not None
        return found

    async def log(self) -> list[tuple[str, str | None, str | None, str | None]]:
        """The log of changes, newest first: what, by whom, about what, and what it is now."""
        async with self.store.read() as db:
            rows = await changes.of_rooms(db, [ROOM])
        return [(row.what, row.by, row.subject, row.after) for row in rows]

    async def unfinished(self) -> list[str]:
        async with self.store.read() as db:
            return [job.kind for kind in DONE_TOO for job in await jobs.unfinished(db, kind)]


def broadcast(name: str) -> tuple[HeardEvent, ...]:
    """Build a broadcast of Alice's of one chunk, in its events."""
    relation = {"m.relates_to": {"rel_type": "m.reference", "event_id": name}}
    numbered = {"io.element.voice_broadcast_chunk": {"sequence": 1}}
    spoken = {"msgtype": "m.audio", "url": f"mxc://hs/{name[1:]}"} | numbered | relation
    started = {"state": "started", "device_id": "D", "chunk_length": 120}
    return (
        heard(name, INFO, started, state_key=ALICE),
        heard(f"{name}c", "m.room.message", spoken),
        heard(f"{name}s", INFO, {"state": "stopped", "last_chunk_sequence": 1} | relation, state_key=ALICE),
    )


@asynccontextmanager
async def retained(
    directory: Path, ears: Ears | None = None, clock: Clock | None = None, **sections: Any
) -> AsyncIterator[Retained]:
    store = await Mortal.own(Place(directory))
    assert isinstance(store, Mortal)
    try:
        yield Retained(store, ears or Ears(), clock or Clock(), **sections)
    finally:
        await store.close()
