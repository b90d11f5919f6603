"""The machine's clock jumps, as when it was wrong until the network told it the time: nothing is lost or stuck."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from bot import orders
from bot.worker import lanes
from bot.worker.lanes import Worker
from storage import archive, jobs
from storage.records import EndedBy, Episode, EventId, Job, JobState, NewJob, RecordingState, RoomId, UserId
from tests.worker.quick import without_ffmpeg
from tests.world import START, World, chunk, info, world_of

C1, C2, C3 = EventId("$c1"), EventId("$c2"), EventId("$c3")
HOURS = timedelta(hours=5)
QUIET_S = 60
ABANDONED_S = 1800


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    without_ffmpeg(monkeypatch)
    async with world_of(tmp_path / "data") as made:
        await made.join()
        yield made


async def jump(world: World, by: timedelta) -> None:
    """The clock jumps, and the worker looks at it again. It does no job here: `world.work` does."""
    worker = Worker(world.store, {}, world.clock)
    world.clock.now += by
    await worker._heed_the_clock()


async def episode(world: World) -> Episode | None:
    async with world.store.read() as db:
        return await archive.episode(db, (await world.recording()).id)


async def state(world: World) -> tuple[RecordingState, EndedBy | None]:
    found = await world.recording()
    return found.state, found.ended_by


async def test_a_jump_forwards_in_a_broadcast_costs_nothing(world: World) -> None:
    """After a jump forwards the broadcast counts as abandoned; the next chunk re-opens it, and `stopped` ends it."""
    await world.begin(chunk(C1, 1))
    await world.work()
    await jump(world, HOURS)
    await world.work()
    await world.hear(chunk(C2, 2))
    await world.work()
    await world.hear(chunk(C3, 3), info("$stop", "stopped", last_chunk_sequence=3))
    await world.work()
    assert await state(world) == (RecordingState.COMPLETE, EndedBy.STOPPED)
    made = await episode(world)
    assert made is not None
    assert (made.samples, made.published_at) == (3 * 48_000, world.clock())
    assert len([one for one in await world.waiting(orders.Notice.kind) if one.get("reply_to") == START]) == 1


async def test_a_jump_forwards_before_the_last_chunk_publishes_nothing_for_good(world: World) -> None:
    """A jump forwards ends the quiet period; a chunk that comes later heals the episode under its GUID."""
    await world.begin(chunk(C1, 1), info("$stop", "stopped", last_chunk_sequence=2))
    await world.work()
    await jump(world, HOURS)
    await world.work()
    before = await episode(world)
    await world.hear(chunk(C2, 2))
    await world.work()
    after = await episode(world)
    assert await state(world) == (RecordingState.COMPLETE, EndedBy.STOPPED)
    assert before is not None
    assert after is not None
    assert (after.guid, after.samples) == (before.guid, 2 * 48_000)


async def test_a_jump_backwards_leaves_no_work_lying(world: World) -> None:
    """Jobs due by a clock that was five hours ahead are done at once after it is corrected."""
    await world.begin(chunk(C1, 1))
    await jump(world, -HOURS)
    await world.hear(chunk(C2, 2), info("$stop", "stopped", last_chunk_sequence=2))
    await world.work()
    assert await state(world) == (RecordingState.COMPLETE, EndedBy.STOPPED)
    assert await episode(world) is not None


async def test_a_jump_backwards_keeps_the_pauses_that_were_wished(world: World) -> None:
    """After a jump backwards each job waits for as long as it had left."""
    now = world.clock()
    async with world.store.write() as db:
        await jobs.add(
            db, orders.Direct.address(UserId("@a:hs"), RoomId("!r:hs")).job(now + timedelta(seconds=30)), now
        )
    await jump(world, -HOURS)
    async with world.store.read() as db:
        assert await jobs.next_due(db, [orders.Direct.kind]) == world.clock() + timedelta(seconds=30)


async def test_a_jump_backwards_in_the_quiet_period_keeps_back_no_episode(world: World) -> None:
    """After a jump backwards the episode is finished within two minutes of the corrected clock."""
    await world.begin(chunk(C1, 1), info("$stop", "stopped", last_chunk_sequence=2))
    await world.work()
    await jump(world, -HOURS)
    for _ in range(2):
        world.clock.pass_by(QUIET_S)
        await world.work()
    assert await state(world) == (RecordingState.INCOMPLETE, EndedBy.STOPPED)
    assert await episode(world) is not None


async def test_a_jump_backwards_in_a_broadcast_abandons_nobody_and_forgets_nobody(world: World) -> None:
    """After a jump backwards a live broadcast is recorded on, and a silent one abandoned after half an hour."""
    await world.begin(chunk(C1, 1))
    await world.work()
    await jump(world, -HOURS)
    await world.hear(chunk(C2, 2))
    await world.work()
    assert await state(world) == (RecordingState.LIVE, None)
    world.clock.pass_by(ABANDONED_S)
    await world.work()
    world.clock.pass_by(QUIET_S)
    await world.work()
    assert await state(world) == (RecordingState.INCOMPLETE, EndedBy.ABANDONED)
    async with world.store.read() as db:
        assert await jobs.count(db, JobState.FAILED) == 0


async def test_a_worker_heeds_the_clock_also_when_it_was_set_back_while_it_was_down(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job with a deadline of a clock that was ahead is done as soon as the lanes look at it."""
    monkeypatch.setattr(lanes, "LOOK_AT_LEAST_EVERY_S", 0.01)
    clock = world.clock
    done = {name: asyncio.Event() for name in ("while down", "while it runs")}

    async def handler(job: Job) -> None:
        if job.kind == orders.Forget.kind:
            done[job.subject].set()

    async def plan(name: str) -> None:
        async with world.store.write() as db:
            await jobs.add(db, NewJob(orders.Forget.kind, name, {}, clock() + timedelta(seconds=30)), clock())

    async def looked() -> None:
        with world.store.changes.subscribe() as changed:
            while worker._latest != clock():
                await changed.wait()
                changed.clear()

    await plan("while down")
    clock.now -= HOURS
    worker = Worker(world.store, dict.fromkeys(orders.KINDS, handler), clock)
    await worker.start()
    try:
        async with asyncio.timeout(10):
            await looked()
            clock.pass_by(31)
            await done["while down"].wait()
            await plan("while it runs")
            clock.now -= HOURS
            await looked()
            clock.pass_by(31)
            await done["while it runs"].wait()
    finally:
        await worker.stop(1)
