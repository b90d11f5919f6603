"""Redactions: of what is not known yet, of what is under way, and of all that a broadcast left behind."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bot import orders, topics
from bot.dialects import redaction as redacting
from bot.errors import GiveUp
from bot.keeper import KEEP_HANDLED_EVENTS
from bot.matrix.media import FetchedMedia
from bot.worker.redactions import Redactions
from bot.worker.room_history import RoomHistory
from storage import archive, early_redactions, jobs, journal, rooms
from storage.records import (
    Chunk,
    ChunkId,
    ChunkState,
    EndedBy,
    EventId,
    HeardEvent,
    Job,
    JobKind,
    JobState,
    MediaSource,
    Recording,
    RecordingState,
    RoomId,
    UserId,
    chunk_id_of,
)
from tests.world import ALICE, ROOM, START, World, chunk, download, heard, info, sealed, world_of

MALLORY = UserId("@mallory:hs")
MODERATOR = UserId("@moderator:hs")
C1 = EventId("$c1")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_of(tmp_path / "data") as made:
        await made.join()
        levels = {"users": {ALICE: 100, MODERATOR: 50, MALLORY: 49}}
        await made.hear(heard("$levels", "m.room.power_levels", levels, state_key=""))
        yield made


def redaction(of: str, by: UserId = ALICE) -> HeardEvent:
    return heard(f"$redaction{of}{by}", "m.room.redaction", {}, redacts=of, sender=by)


async def recordings(world: World) -> tuple[Recording, ...]:
    async with world.store.read() as db:
        return await archive.recordings(db)


async def chunk_of(world: World, event_id: EventId = C1) -> Chunk | None:
    async with world.store.read() as db:
        return await archive.chunk_of_event(db, event_id)


# ---- a redaction that comes before what it redacts


@pytest.mark.parametrize("who", [ALICE, MODERATOR])
async def test_a_broadcast_that_was_redacted_before_it_came_is_not_recorded(world: World, who: UserId) -> None:
    """By its speaker or by a moderator; its chunks are nobody's."""
    await world.hear(redaction(START, who))
    await world.begin(chunk(C1, 1))
    assert await recordings(world) == ()
    assert await world.waiting(orders.Fetch.kind) == []


async def test_a_member_can_not_redact_what_somebody_else_is_going_to_say(world: World) -> None:
    """Anybody can send a redaction of a name that does not exist yet; it counts with the power for it only."""
    await world.hear(redaction(START, MALLORY), redaction(C1, MALLORY))
    await world.begin(chunk(C1, 1))
    assert (await world.recording()).state is RecordingState.LIVE
    found = await chunk_of(world)
    assert found is not None
    assert found.state is ChunkState.WAITING_FOR_MEDIA


@pytest.mark.parametrize("arrives", [chunk(C1, 1), sealed(C1)], ids=["clear", "sealed"])
async def test_a_chunk_that_was_redacted_before_it_came_is_listed_as_such(world: World, arrives: HeardEvent) -> None:
    """The ledger knows its place; nothing of it is fetched or kept for its key."""
    await world.begin(redaction(C1))
    await world.hear(arrives, chunk("$c2", 2))
    found = await chunk_of(world)
    assert found is not None
    assert (found.state, found.source, found.session_id) == (ChunkState.REDACTED, None, None)
    assert len(await world.waiting(orders.Fetch.kind)) == 1
    async with world.store.read() as db:
        assert await journal.sealed(db) == ()


async def test_a_redaction_counts_in_its_own_room_only(world: World) -> None:
    """Moderators of one room have no say in another."""
    elsewhere = RoomId("!elsewhere:hs")
    async with world.store.write() as db:
        await early_redactions.note(db, elsewhere, START, ALICE, world.clock())
    await world.begin()
    assert (await world.recording()).state is RecordingState.LIVE


async def test_a_rooms_redactions_are_remembered_up_to_a_number_and_for_a_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest stay, another room's are not touched, and after thirty days all are forgotten."""
    monkeypatch.setattr(early_redactions, "MOST_OF_A_ROOM", 3)
    other = RoomId("!other:hs")
    async with world.store.write() as db:
        await early_redactions.note(db, other, EventId("$0"), ALICE, world.clock())
        for number in range(6):
            await early_redactions.note(db, ROOM, EventId(f"${number}"), ALICE, world.clock())
        await early_redactions.note(db, ROOM, EventId("$5"), ALICE, world.clock())
    assert await remembered(world) == ["$3", "$4", "$5"]
    assert await remembered(world, other) == ["$0"]
    world.clock.pass_by((KEEP_HANDLED_EVENTS + timedelta(days=1)).total_seconds())
    await world.keeper.tidy()
    assert await remembered(world) == []


async def remembered(world: World, room_id: RoomId = ROOM) -> list[str]:
    async with world.store.read() as db:
        return [f"${number}" for number in range(6) if await early_redactions.by(db, room_id, EventId(f"${number}"))]


async def test_children_and_start_may_be_redacted_in_any_order(world: World) -> None:
    """A homeserver that redacts a broadcast with all that refers to it (MSC3912) sends one redaction for each; what
    is redacted after the start was deleted, or never was ours, disturbs nothing."""
    await world.begin(chunk(C1, 1), chunk("$c2", 2), info("$stop", "stopped"))
    await world.hear(redaction("$stop"), redaction("$c2"), redaction(START), redaction(C1), redaction("$late"))
    await world.hear(chunk("$late", 3), info("$again", "resumed"))
    recording = await world.recording()
    assert (recording.state, recording.broadcaster_name) == (RecordingState.DELETED, None)
    assert [await chunk_of(world, EventId(name)) for name in ("$c1", "$c2", "$late")] == [None] * 3


async def test_a_redacted_stop_makes_nothing_live_again(world: World) -> None:
    """A redacted `stopped` changes nothing: the broadcast did end."""
    await world.begin(chunk(C1, 1), info("$stop", "stopped"))
    before = await world.recording()
    await world.hear(redaction("$stop"))
    assert await world.recording() == before


async def test_a_redacted_chunk_is_not_fetched_any_more(world: World) -> None:
    """Its job goes with it; the others stay."""
    await world.begin(chunk(C1, 1), chunk("$c2", 2))
    await world.hear(redaction(C1, MODERATOR))
    async with world.store.read() as db:
        assert await jobs.find(db, orders.Fetch.about(chunk_id_of(C1))) is None
        assert await jobs.find(db, orders.Fetch.about(ChunkId("$c2"))) is not None


# ---- whose redaction counts


async def test_a_redaction_by_who_may_not_changes_nothing(world: World) -> None:
    """A homeserver may deliver it all the same; what it says of its own right is not believed."""
    await world.begin(chunk(C1, 1), sealed("$s"))
    forged = {redacting.MAY: True}
    for target in (START, C1, "$s"):
        said = redaction(target, MALLORY)
        await world.hear(replace(said, event={**said.event, **forged}))
    assert (await world.recording()).state is RecordingState.LIVE
    found = await chunk_of(world)
    assert found is not None
    assert found.state is ChunkState.WAITING_FOR_MEDIA
    async with world.store.read() as db:
        assert [one.event_id for one in await journal.sealed(db)] == ["$s"]
        assert await jobs.find(db, orders.Fetch.about(chunk_id_of(C1))) is not None
    assert await world.waiting(orders.Redaction.kind) == []


async def test_the_power_of_then_counts(world: World) -> None:
    """A moderator who is one no more when their redaction is dealt with has redacted; a member who is made one after
    theirs has not."""
    await world.begin(chunk(C1, 1), chunk("$c2", 2))
    changed = heard("$levels2", "m.room.power_levels", {"users": {ALICE: 100, MALLORY: 50}}, state_key="")
    await world.hear(redaction(C1, MODERATOR), redaction("$c2", MALLORY), changed)
    states = [one and one.state for one in [await chunk_of(world), await chunk_of(world, EventId("$c2"))]]
    assert states == [ChunkState.REDACTED, ChunkState.WAITING_FOR_MEDIA]


async def test_the_power_of_then_counts_for_what_comes_later_too(world: World) -> None:
    """The redaction came first, and its event when the redactor is no moderator any more."""
    changed = heard("$levels2", "m.room.power_levels", {"users": {ALICE: 100}}, state_key="")
    await world.hear(redaction(START, MODERATOR), changed)
    await world.begin()
    assert await recordings(world) == ()


async def forget_power(world: World) -> None:
    """Forget the power in a room, as after a refused state block or before the first."""
    async with world.store.write() as db:
        await rooms.forget_state(db, ROOM)


@dataclass
class Memory(RoomHistory):
    """A homeserver that shows one event, redacted or not."""

    event_: HeardEvent
    asked: int = 0

    async def event(self, room_id: RoomId, event_id: EventId) -> HeardEvent:
        self.asked += 1
        return self.event_


@pytest.mark.parametrize("walked", [False, True], ids=["no state", "in a gap"])
async def test_where_the_power_is_not_known_the_homeserver_is_asked(world: World, walked: bool) -> None:
    """The homeserver shows the event without its content, and the recording is deleted."""
    await world.begin(chunk(C1, 1))
    if not walked:
        await forget_power(world)
        await world.hear(redaction(START, MALLORY))
    else:
        async with world.store.write() as db:
            await journal.add(db, replace(redaction(START, MALLORY), history=True), world.clock())
        await world.settle()
    assert (await world.recording()).state is RecordingState.LIVE
    because = {"redacted_because": {"sender": MALLORY}}
    shown = info(START, "started")
    memory = Memory(replace(shown, event={**shown.event, "content": {}, "unsigned": because}))
    world.handlers[orders.Redaction.kind] = Redactions(world.store, memory, clock=world.clock)
    assert await world.work_one([orders.Redaction.kind])
    await world.settle()
    assert (await world.recording()).state is RecordingState.DELETED


async def test_what_the_homeserver_has_not_redacted_stays(world: World) -> None:
    """The homeserver is asked three times, since it may be slow."""
    await world.begin(chunk(C1, 1))
    await forget_power(world)
    await world.hear(redaction(START, MALLORY))
    memory = Memory(info(START, "started"))
    world.handlers[orders.Redaction.kind] = Redactions(world.store, memory, clock=world.clock)
    while await world.work_one([orders.Redaction.kind]):
        world.clock.pass_by(60)
    assert memory.asked == 3
    assert (await world.recording()).state is RecordingState.LIVE


# ---- a redaction while everything is under way


async def test_a_start_that_is_redacted_while_live_leaves_nothing_behind(world: World) -> None:
    """With jobs of every kind waiting and a download under way: no row but the tombstone, no file, no job."""
    await world.begin(chunk(C1, 1))
    await world.work()
    recording = await world.recording()
    await world.hear(chunk("$c2", 2), chunk("$c3", 3))
    async with world.store.write() as db:
        ended = orders.End(recording.id, EndedBy.LEFT)
        reread = orders.Reread(START, ROOM, ALICE)
        told = (topics.episode_published(START), *(topics.told_of(what, START) for what in ("limit", "room_full")))
        notices = (orders.Notice(topic, ROOM, "…") for topic in told)
        for order in (orders.Finish(recording.id), orders.Tick(recording.id), ended, reread, *notices):
            await jobs.add(db, order.job(later(world)), world.clock())

    async def redacted_meanwhile(source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
        fetched = await download(source, part, max_bytes)
        await world.hear(redaction(START))
        return fetched

    world.download = redacted_meanwhile
    assert await world.work_one([orders.Fetch.kind])
    of_the_room = {each.kind for each in (orders.Notice, orders.Cover, orders.ShowRoom, orders.Pin, orders.Refresh)}
    assert await unfinished(world) <= {orders.Forget.kind, *of_the_room}
    assert [payload for payload in await world.waiting(orders.Notice.kind) if payload["body"] == "…"] == []
    await world.work()
    async with world.store.read() as db:
        room = await rooms.room(db, ROOM)
        assert await archive.chunks(db, recording.id) == ()
        assert await archive.episode(db, recording.id) is None
        assert await archive.published(db, ROOM) == ()
    assert room is not None
    assert set(world.files()) <= {room.cover}
    tombstone = await world.recording()
    assert (tombstone.state, tombstone.broadcaster_name, tombstone.title) == (RecordingState.DELETED, None, None)


async def test_media_that_could_not_be_had_are_not_asked_for_after_a_deletion(world: World) -> None:
    """A download that fails while its broadcast is deleted is not put back for an hour."""

    async def redacted_meanwhile(source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
        await world.hear(redaction(START))
        raise GiveUp("the homeserver has no such media", reason="not_found")

    await world.begin(chunk(C1, 1))
    world.download = redacted_meanwhile
    assert await world.work_one([orders.Fetch.kind])
    async with world.store.read() as db:
        job = await jobs.find(db, orders.Fetch.about(chunk_id_of(C1)))
    assert isinstance(job, Job)
    assert job.state is JobState.DONE


def later(world: World) -> datetime:
    return world.clock() + timedelta(hours=1)


async def unfinished(world: World) -> set[JobKind]:
    async with world.store.read() as db:
        return {kind for kind in orders.KINDS if await jobs.unfinished(db, kind)}
