"""The homeserver is asked before anything counts as missing, and the wait for its answer is bounded."""

import pytest

from bot import orders
from bot.errors import TryLater
from bot.intake.unheard import SHARE_OF_A_SENDER
from bot.worker.rereading import Rereading
from storage import archive, journal
from storage.records import ChunkState, EndedBy, EventId, HeardEvent, RecordingState, UserId
from tests.intake.homeserver import Memory, broadcast, changed, is_followed
from tests.world import ALICE, BOT, ROOM, World, chunk, heard, info

MINUTE_S = 60


def remembers(world: World, memory: Memory) -> None:
    world.handlers[orders.Reread.kind] = Rereading(world.store, memory, BOT, clock=world.clock)


async def passes(world: World, seconds: float) -> None:
    """Let so much time pass, and do everything that is due in it."""
    for _ in range(round(seconds)):
        world.clock.pass_by(1)
        while await world.work_one(tuple(orders.KINDS)):
            await world.settle()


async def states(world: World) -> dict[str, ChunkState]:
    recording = await world.recording()
    async with world.store.read() as db:
        return {one.id: one.state for one in await archive.chunks(db, recording.id)}


async def test_a_chunk_that_no_sync_brought_is_in_the_recording_before_it_is_decided(world: World) -> None:
    """A skipped number is asked for before the recording is decided."""
    remembers(world, broadcast(1, 2, 3, ends=True))
    await world.begin(chunk("$c1", 1), chunk("$c3", 3), info("$stop", "stopped"))
    await passes(world, MINUTE_S + 5)
    assert await states(world) == dict.fromkeys(("$c1", "$c2", "$c3"), ChunkState.STORED)
    assert (await world.recording()).state is RecordingState.COMPLETE


async def test_a_skipped_number_is_asked_for_while_the_broadcast_runs(world: World) -> None:
    """A skipped number is filled within a minute, not only at the end."""
    remembers(world, broadcast(1, 2, 3))
    await world.begin(chunk("$c1", 1), chunk("$c3", 3))
    await passes(world, MINUTE_S)
    assert (await world.recording()).state is RecordingState.LIVE
    assert set(await states(world)) == {"$c1", "$c2", "$c3"}


@pytest.mark.parametrize("in_state", [True, False], ids=["in the room's state", "among the relations"])
async def test_an_end_that_no_sync_brought_is_found_before_the_broadcast_is_abandoned(
    world: World, *, in_state: bool
) -> None:
    """A missed `stopped` is found, so that the broadcast ends as stopped and not as abandoned."""
    memory = broadcast(1, ends=not in_state)
    memory.newest = info("state:1", "stopped", last_chunk_sequence=1) if in_state else None
    remembers(world, memory)
    await world.begin(chunk("$c1", 1))
    world.clock.pass_by(1800)
    await passes(world, 5)
    recording = await world.recording()
    assert (recording.ended_by, recording.announced_last) == (EndedBy.STOPPED, 1)


async def test_asking_is_no_sign_of_life(world: World) -> None:
    """A pause that was heard before does not put off that the broadcast is abandoned."""
    memory = broadcast(1)
    memory.has(info("$p", "paused"), info("$r", "resumed"))
    remembers(world, memory)
    await world.begin(chunk("$c1", 1), info("$p", "paused"), info("$r", "resumed"))
    world.clock.pass_by(1800)
    await passes(world, 5)
    assert (await world.recording()).ended_by is EndedBy.ABANDONED


async def test_a_homeserver_that_does_not_answer_holds_no_decision_for_ever(world: World) -> None:
    """A homeserver that does not answer is waited for half a minute, and its late answer heals."""
    memory = broadcast(1, 2, 3, ends=True)
    remembers(world, memory)
    await world.begin(chunk("$c1", 1), chunk("$c3", 3), info("$stop", "stopped"))
    for _ in range(MINUTE_S + 35):
        memory.error = TryLater("the homeserver answered 500")
        await passes(world, 1)
    assert (await world.recording()).state is RecordingState.INCOMPLETE
    memory.error = None
    await passes(world, 400)
    assert (await world.recording()).state is RecordingState.COMPLETE


async def test_what_is_certain_asks_nobody_at_the_end_of_its_quiet_period(world: World) -> None:
    """Nobody is asked when every number up to the announced one is there."""
    memory = broadcast(1, 2, ends=True)
    memory.error = TryLater("the homeserver answered 500")
    remembers(world, memory)
    end = info("$stop", "stopped", last_chunk_sequence=2)
    await world.begin(chunk("$c1", 1), chunk("$c2", 2), end)
    await passes(world, 1)
    assert (await world.recording()).state is RecordingState.COMPLETE


# ---- broadcasts that nobody heard begin


async def test_a_start_that_no_sync_brought_is_found_by_its_first_chunk(world: World) -> None:
    """A broadcast whose start was missed is recorded whole once a chunk names it."""
    remembers(world, broadcast(1, 2))
    await world.hear(chunk("$c1", 1))
    await passes(world, 5)
    await world.hear(chunk("$c2", 2))
    assert set(await states(world)) == {"$c1", "$c2"}
    assert (await world.recording()).state is RecordingState.LIVE


async def test_a_start_that_no_sync_brought_is_found_by_its_pause_or_end(world: World) -> None:
    """A broadcast whose start was missed is found by any info event that names it."""
    remembers(world, broadcast(1, ends=True))
    await world.hear(info("$stop", "stopped", last_chunk_sequence=1))
    await passes(world, 5)
    assert (await world.recording()).ended_by is EndedBy.STOPPED


async def test_what_a_stranger_names_is_asked_for_a_few_times_only(world: World) -> None:
    """Hundreds of unknown names cause no row and a bounded number of jobs, and don't keep the speaker's own broadcast
    back."""
    remembers(world, broadcast(1))
    named = [changed(chunk(f"$f{number}", 1), sender="@mallory:hs") for number in range(300)]
    flood = [
        HeardEvent(one.room_id, one.event_id, {**one.event, "content": {**one.event["content"], "m.relates_to": other}})
        for number, one in enumerate(named)
        for other in ({"rel_type": "m.reference", "event_id": f"$nobody{number}"},)
    ]
    async with world.store.read() as db:
        before = await journal.position(db)
    await world.hear(*flood, chunk("$c1", 1))
    async with world.store.read() as db:
        assert await journal.position(db) == before
    assert len(await world.waiting(orders.Reread.kind)) == SHARE_OF_A_SENDER + 1
    await passes(world, 5)
    assert set(await states(world)) == {"$c1"}


async def test_somebody_elses_broadcast_is_not_recorded_because_a_chunk_names_it(world: World) -> None:
    """A chunk whose sender is not the speaker starts no recording."""
    remembers(world, broadcast(1))
    await world.hear(changed(chunk("$f", 1), sender=UserId("@mallory:hs")))
    await passes(world, 5)
    assert not await is_followed(world)


async def test_what_began_before_the_bot_came_is_not_recorded_because_a_chunk_names_it(world: World) -> None:
    """A broadcast that began before the bot joined is not recorded."""
    came = heard("$in", "m.room.member", {"membership": "join"}, state_key=BOT, sender=BOT, origin_server_ts=10)
    await world.hear(came)
    remembers(world, broadcast(1))
    await world.hear(chunk("$c1", 1))
    await passes(world, 5)
    assert not await is_followed(world)
    async with world.store.read() as db:
        assert await archive.open_broadcasts(db, ROOM, ALICE) == ()
        assert await archive.recording_by_event(db, EventId("$c1")) is None


async def test_a_start_that_is_found_late_ends_no_later_broadcast(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that is found late does not end the broadcast that its speaker began on the same device since."""

    async def nobody_came_since(*_: object) -> bool:
        return False

    monkeypatch.setattr(journal, "is_before_somebody", nobody_came_since)
    remembers(world, broadcast(1))
    await world.hear(info("$later", "started"))
    await world.hear(chunk("$c1", 1))
    await passes(world, 5)
    assert await is_followed(world)
    async with world.store.read() as db:
        recording = await archive.recording_by_event(db, EventId("$later"))
    assert recording is not None
    assert recording.state is RecordingState.LIVE
