"""The homeserver is asked before anything counts as missing, and not waited for longer than that takes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot import orders
from bot.errors import TryLater
from bot.intake.unheard import SHARE_OF_A_SENDER
from bot.worker.rereading import Rereading
from storage import archive, journal
from storage.records import ChunkState, EndedBy, EventId, HeardEvent, RecordingState, UserId
from tests.intake.test_missed import Memory, broadcast, changed, is_followed
from tests.world import ALICE, BOT, ROOM, START, Shell, chunk, heard, info, shell

MINUTE_S = 60


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Shell]:
    async with shell(tmp_path / "data") as made:
        await made.join()
        yield made


def remembers(stage: Shell, memory: Memory) -> None:
    stage.handlers[orders.Reread.kind] = Rereading(stage.store, memory, BOT, clock=stage.clock)


async def passes(stage: Shell, seconds: float) -> None:
    """So much time, and all that is due in it."""
    for _ in range(round(seconds)):
        stage.clock.pass_by(1)
        while await stage.work_one(tuple(orders.KINDS)):
            await stage.settle()


async def states(stage: Shell) -> dict[str, ChunkState]:
    recording = await stage.recording()
    async with stage.store.read() as db:
        return {one.event_id: one.state for one in await archive.chunks(db, recording.id)}


async def test_a_chunk_that_no_sync_brought_is_in_the_recording_before_it_is_decided(stage: Shell) -> None:
    """Its number is skipped, and the homeserver has it."""
    remembers(stage, broadcast(1, 2, 3, ends=True))
    await stage.hear(info(START, "started"), chunk("$c1", 1), chunk("$c3", 3), info("$stop", "stopped"))
    await passes(stage, MINUTE_S + 5)
    assert await states(stage) == dict.fromkeys(("$c1", "$c2", "$c3"), ChunkState.STORED)
    assert (await stage.recording()).state is RecordingState.COMPLETE


async def test_a_skipped_number_is_asked_for_while_the_broadcast_runs(stage: Shell) -> None:
    """It is there within a minute, not at the end only."""
    remembers(stage, broadcast(1, 2, 3))
    await stage.hear(info(START, "started"), chunk("$c1", 1), chunk("$c3", 3))
    await passes(stage, MINUTE_S)
    assert (await stage.recording()).state is RecordingState.LIVE
    assert set(await states(stage)) == {"$c1", "$c2", "$c3"}


@pytest.mark.parametrize("in_state", [True, False], ids=["in the room's state", "among the relations"])
async def test_an_end_that_no_sync_brought_is_found_before_the_broadcast_is_abandoned(
    stage: Shell, *, in_state: bool
) -> None:
    """It ended because it was stopped."""
    memory = broadcast(1, ends=not in_state)
    memory.newest = info("state:1", "stopped", last_chunk_sequence=1) if in_state else None
    remembers(stage, memory)
    await stage.hear(info(START, "started"), chunk("$c1", 1))
    stage.clock.pass_by(1800)
    await passes(stage, 5)
    recording = await stage.recording()
    assert (recording.ended_by, recording.announced_last) == (EndedBy.STOPPED, 1)


async def test_asking_is_no_sign_of_life(stage: Shell) -> None:
    """A pause that was heard before is not heard again: what nobody ends is abandoned in its time."""
    memory = broadcast(1)
    memory.has(info("$p", "paused"), info("$r", "resumed"))
    remembers(stage, memory)
    await stage.hear(info(START, "started"), chunk("$c1", 1), info("$p", "paused"), info("$r", "resumed"))
    stage.clock.pass_by(1800)
    await passes(stage, 5)
    assert (await stage.recording()).ended_by is EndedBy.ABANDONED


async def test_a_homeserver_that_does_not_answer_holds_no_decision_for_ever(stage: Shell) -> None:
    """It is waited for half a minute; what it says later heals."""
    memory = broadcast(1, 2, 3, ends=True)
    remembers(stage, memory)
    await stage.hear(info(START, "started"), chunk("$c1", 1), chunk("$c3", 3), info("$stop", "stopped"))
    for _ in range(MINUTE_S + 35):
        memory.error = TryLater("the homeserver answered 500")
        await passes(stage, 1)
    assert (await stage.recording()).state is RecordingState.INCOMPLETE
    memory.error = None
    await passes(stage, 400)
    assert (await stage.recording()).state is RecordingState.COMPLETE


async def test_what_is_certain_asks_nobody_at_the_end_of_its_quiet_period(stage: Shell) -> None:
    """All numbers up to the announced one are there."""
    memory = broadcast(1, 2, ends=True)
    memory.error = TryLater("the homeserver answered 500")
    remembers(stage, memory)
    end = info("$stop", "stopped", last_chunk_sequence=2)
    await stage.hear(info(START, "started"), chunk("$c1", 1), chunk("$c2", 2), end)
    await passes(stage, 1)
    assert (await stage.recording()).state is RecordingState.COMPLETE


# ---- broadcasts that nobody heard begin


async def test_a_start_that_no_sync_brought_is_found_by_its_first_chunk(stage: Shell) -> None:
    """Whatever was said of it before is in the recording."""
    remembers(stage, broadcast(1, 2))
    await stage.hear(chunk("$c1", 1))
    await passes(stage, 5)
    await stage.hear(chunk("$c2", 2))
    assert set(await states(stage)) == {"$c1", "$c2"}
    assert (await stage.recording()).state is RecordingState.LIVE


async def test_a_start_that_no_sync_brought_is_found_by_its_pause_or_end(stage: Shell) -> None:
    """Any info event names it."""
    remembers(stage, broadcast(1, ends=True))
    await stage.hear(info("$stop", "stopped", last_chunk_sequence=1))
    await passes(stage, 5)
    assert (await stage.recording()).ended_by is EndedBy.STOPPED


async def test_what_a_stranger_names_is_asked_for_a_few_times_only(stage: Shell) -> None:
    """Hundreds of unknown names cause no row and a bounded number of jobs; the speaker's own broadcast is asked for."""
    remembers(stage, broadcast(1))
    named = [changed(chunk(f"$f{number}", 1), sender="@mallory:hs") for number in range(300)]
    flood = [
        HeardEvent(one.room_id, one.event_id, {**one.event, "content": {**one.event["content"], "m.relates_to": other}})
        for number, one in enumerate(named)
        for other in ({"rel_type": "m.reference", "event_id": f"$nobody{number}"},)
    ]
    async with stage.store.read() as db:
        before = await journal.position(db)
    await stage.hear(*flood, chunk("$c1", 1))
    async with stage.store.read() as db:
        assert await journal.position(db) == before
    assert len(await stage.waiting(orders.Reread.kind)) == SHARE_OF_A_SENDER + 1
    await passes(stage, 5)
    assert set(await states(stage)) == {"$c1"}


async def test_somebody_elses_broadcast_is_not_recorded_because_a_chunk_names_it(stage: Shell) -> None:
    """The sender of the chunk must be its speaker."""
    remembers(stage, broadcast(1))
    await stage.hear(changed(chunk("$f", 1), sender=UserId("@mallory:hs")))
    await passes(stage, 5)
    assert not await is_followed(stage)


async def test_what_began_before_the_bot_came_is_not_recorded_because_a_chunk_names_it(stage: Shell) -> None:
    """Its start is older than the bot's own coming."""
    came = heard("$in", "m.room.member", {"membership": "join"}, state_key=BOT, sender=BOT, origin_server_ts=10)
    await stage.hear(came)
    remembers(stage, broadcast(1))
    await stage.hear(chunk("$c1", 1))
    await passes(stage, 5)
    assert not await is_followed(stage)
    async with stage.store.read() as db:
        assert await archive.open_recordings(db, ROOM, ALICE) == ()
        assert await archive.recording_by_event(db, EventId("$c1")) is None


async def test_a_start_that_is_found_late_ends_no_later_broadcast(
    stage: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its speaker, on the same device, is live with another one by then: both are recorded."""

    async def nobody_came_since(*_: object) -> bool:
        return False

    monkeypatch.setattr(journal, "is_before_somebody", nobody_came_since)
    remembers(stage, broadcast(1))
    await stage.hear(info("$later", "started"))
    await stage.hear(chunk("$c1", 1))
    await passes(stage, 5)
    assert await is_followed(stage)
    async with stage.store.read() as db:
        recording = await archive.recording_by_event(db, EventId("$later"))
    assert recording is not None
    assert recording.state is RecordingState.LIVE
