"""Events that no sync showed are found in the room's state, read from the homeserver, and handled like all others."""

from dataclasses import replace

import pytest

from bot import orders, rules
from bot.intake import missed
from bot.matrix.batch import LimitedTimeline, RoomBatch, SyncBatch
from bot.recording import kinds
from storage import archive, jobs, journal, rooms
from storage.records import (
    ChunkState,
    EventId,
    HistoryVisibility,
    JobState,
    Json,
    Position,
    RecordingState,
    RoomId,
    Visibility,
)
from tests.intake.homeserver import (
    BOB,
    OFF,
    WAITING,
    broadcast,
    changed,
    chunks,
    gap,
    is_followed,
    position,
    reread,
    switch,
)
from tests.world import ALICE, BOT, INFO, ROOM, START, World, batch, chunk, heard, info, room_state, state

# ---- broadcasts that nobody heard begin


async def test_a_broadcast_that_began_in_a_gap_is_followed_from_its_first_chunk(world: World) -> None:
    """A broadcast that began in a gap is recorded from its first chunk, each chunk once."""
    await gap(world, chunk("$c3", 3), before=(info(START, "started").event,))
    await world.settle()
    assert not await is_followed(world)
    assert await world.waiting(orders.Reread.kind) == [{"room_id": ROOM, "sender": ALICE}]
    assert len(await world.waiting(orders.Refresh.kind)) == 1
    await reread(world, broadcast(1, 2, 3))
    await world.hear(chunk("$c4", 4))
    assert (await world.recording()).state is RecordingState.LIVE
    assert await chunks(world) == dict.fromkeys(("$c1", "$c2", "$c3", "$c4"), WAITING)
    assert len(await world.waiting(orders.Fetch.kind)) == 4


async def test_a_broadcast_that_began_and_ended_in_a_gap_is_found_by_its_end(world: World) -> None:
    """A broadcast that ended in the gap is found by its `stopped` in the room's state."""
    end = info("$stop", "stopped", last_chunk_sequence=2)
    await gap(world, before=(end.event,), whole=True)
    await reread(world, broadcast(1, 2, ends=True))
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
    await reread(world, broadcast(1, 2, ends=True))
    recording = await world.recording()
    assert recording.state is RecordingState.FINISHING
    assert set(await chunks(world)) == {"$c1", "$c2"}


async def test_nobody_has_somebody_elses_broadcast_recorded(world: World) -> None:
    """An info event that names somebody else's broadcast starts no recording."""
    foreign = heard("$p", "io.element.voice_broadcast_info", info("$p", "paused").event["content"], state_key=BOB)
    await gap(world, before=(changed(foreign, sender=BOB).event,))
    await reread(world, broadcast(1))
    assert not await is_followed(world)
    assert await world.waiting(orders.Reread.kind) == []


async def test_a_start_finds_in_the_state_what_no_sync_brought(world: World) -> None:
    """At a start the room's state shows a missed broadcast, once."""
    fresh = [*room_state(), info(START, "started").event]
    for _ in range(2):
        await world.intake.refresh(ROOM, fresh, await position(world))
        await reread(world, broadcast(1))
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


async def test_a_state_that_goes_back_to_before_the_bot_came_is_no_news(world: World) -> None:
    """After a fork of the room's history a sync may show the end of a broadcast from before the bot joined, although a
    later one was heard: nothing of the earlier one is recorded."""
    relation = {"m.relates_to": {"rel_type": "m.reference", "event_id": "$old"}}
    end = heard("$oldend", INFO, {"state": "stopped"} | relation, state_key=ALICE, origin_server_ts=1_000)
    other = RoomId("!other:hs")
    await world.intake.take(SyncBatch("t", (RoomBatch(other, True, (*room_state(), end.event)),)))
    async with world.store.write() as db:
        room = await rooms.room(db, other)
        assert room is not None
        await rooms.save_room(db, replace(room, recording_on=True, told_at=Position(0)))
    begun = replace(info(START, "started"), room_id=other)
    begun = replace(begun, event={**begun.event, "origin_server_ts": 5_000})
    await world.intake.take(SyncBatch("u", (RoomBatch(other, True, (), (begun,)),)))
    await world.intake.take(SyncBatch("v", (RoomBatch(other, True, (end.event,)),)))
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
    await reread(world, broadcast(1))
    assert (await world.recording()).public


async def test_a_room_that_is_made_public_after_the_gap_does_not_publish_what_began_in_it(world: World) -> None:
    """A broadcast in a gap stays private if the room was made public after the gap."""
    words = heard("$publish", "m.room.message", {"msgtype": "m.text", "body": "!aircheck publish public"})
    await gap(world, words, before=(info(START, "started").event,))
    async with world.store.read() as db:
        said_at = await journal.position_of(db, EventId("$publish"))
    await switch(world, visibility=Visibility.PUBLIC, public_since=said_at)
    await reread(world, broadcast(1))
    assert not (await world.recording()).public


async def test_who_joined_in_the_gap_hears_nothing_that_began_in_it(world: World) -> None:
    """Without shared history, whoever joined in a gap does not hear a broadcast that began in it."""
    before = (
        state("m.room.history_visibility", {"history_visibility": "joined"}, event_id="$h"),
        state("m.room.member", {"membership": "join"}, BOB, BOB),
        info(START, "started").event,
    )
    await gap(world, before=before)
    await reread(world, broadcast(1))
    recording = await world.recording()
    async with world.store.read() as db:
        members = {one.state_key: one for one in await rooms.members(db, ROOM)}
    assert recording.history_visibility is HistoryVisibility.JOINED
    assert rules.may_hear(recording.history_visibility, recording.position, members[ALICE])
    assert not rules.may_hear(recording.history_visibility, recording.position, members[BOB])


# ---- what was said of a broadcast that is followed


async def test_after_a_gap_that_stays_a_live_broadcast_is_completed(world: World) -> None:
    """After a gap that can't be read, chunks and the end are read, and nothing is handled twice."""
    await world.begin(chunk("$c1", 1))
    await gap(world, chunk("$c4", 4))
    await reread(world, broadcast(1, 2, 3, 4, ends=True))
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
    await reread(world, memory)
    assert (await world.recording()).state is RecordingState.DELETED
    assert await chunks(world) == {}


async def test_after_a_gap_that_stays_a_redacted_chunk_is_listed_as_such(world: World) -> None:
    """A chunk that was redacted in the gap is found by its own id; one that can't be shown stays as it is."""
    await world.begin(chunk("$c1", 1), chunk("$c2", 2), chunk("$c3", 3))
    memory = broadcast(1, 2)
    memory.redacts(EventId("$c2"))
    await gap(world)
    await reread(world, memory)
    assert await chunks(world) == {"$c1": WAITING, "$c2": ChunkState.REDACTED, "$c3": WAITING}
    assert len(await world.waiting(orders.Fetch.kind)) == 2


async def test_a_start_that_was_redacted_in_the_gap_is_not_followed(world: World) -> None:
    """A redacted start is not recorded, although the room's state still holds its `paused`."""
    memory = broadcast(1)
    memory.redacts(START)
    await gap(world, before=(info("$p", "paused").event,))
    await reread(world, memory)
    assert not await is_followed(world)


async def test_a_deleted_recording_is_not_read_again(world: World) -> None:
    """A deleted recording is not read again, neither after a gap nor because the state names it."""
    await world.begin(heard("$r", "m.room.redaction", {}, redacts=START))
    await gap(world, before=(info("$p", "paused").event,))
    assert await world.waiting(orders.Reread.kind) == []


async def test_after_a_gap_only_recordings_of_related_events_are_read_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gap that stays orders nothing for a kind of recording whose events do not relate to the first."""
    await world.begin()
    unrelated = {kind: replace(parts, related=False) for kind, parts in kinds.KINDS.items()}
    monkeypatch.setattr(kinds, "KINDS", unrelated)
    await gap(world)
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
