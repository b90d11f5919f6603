"""Past voice messages: one episode from a message on, or sessions; recorded once, and of nobody who objects."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot import orders
from bot.errors import GiveUp
from bot.worker.past_messages import BackfillingMessages, MakingEpisode
from bot.worker.room_history import MessagesPage, RoomHistory
from storage import archive, jobs
from storage.records import (
    Chunk,
    ChunkState,
    EventId,
    HeardEvent,
    Recording,
    RecordingState,
    RoomId,
    SessionId,
    UserId,
)
from tests.world import ALICE, BOT, PREFIX, ROOM, World, state

BOB, CAROL = UserId("@bob:hs"), UserId("@carol:hs")
COMMAND = EventId("$command")
PAGE = 2


class Past(RoomHistory):
    """A room's messages as the homeserver gives them, two in a page, and one event that may not be read."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.timeline: list[HeardEvent] = []
        self.at = world.clock() - timedelta(days=2)
        self.refuses_at: int | None = None

    def says(self, name: str, sender: UserId = ALICE, *, after_s: float = 60, **content: Any) -> HeardEvent:
        """Let somebody send a voice message."""
        self.at += timedelta(seconds=after_s)
        voice = {"msgtype": "m.audio", "url": f"mxc://hs/{name[1:]}", "org.matrix.msc3245.voice": {}}
        event: dict[str, Any] = {"type": "m.room.message", "sender": sender, "event_id": name}
        event |= {"content": voice | content, "origin_server_ts": round(self.at.timestamp() * 1000)}
        self.timeline.append(HeardEvent(ROOM, EventId(name), event, history=True))
        return self.timeline[-1]

    def seals(self, name: str) -> None:
        """Make the last message one whose key has not come."""
        sealed = {"type": "m.room.encrypted", "sender": ALICE, "content": {"ciphertext": "…"}}
        self.timeline[-1] = replace(
            self.timeline[-1], event=sealed, encrypted=True, session_id=SessionId(name), event_id=EventId(name)
        )

    async def said_in(self, room_id: RoomId, cursor: str | None) -> AsyncIterator[MessagesPage]:
        ahead = int(cursor or len(self.timeline))
        while ahead > 0:
            page = self.timeline[max(0, ahead - PAGE) : ahead][::-1]
            ahead -= len(page)
            at = [
                self.world.clock().fromtimestamp(one.event["origin_server_ts"] / 1000, self.at.tzinfo) for one in page
            ]
            named = zip([one.event_id for one in page], at, strict=True)
            yield MessagesPage(tuple(named), str(ahead) if ahead else None)

    async def onwards(
        self, room_id: RoomId, event_id: EventId, cursor: str | None
    ) -> AsyncIterator[tuple[tuple[HeardEvent, ...], str | None]]:
        names = [heard.event_id for heard in self.timeline]
        if event_id not in names:
            raise GiveUp("the homeserver refused: 404 M_NOT_FOUND", reason="not_found")
        place = int(cursor) if cursor else names.index(event_id)
        while place < len(self.timeline):
            if self.refuses_at is not None and place >= self.refuses_at:
                raise GiveUp("the homeserver refused: 403 M_FORBIDDEN", reason="forbidden")
            page = tuple(self.timeline[place : place + (PAGE if cursor else 1)])
            place += len(page)
            cursor = str(place)
            yield page, cursor if place < len(self.timeline) else None


@pytest.fixture
async def past(world: World) -> Past:
    made = Past(world)
    await world.hear(before=members())
    parts = (world.store, made, world.recorder.gathering, BOT, PREFIX, world.clock)
    world.handlers[orders.MakeEpisode.kind] = MakingEpisode(*parts)
    world.handlers[orders.BackfillMessages.kind] = BackfillingMessages(*parts)
    return made


def members() -> tuple[Any, ...]:
    named = ((BOB, "Bob"), (CAROL, "Carol"))
    return tuple(state("m.room.member", {"membership": "join", "displayname": name}, who, who) for who, name in named)


async def ask(world: World, message: str, *, command: str = COMMAND, asker: UserId = ALICE, mod: bool = True) -> str:
    """Say `episode` as an answer to a message, and do all that follows. Return the answer."""
    order = orders.MakeEpisode(EventId(command), ROOM, EventId(message), asker, mod=mod)
    async with world.store.write() as db:
        await jobs.add(db, order.job(), world.clock())
    while await world.work_one([orders.MakeEpisode.kind]):
        pass
    await world.work()
    return (await said(world, f"answer:{command}"))[0]


async def backfill(world: World, **fields: Any) -> str:
    async with world.store.write() as db:
        await jobs.add(db, orders.BackfillMessages(ROOM, **fields).job(), world.clock())
    while await world.work_one([orders.BackfillMessages.kind]):
        await world.work()
        world.clock.pass_by(2)
    return (await said(world, "backfilled:"))[-1]


async def said(world: World, topic: str) -> list[str]:
    async with world.store.read() as db:
        notices = [job for job in await jobs.unfinished(db, orders.Notice.kind) if job.subject.startswith(topic)]
    return [orders.Notice.of(job).body for job in notices]


async def look(world: World, first: str) -> tuple[Recording, tuple[Chunk, ...]]:
    async with world.store.read() as db:
        recording = await archive.recording_by_event(db, EventId(first))
        assert recording is not None
        return recording, await archive.chunks(db, recording.id)


def heard_in(chunks: Sequence[Chunk]) -> list[str | None]:
    return [chunk.event_id for chunk in chunks if chunk.state is ChunkState.STORED]


async def recordings(world: World) -> list[str]:
    """Return what is recorded, by the numbers."""
    async with world.store.read() as db:
        every = await archive.recordings(db, ROOM)
    return [str(one.event_id) for one in sorted(every, key=lambda one: one.number)]


async def test_messages_from_one_on_become_one_episode(world: World, past: Past) -> None:
    """Whatever the time between them, up to the command; it is private, though the podcast is public, and the room is
    told whose messages are in it and how to object."""
    past.says("$before")
    past.says("$a")
    past.says("$b", BOB, after_s=4000)
    past.says("$own", BOT)
    past.says("$c", after_s=5)
    past.says(COMMAND)
    past.says("$after")
    answer = await ask(world, "$a")
    recording, chunks = await look(world, "$a")
    assert (recording.state, recording.public, recording.past) == (RecordingState.COMPLETE, False, False)
    assert heard_in(chunks) == ["$a", "$b", "$c"]
    assert await recordings(world) == ["$a"]
    assert answer.startswith(
        f"Alice made an episode ({recording.code}) of 3 voice messages of the past, by Alice, Bob."
    )
    assert f"`{PREFIX} forget me`" in answer
    assert recording.ended_at == chunks[-1].sent_at
