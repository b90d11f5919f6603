"""Redactions: of what is not known yet, of what is under way, and of all that a broadcast left behind."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bot import orders
from bot.dialects import redaction as redacting
from bot.errors import GiveUp
from bot.keeper import KEEP_HANDLED_EVENTS
from bot.matrix.media import FetchedMedia
from bot.worker.redactions import Redactions
from storage import archive, early_redactions, jobs, journal, rooms
from storage.records import (
    Chunk,
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
)
from tests.world import ALICE, ROOM, START, Shell, chunk, download, heard, info, sealed, shell

MALLORY = UserId("@mallory:hs")
MODERATOR = UserId("@moderator:hs")
C1 = EventId("$c1")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Shell]:
    async with shell(tmp_path / "data") as made:
        await made.join()
        levels = {"users": {ALICE: 100, MODERATOR: 50, MALLORY: 49}}
        await made.hear(heard("$levels", "m.room.power_levels", levels, state_key=""))
        yield made


def redaction(of: str, by: UserId = ALICE) -> HeardEvent:
    return heard(f"$redaction{of}{by}", "m.room.redaction", {}, redacts=of, sender=by)


async def recordings(stage: Shell) -> tuple[Recording, ...]:
    async with stage.store.read() as db:
        return await archive.recordings(db)


async def chunk_of(stage: Shell, event_id: EventId = C1) -> Chunk | None:
    async with stage.store.read() as db:
        return await archive.chunk(db, event_id)


# ---- a redaction that comes before what it redacts


@pytest.mark.parametrize("who", [ALICE, MODERATOR])
async def test_a_broadcast_that_was_redacted_before_it_came_is_not_recorded(stage: Shell, who: UserId) -> None:
    """By its speaker or by a moderator; its chunks are nobody's."""
    await stage.hear(redaction(START, who))
    await stage.hear(info(START, "started"), chunk(C1, 1))
    assert await recordings(stage) == ()
    assert await stage.waiting(orders.Fetch.kind) == []


async def test_a_member_can_not_redact_what_somebody_else_is_going_to_say(stage: Shell) -> None:
    """Anybody can send a redaction of a name that does not exist yet; it counts with the power for it only."""
    await stage.hear(redaction(START, MALLORY), redaction(C1, MALLORY))
    await stage.hear(info(START, "started"), chunk(C1, 1))
    assert (await stage.recording()).state is RecordingState.LIVE
    found = await chunk_of(stage)
    assert found is not None
    assert found.state is ChunkState.WAITING_FOR_MEDIA


@pytest.mark.parametrize("arrives", [chunk(C1, 1), sealed(C1)], ids=["clear", "sealed"])
async def test_a_chunk_that_was_redacted_before_it_came_is_listed_as_such(stage: Shell, arrives: HeardEvent) -> None:
    """The ledger knows its place; nothing of it is fetched or kept for its key."""
    await stage.hear(info(START, "started"), redaction(C1))
    await stage.hear(arrives, chunk("$c2", 2))
    found = await chunk_of(stage)
    assert found is not None
    assert (found.state, found.source, found.session_id) == (ChunkState.REDACTED, None, None)
    assert len(await stage.waiting(orders.Fetch.kind)) == 1
    async with stage.store.read() as db:
        assert await journal.sealed(db) == ()


async def test_a_redaction_counts_in_its_own_room_only(stage: Shell) -> None:
    """Moderators of one room have no say in another."""
    elsewhere = RoomId("!elsewhere:hs")
    async with stage.store.write() as db:
        await early_redactions.note(db, elsewhere, START, ALICE, stage.clock())
    await stage.hear(info(START, "started"))
    assert (await stage.recording()).state is RecordingState.LIVE


async def test_a_rooms_redactions_are_remembered_up_to_a_number_and_for_a_time(
    stage: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest stay, another room's are not touched, and after thirty days all are forgotten."""
    monkeypatch.setattr(early_redactions, "MOST_OF_A_ROOM", 3)
    other = RoomId("!other:hs")
    async with stage.store.write() as db:
        await early_redactions.note(db, other, EventId("$0"), ALICE, stage.clock())
        for number in range(6):
            await early_redactions.note(db, ROOM, EventId(f"${number}"), ALICE, stage.clock())
        await early_redactions.note(db, ROOM, EventId("$5"), ALICE, stage.clock())
    assert await remembered(stage) == ["$3", "$4", "$5"]
    assert await remembered(stage, other) == ["$0"]
    stage.clock.pass_by((KEEP_HANDLED_EVENTS + timedelta(days=1)).total_seconds())
    await stage.keeper.tidy()
    assert await remembered(stage) == []


async def remembered(stage: Shell, room_id: RoomId = ROOM) -> list[str]:
    async with stage.store.read() as db:
        return [f"${number}" for number in range(6) if await early_redactions.by(db, room_id, EventId(f"${number}"))]


async def test_children_and_start_may_be_redacted_in_any_order(stage: Shell) -> None:
    """A homeserver that redacts a broadcast with all that refers to it (MSC3912) sends one redaction for each; what
    is redacted after the start was deleted, or never was ours, disturbs nothing."""
    await stage.hear(info(START, "started"), chunk(C1, 1), chunk("$c2", 2), info("$stop", "stopped"))
    await stage.hear(redaction("$stop"), redaction("$c2"), redaction(START), redaction(C1), redaction("$late"))
    await stage.hear(chunk("$late", 3), info("$again", "resumed"))
    recording = await stage.recording()
    assert (recording.state, recording.broadcaster_name) == (RecordingState.DELETED, None)
    assert [await chunk_of(stage, EventId(name)) for name in ("$c1", "$c2", "$late")] == [None] * 3


async def test_a_redacted_stop_makes_nothing_live_again(stage: Shell) -> None:
    """What it said was true."""
    await stage.hear(info(START, "started"), chunk(C1, 1), info("$stop", "stopped"))
    before = await stage.recording()
    await stage.hear(redaction("$stop"))
    assert await stage.recording() == before


async def test_a_redacted_chunk_is_not_fetched_any_more(stage: Shell) -> None:
    """Its job goes with it; the others stay."""
    await stage.hear(info(START, "started"), chunk(C1, 1), chunk("$c2", 2))
    await stage.hear(redaction(C1, MODERATOR))
    async with stage.store.read() as db:
        assert await jobs.find(db, orders.Fetch.about(C1)) is None
        assert await jobs.find(db, orders.Fetch.about(EventId("$c2"))) is not None


# ---- whose redaction counts


async def test_a_redaction_by_who_may_not_changes_nothing(stage: Shell) -> None:
    """A homeserver may deliver it all the same; what it says of its own right is not believed."""
    await stage.hear(info(START, "started"), chunk(C1, 1), sealed("$s"))
    forged = {redacting.MAY: True}
    for target in (START, C1, "$s"):
        said = redaction(target, MALLORY)
        await stage.hear(replace(said, event={**said.event, **forged}))
    assert (await stage.recording()).state is RecordingState.LIVE
    found = await chunk_of(stage)
    assert found is not None
    assert found.state is ChunkState.WAITING_FOR_MEDIA
    async with stage.store.read() as db:
        assert [one.event_id for one in await journal.sealed(db)] == ["$s"]
        assert await jobs.find(db, orders.Fetch.about(C1)) is not None
    assert await stage.waiting(orders.Redaction.kind) == []


async def test_the_power_of_then_counts(stage: Shell) -> None:
    """A moderator who is one no more when their redaction is dealt with has redacted; a member who is made one after
    theirs has not."""
    await stage.hear(info(START, "started"), chunk(C1, 1), chunk("$c2", 2))
    changed = heard("$levels2", "m.room.power_levels", {"users": {ALICE: 100, MALLORY: 50}}, state_key="")
    await stage.hear(redaction(C1, MODERATOR), redaction("$c2", MALLORY), changed)
    states = [one and one.state for one in [await chunk_of(stage), await chunk_of(stage, EventId("$c2"))]]
    assert states == [ChunkState.REDACTED, ChunkState.WAITING_FOR_MEDIA]


async def test_the_power_of_then_counts_for_what_comes_later_too(stage: Shell) -> None:
    """The redaction came first, and its event when the redactor is no moderator any more."""
    changed = heard("$levels2", "m.room.power_levels", {"users": {ALICE: 100}}, state_key="")
    await stage.hear(redaction(START, MODERATOR), changed)
    await stage.hear(info(START, "started"))
    assert await recordings(stage) == ()


async def forget_power(stage: Shell) -> None:
    """What is known of a room right after a state block was refused, or before it came."""
    async with stage.store.write() as db:
        await rooms.forget_state(db, ROOM)


@dataclass
class Memory:
    """A homeserver that shows one event, redacted or not."""

    event_: HeardEvent
    asked: int = 0

    async def event(self, room_id: RoomId, event_id: EventId) -> HeardEvent:
        self.asked += 1
        return self.event_


@pytest.mark.parametrize("walked", [False, True], ids=["no state", "in a gap"])
async def test_where_the_power_is_not_known_the_homeserver_is_asked(stage: Shell, walked: bool) -> None:
    """It shows the event without its content, and the recording goes."""
    await stage.hear(info(START, "started"), chunk(C1, 1))
    if not walked:
        await forget_power(stage)
        await stage.hear(redaction(START, MALLORY))
    else:
        async with stage.store.write() as db:
            await journal.add(db, replace(redaction(START, MALLORY), history=True), stage.clock())
        await stage.settle()
    assert (await stage.recording()).state is RecordingState.LIVE
    because = {"redacted_because": {"sender": MALLORY}}
    shown = info(START, "started")
    memory = Memory(replace(shown, event={**shown.event, "content": {}, "unsigned": because}))
    stage.handlers[orders.Redaction.kind] = Redactions(stage.store, memory, clock=stage.clock)
    assert await stage.work_one([orders.Redaction.kind])
    await stage.settle()
    assert (await stage.recording()).state is RecordingState.DELETED


async def test_what_the_homeserver_has_not_redacted_stays(stage: Shell) -> None:
    """It is asked three times, for it may be slow."""
    await stage.hear(info(START, "started"), chunk(C1, 1))
    await forget_power(stage)
    await stage.hear(redaction(START, MALLORY))
    memory = Memory(info(START, "started"))
    stage.handlers[orders.Redaction.kind] = Redactions(stage.store, memory, clock=stage.clock)
    while await stage.work_one([orders.Redaction.kind]):
        stage.clock.pass_by(60)
    assert memory.asked == 3
    assert (await stage.recording()).state is RecordingState.LIVE


# ---- a redaction while everything is under way


async def test_a_start_that_is_redacted_while_live_leaves_nothing_behind(stage: Shell) -> None:
    """With jobs of every kind waiting and a download under way: no row but the tombstone, no file, no job."""
    await stage.hear(info(START, "started"), chunk(C1, 1))
    await stage.work()
    recording = await stage.recording()
    await stage.hear(chunk("$c2", 2), chunk("$c3", 3))
    async with stage.store.write() as db:
        ended = orders.End(recording.id, EndedBy.LEFT)
        reread = orders.Reread(START, ROOM, ALICE)
        topics = (orders.episode_published(START), *(orders.told_of(what, START) for what in ("limit", "room_full")))
        notices = (orders.Notice(topic, ROOM, "…") for topic in topics)
        for order in (orders.Finish(recording.id), orders.Tick(recording.id), ended, reread, *notices):
            await jobs.add(db, order.job(later(stage)), stage.clock())

    async def redacted_meanwhile(source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
        fetched = await download(source, part, max_bytes)
        await stage.hear(redaction(START))
        return fetched

    stage.download = redacted_meanwhile
    assert await stage.work_one([orders.Fetch.kind])
    assert await unfinished(stage) <= {orders.Forget.kind, orders.Notice.kind, orders.Cover.kind}
    assert [payload for payload in await stage.waiting(orders.Notice.kind) if payload["body"] == "…"] == []
    await stage.work()
    async with stage.store.read() as db:
        room = await rooms.room(db, ROOM)
        assert await archive.chunks(db, recording.id) == ()
        assert await archive.episode(db, recording.id) is None
        assert await archive.published(db, ROOM) == ()
    assert room is not None
    assert set(stage.files()) <= {room.cover}
    tombstone = await stage.recording()
    assert (tombstone.state, tombstone.broadcaster_name, tombstone.title) == (RecordingState.DELETED, None, None)


async def test_media_that_could_not_be_had_are_not_asked_for_after_a_deletion(stage: Shell) -> None:
    """A download that fails while its broadcast is deleted is not put back for an hour."""

    async def redacted_meanwhile(source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
        await stage.hear(redaction(START))
        raise GiveUp("the homeserver has no such media", reason="not_found")

    await stage.hear(info(START, "started"), chunk(C1, 1))
    stage.download = redacted_meanwhile
    assert await stage.work_one([orders.Fetch.kind])
    async with stage.store.read() as db:
        job = await jobs.find(db, orders.Fetch.about(C1))
    assert isinstance(job, Job)
    assert job.state is JobState.DONE


def later(stage: Shell) -> datetime:
    return stage.clock() + timedelta(hours=1)


async def unfinished(stage: Shell) -> set[JobKind]:
    async with stage.store.read() as db:
        return {kind for kind in orders.KINDS if await jobs.unfinished(db, kind)}
