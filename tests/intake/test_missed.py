"""Events that no sync showed are found in the room's state, read from the homeserver, and handled like all others."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot import dialects, orders, rules
from bot.errors import GiveUp, TryLater
from bot.intake import missed
from bot.matrix.batch import LimitedTimeline, RoomBatch, SyncBatch
from bot.recording.model import BroadcastChanged, ChunkSealed, ChunkSent
from bot.worker.rereading import Rereading
from bot.worker.room_history import RoomHistory
from bot.worker.walking import Walking
from storage import archive, jobs, journal, rooms
from storage.records import (
    ChunkState,
    EventId,
    HeardEvent,
    HistoryVisibility,
    JobState,
    Json,
    Position,
    RecordingState,
    RoomId,
    UserId,
    Visibility,
)
from tests.world import ALICE, BOT, ROOM, START, Killed, World, batch, chunk, heard, info, room_state, state, world_of

BOB = UserId("@bob:hs")
OFF = EventId("$off")
"""Started while recording was off."""


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
        theirs = [one for one in self.events.values() if one.event["sender"] == sender]
        found = [one for one in theirs if one.event["content"].get("m.relates_to") == relation]
        if self.meanwhile is not None:
            happens, self.meanwhile = self.meanwhile, None
            await happens()
        for one in found:
            if not isinstance(dialects.read(one), BroadcastChanged | ChunkSent | ChunkSealed):
                continue
            yield (one,)

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


async def follow(world: World, memory: Memory) -> None:
    """Read all broadcasts that are due to be read again."""
    world.handlers[orders.Reread.kind] = Rereading(world.store, memory, BOT, clock=world.clock)
    while await world.work_one([orders.Reread.kind]):
        await world.settle()


async def chunks(world: World) -> dict[str, ChunkState]:
    async with world.store.read() as db:
        recording = await archive.recording_by_event(db, START)
        return {one.id: one.state for one in await archive.chunks(db, recording.id)} if recording else {}


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


# ---- broadcasts that nobody heard begin


async def test_a_broadcast_that_began_in_a_gap_is_followed_from_its_first_chunk(world: World) -> None:
    """A broadcast that began in a gap is recorded from its first chunk, each chunk once."""
    await gap(world, chunk("$c3", 3), before=(info(START, "started").event,))
    await world.settle()
    assert not await is_followed(world)
    assert await world.waiting(orders.Reread.kind) == [{"room_id": ROOM, "sender": ALICE}]
    assert len(await world.waiting(orders.Refresh.kind)) == 1
    await follow(world, broadcast(1, 2, 3))
    await world.hear(chunk("$c4", 4))
    assert (await world.recording()).state is RecordingState.LIVE
    assert await chunks(world) == dict.fromkeys(("$c1", "$c2", "$c3", "$c4"), WAITING)
    assert len(await world.waiting(orders.Fetch.kind)) == 4


async def test_a_broadcast_that_began_and_ended_in_a_gap_is_found_by_its_end(world: World) -> None:
    """A broadcast that ended in the gap is found by its `stopped` in the room's state."""
    end = info("$stop", "stopped", last_chunk_sequence=2)
    await gap(world, before=(end.event,), whole=True)
    await follow(world, broadcast(1, 2, ends=True))
    recording = await world.recording()
    assert (recording.state, recording.announced_last) == (RecordingState.FINISHING, 2)
    assert set(await chunks(world)) == {"$c1", "$c2"}


async def test_a_broadcast_that_began_in_a_gap_that_was_walked_is_read_by_nobody(world: World) -> None:
    """A broadcast that the walk found is not read again."""
    walked = [replace(one, history=True) for one in (info(START, "started"), chunk("$c1", 1))]
    await gap(world, before=(walked[0].event,), walked=walked, whole=True)
    await world.settle()
    assert set(await chunks(world)) == {"$c1"}
    assert await world.waiting(orders.Reread.kind) == []
    assert len(await world.waiting(orders.Refresh.kind)) == 1


async def test_a_broadcast_whose_begin_is_in_the_lost_part_of_a_gap_is_followed(world: World) -> None:
    """A broadcast is recorded whole whose beginning lies in the part of a gap that can't be read."""
    end = replace(info("$stop", "stopped", last_chunk_sequence=2), history=True)
    second = replace(chunk("$c2", 2), history=True)
    await gap(world, before=(end.event,), walked=(second, end))
    await world.settle()
    assert not await is_followed(world)
    await follow(world, broadcast(1, 2, ends=True))
    recording = await world.recording()
    assert recording.state is RecordingState.FINISHING
    assert set(await chunks(world)) == {"$c1", "$c2"}


async def test_nobody_has_somebody_elses_broadcast_recorded(world: World) -> None:
    """An info event that names somebody else's broadcast starts no recording."""
    foreign = heard("$p", "io.element.voice_broadcast_info", info("$p", "paused").event["content"], state_key=BOB)
    await gap(world, before=(changed(foreign, sender=BOB).event,))
    await follow(world, broadcast(1))
    assert not await is_followed(world)
    assert await world.waiting(orders.Reread.kind) == []


async def test_a_start_finds_in_the_state_what_no_sync_brought(world: World) -> None:
    """At a start the room's state shows a missed broadcast, once."""
    fresh = [*room_state(), info(START, "started").event]
    for _ in range(2):
        await world.intake.refresh(ROOM, fresh, await position(world))
        await follow(world, broadcast(1))
    assert set(await chunks(world)) == {"$c1"}
    async with world.store.read() as db:
        assert await jobs.count(db, JobState.DONE) == 1


async def test_what_was_live_when_the_bot_came_is_not_followed(world: World) -> None:
    """A broadcast that ran when the bot joined is not recorded, although its end lies in a gap."""
    other = RoomId("!other:hs")
    started = info(START, "started")
    came = SyncBatch("t", (RoomBatch(other, True, (*room_state(), started.event)),))
    await world.intake.take(came)
    async with world.store.write() as db:
        room = await rooms.room(db, other)
        assert room is not None
        await rooms.save_room(db, replace(room, recording_on=True, told_at=Position(0)))
    await world.intake.refresh(other, [*room_state(), started.event], await position(world))
    end = info("$stop", "stopped").event
    await gap(world, before=(end,), room_id=other)
    await world.intake.refresh(other, [*room_state(), end], await position(world))
    assert await world.waiting(orders.Reread.kind) == []


async def test_what_was_said_while_recording_was_off_is_not_followed_later(world: World) -> None:
    """A broadcast that began while recording was off is not recorded when it is on again."""
    await switch(world, recording_on=False)
    await world.begin()
    await gap(world, before=(info(OFF, "started", device_id="E").event,))
    await switch(world, recording_on=True)
    for event in (info("$p", "paused"), info(OFF, "started"), info(START, "started"), info("$q", "resumed")):
        await gap(world, before=(event.event,))
        await world.intake.refresh(ROOM, [*room_state(), event.event], await position(world))
    assert await world.waiting(orders.Reread.kind) == []


@pytest.mark.parametrize(
    "event",
    [
        changed(info(START, "started"), state_key="@mallory:hs").event,
        changed(info(START, "started"), content={}).event,
        info("$p", "paused", **{"m.relates_to": {"event_id": ["$x"], "rel_type": "m.reference"}}).event,
        {"type": "io.element.voice_broadcast_info"},
        changed(info(START, "started"), event_id="$\ud800").event,
    ],
    ids=["of somebody else", "redacted", "relation", "nothing", "no name"],
)
async def test_state_that_makes_no_sense_is_followed_by_nobody_and_costs_no_other(world: World, event: Json) -> None:
    """Invalid info events in the state cost no other broadcast."""
    other = heard("$b", "io.element.voice_broadcast_info", {"state": "started"}, state_key=BOB, sender=BOB)
    await world.intake.refresh(ROOM, [event, *room_state(), other.event], await position(world))
    async with world.store.read() as db:
        assert await jobs.find(db, orders.Reread.about(EventId("$b"))) is not None
        assert await jobs.find(db, orders.Reread.about(START)) is None


# ---- its place in the timeline


async def test_a_room_that_was_public_before_the_gap_publishes_what_began_in_it(world: World) -> None:
    """A broadcast in a gap is public if the room was public before the gap."""
    await world.hear(heard("$n", "m.room.name", {"name": "N"}, state_key=""))
    await switch(world, visibility=Visibility.PUBLIC, public_since=await position(world))
    await gap(world, before=(info(START, "started").event,))
    await follow(world, broadcast(1))
    assert (await world.recording()).public


async def test_a_room_that_is_made_public_after_the_gap_does_not_publish_what_began_in_it(world: World) -> None:
    """A broadcast in a gap stays private if the room was made public after the gap."""
    words = heard("$publish", "m.room.message", {"msgtype": "m.text", "body": "!aircheck publish public"})
    await gap(world, words, before=(info(START, "started").event,))
    async with world.store.read() as db:
        said_at = await journal.position_of(db, EventId("$publish"))
    await switch(world, visibility=Visibility.PUBLIC, public_since=said_at)
    await follow(world, broadcast(1))
    assert not (await world.recording()).public


async def test_who_joined_in_the_gap_hears_nothing_that_began_in_it(world: World) -> None:
    """Without shared history, whoever joined in a gap does not hear a broadcast that began in it."""
    before = (
        state("m.room.history_visibility", {"history_visibility": "joined"}, event_id="$h"),
        state("m.room.member", {"membership": "join"}, BOB, BOB),
        info(START, "started").event,
    )
    await gap(world, before=before)
    await follow(world, broadcast(1))
    recording = await world.recording()
    async with world.store.read() as db:
        members = {one.state_key: one for one in await rooms.members(db, ROOM)}
    assert recording.history_visibility is HistoryVisibility.JOINED
    assert rules.may_hear(recording.history_visibility, recording.position, members[ALICE])
    assert not rules.may_hear(recording.history_visibility, recording.position, members[BOB])


# ---- what is read


async def test_what_is_said_while_it_is_read_is_there_once(world: World) -> None:
    """A chunk that arrives while the broadcast is read is neither lost nor doubled."""
    memory = broadcast(1)

    async def meanwhile() -> None:
        await world.hear(chunk("$c1", 1), chunk("$c2", 2))

    memory.meanwhile = meanwhile
    await gap(world, before=(info(START, "started").event,))
    await follow(world, memory)
    assert await chunks(world) == {"$c1": WAITING, "$c2": WAITING}


async def test_what_others_refer_to_it_with_is_not_told(world: World) -> None:
    """Strangers' references, and the speaker's own that are no part of the broadcast, are ignored."""
    memory = broadcast(1)
    memory.has(changed(chunk("$m", 2), sender=BOB))
    relation = {"m.relates_to": {"rel_type": "m.reference", "event_id": START}}
    memory.has(heard("$t", "m.room.message", {"msgtype": "m.text", "body": "!aircheck record off"} | relation))
    await gap(world, before=(info(START, "started").event,))
    await follow(world, memory)
    assert set(await chunks(world)) == {"$c1"}
    assert await world.waiting(orders.Command.kind) == []
    async with world.store.read() as db:
        assert await journal.position_of(db, EventId("$m")) is None


async def test_a_homeserver_that_is_away_is_waited_for_and_one_that_refuses_is_not(world: World) -> None:
    """A homeserver that is away is asked again, and one that refuses is not."""
    memory = broadcast(1)
    memory.error = TryLater("the homeserver can't be reached")
    await gap(world, before=(info(START, "started").event,))
    await follow(world, memory)
    assert not await is_followed(world)
    assert len(await world.waiting(orders.Reread.kind)) == 1
    memory.error = GiveUp("the homeserver refused: 403 M_FORBIDDEN", reason="forbidden")
    world.clock.pass_by(600)
    await follow(world, memory)
    assert await world.waiting(orders.Reread.kind) == []
    assert not await is_followed(world)


async def test_another_event_than_was_asked_for_is_not_believed(world: World) -> None:
    """An answer with another event is not taken, and the homeserver is asked again."""
    memory = broadcast(1)
    memory.events[START] = info("$other", "started")
    await gap(world, before=(info(START, "started").event,))
    await follow(world, memory)
    assert not await is_followed(world, EventId("$other"))
    assert len(await world.waiting(orders.Reread.kind)) == 1


@pytest.mark.parametrize("after_commit", [True, False])
async def test_reading_may_die_anywhere(tmp_path: Path, *, after_commit: bool) -> None:
    """A crash at any write leaves the whole broadcast, once, to the next process."""
    for death in range(1, 30):
        async with world_of(tmp_path / f"data{death}") as world:
            await world.join()
            await gap(world, before=(info(START, "started").event,))
            memory = broadcast(1, 2, 3, ends=True)
            world.store.die_at(death, after_commit=after_commit)
            died = False
            try:
                await follow(world, memory)
            except Killed:
                died = True
            await world.rise_again()
            await follow(world, memory)
            await world.settle()
            assert (await world.recording()).state is RecordingState.FINISHING
            assert await chunks(world) == dict.fromkeys(("$c1", "$c2", "$c3"), WAITING)
        if not died:
            assert death > 5
            return
    raise AssertionError("it never lived")


# ---- what was said of a broadcast that is followed


async def test_after_a_gap_that_stays_a_live_broadcast_is_completed(world: World) -> None:
    """After a gap that can't be read, chunks and the end are read, and nothing is handled twice."""
    await world.begin(chunk("$c1", 1))
    await gap(world, chunk("$c4", 4))
    await follow(world, broadcast(1, 2, 3, 4, ends=True))
    assert (await world.recording()).state is RecordingState.FINISHING
    assert set(await chunks(world)) == {"$c1", "$c2", "$c3", "$c4"}
    assert len(await world.waiting(orders.Fetch.kind)) == 4


@pytest.mark.parametrize("says_why", [True, False], ids=["with its redaction", "without content"])
async def test_after_a_gap_that_stays_a_redacted_start_deletes_it(world: World, *, says_why: bool) -> None:
    """A start that was redacted in the gap deletes the recording, with or without the redaction event."""
    await world.begin(chunk("$c1", 1), info("$stop", "stopped"))
    memory = broadcast(1, ends=True)
    memory.redacts(START, says_why=says_why)
    await gap(world)
    await follow(world, memory)
    assert (await world.recording()).state is RecordingState.DELETED
    assert await chunks(world) == {}


async def test_after_a_gap_that_stays_a_redacted_chunk_is_listed_as_such(world: World) -> None:
    """A chunk that was redacted in the gap is found by its own id; one that can't be shown stays as it is."""
    await world.begin(chunk("$c1", 1), chunk("$c2", 2), chunk("$c3", 3))
    memory = broadcast(1, 2)
    memory.redacts(EventId("$c2"))
    await gap(world)
    await follow(world, memory)
    assert await chunks(world) == {"$c1": WAITING, "$c2": ChunkState.REDACTED, "$c3": WAITING}
    assert len(await world.waiting(orders.Fetch.kind)) == 2


async def test_a_start_that_was_redacted_in_the_gap_is_not_followed(world: World) -> None:
    """A redacted start is not recorded, although the room's state still holds its `paused`."""
    memory = broadcast(1)
    memory.redacts(START)
    await gap(world, before=(info("$p", "paused").event,))
    await follow(world, memory)
    assert not await is_followed(world)


async def test_a_deleted_recording_is_not_read_again(world: World) -> None:
    """A deleted recording is not read again, neither after a gap nor because the state names it."""
    await world.begin(heard("$r", "m.room.redaction", {}, redacts=START))
    await gap(world, before=(info("$p", "paused").event,))
    assert await world.waiting(orders.Reread.kind) == []


async def test_after_a_gap_the_open_and_the_newest_are_looked_at(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a gap the open recordings and a bounded number of the newest are read again."""
    monkeypatch.setattr(missed, "MOST_RECORDINGS", 2)
    names = [f"$s{number}" for number in range(5)]
    for number, name in enumerate(names):
        start = info(name, "started", device_id=f"D{number}")
        await world.hear(changed(start, origin_server_ts=1_000_000_000_000 + number))
        if number:
            relation = {"m.relates_to": {"rel_type": "m.reference", "event_id": name}}
            await world.hear(info(f"$e{number}", "stopped", **relation))
            world.clock.pass_by(100)
            await world.work_one([orders.Tick.kind])
    world.clock.pass_by(100)
    while await world.work_one([orders.Reread.kind, orders.Tick.kind]):  # each end was asked about
        await world.settle()
    await gap(world)
    async with world.store.read() as db:
        found = {name: await jobs.find(db, orders.Reread.about(EventId(name))) for name in names}
        followed = [name for name, job in found.items() if job is not None and job.state is JobState.READY]
        still_open = [str(one.event_id) for one in await archive.open_recordings(db)]
    assert followed == sorted({*still_open, "$s3", "$s4"})
    assert "$s0" in still_open
    assert len(followed) < 5


async def test_a_room_that_the_bot_is_being_taken_into_is_not_looked_at_anew(world: World) -> None:
    """The limited timeline of a room that the bot joins is no gap."""
    other = RoomId("!other:hs")
    before = (*room_state(), state("m.room.member", {"membership": "join"}, BOT, BOT, event_id="$in"))
    await world.intake.take(SyncBatch("t", (RoomBatch(other, True, before, (), LimitedTimeline("p", "s")),)))
    assert await world.waiting(orders.Refresh.kind) == []
    assert await world.waiting(orders.Reread.kind) == []


async def test_a_plain_sync_asks_for_nothing(world: World) -> None:
    """A sync without a gap asks the homeserver for nothing."""
    await world.intake.take(batch(info(START, "started"), chunk("$c1", 1)))
    assert await world.waiting(orders.Refresh.kind) == []
    assert await world.waiting(orders.Reread.kind) == []
