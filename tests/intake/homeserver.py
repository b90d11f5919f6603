"""A homeserver that remembers what no sync showed, and gaps in timelines."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from bot import dialects, orders
from bot.errors import GiveUp
from bot.matrix.batch import LimitedTimeline, RoomBatch, SyncBatch
from bot.recording.model import BroadcastChanged, ChunkSealed, ChunkSent
from bot.worker.rereading import Rereading
from bot.worker.room_history import RoomHistory
from bot.worker.walking import Walking
from storage import archive, journal, rooms
from storage.records import (
    ChunkState,
    EventId,
    HeardEvent,
    Json,
    Position,
    RoomId,
    UserId,
)
from tests.world import BOT, ROOM, START, World, chunk, info, room_state

BOB = UserId("@bob:hs")
OFF = EventId("$off")
"""A broadcast that began while recording was off."""


class Memory(RoomHistory):
    """A homeserver's memory of a room. A redacted event has lost its content and refers to nothing."""

    def __init__(self) -> None:
        self.events: dict[EventId, HeardEvent] = {}
        self.error: Exception | None = None  # raised once
        self.newest: HeardEvent | None = None  # info event in the room's state
        self.meanwhile: Callable[[], Awaitable[None]] | None = None  # happens while relations are read

    def has(self, *events: HeardEvent) -> None:
        self.events |= {event.event_id: event for event in events}

    def redacts(self, event_id: EventId, *, says_why: bool = True) -> None:
        old = self.events[event_id]
        because = {"type": "m.room.redaction", "sender": BOB, "event_id": "$redaction", "redacts": event_id}
        unsigned = {"unsigned": {"redacted_because": because}} if says_why else {}
        self.events[event_id] = replace(old, event={**old.event, "content": {}, **unsigned})

    async def event(self, room_id: RoomId, event_id: EventId) -> HeardEvent:
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        if event_id not in self.events:
            raise GiveUp("the homeserver refused: 404 M_NOT_FOUND", reason="not_found")
        return self.events[event_id]

    async def related(self, room_id: RoomId, started: EventId, sender: UserId) -> AsyncIterator[tuple[HeardEvent, ...]]:
        relation = {"rel_type": "m.reference", "event_id": started}
        theirs = [event for event in self.events.values() if event.event["sender"] == sender]
        references = [event for event in theirs if event.event["content"].get("m.relates_to") == relation]
        if self.meanwhile is not None:
            happens, self.meanwhile = self.meanwhile, None
            await happens()
        for event in references:
            if isinstance(dialects.read(event), BroadcastChanged | ChunkSent | ChunkSealed):
                yield (event,)

    async def newest_info(self, room_id: RoomId, kind: str, sender: UserId) -> HeardEvent | None:
        return self.newest


class Pages(RoomHistory):
    """The history of a gap: one page, and then nothing, or a refusal."""

    def __init__(self, walked: Sequence[HeardEvent], *, whole: bool) -> None:
        self._walked = walked
        self._whole = whole

    async def page(self, _: RoomId, start: str, __: str | None) -> tuple[tuple[HeardEvent, ...], str | None]:
        if start != "p":
            raise GiveUp("the homeserver refused: 403 M_FORBIDDEN", reason="forbidden")
        return tuple(reversed(self._walked)), None if self._whole else "q"


async def gap(
    world: World,
    *timeline: HeardEvent,
    before: tuple[Json, ...] = (),
    walked: Sequence[HeardEvent] = (),
    whole: bool = False,
    room_id: RoomId = ROOM,
) -> None:
    """Take a sync with a limited timeline, walk the gap, and look at the state after it."""
    await world.intake.take(SyncBatch("t", (RoomBatch(room_id, True, before, timeline, LimitedTimeline("p", "s")),)))
    world.handlers[orders.Walk.kind] = Walking(world.store, Pages(walked, whole=whole), world.intake, clock=world.clock)
    while await world.work_one([orders.Walk.kind]):
        pass
    await world.intake.refresh(room_id, [*room_state(), *before], await position(world))


def changed(event: HeardEvent, **fields: Any) -> HeardEvent:
    return replace(event, event={**event.event, **fields})


async def reread(world: World, memory: Memory) -> None:
    """Read all broadcasts that are due to be read again."""
    world.handlers[orders.Reread.kind] = Rereading(world.store, memory, BOT, clock=world.clock)
    while await world.work_one([orders.Reread.kind]):
        await world.settle()


async def chunks(world: World) -> dict[str, ChunkState]:
    async with world.store.read() as db:
        recording = await archive.recording_by_event(db, START)
        return {each.id: each.state for each in await archive.chunks(db, recording.id)} if recording else {}


async def is_followed(world: World, event_id: EventId = START) -> bool:
    async with world.store.read() as db:
        return await archive.recording_by_event(db, event_id) is not None


async def position(world: World) -> Position:
    async with world.store.read() as db:
        return await journal.position(db)


async def switch(world: World, **changed: Any) -> None:
    async with world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        await rooms.save_room(db, replace(room, **changed))


def broadcast(*numbers: int, ends: bool = False) -> Memory:
    """Return a homeserver that has Alice's broadcast with these chunks."""
    memory = Memory()
    memory.has(info(START, "started"), *(chunk(f"$c{number}", number) for number in numbers))
    if ends:
        memory.has(info("$stop", "stopped", last_chunk_sequence=max(numbers)))
    return memory


WAITING = ChunkState.WAITING_FOR_MEDIA
