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
from tests.world import START, Shell, chunk, info, shell

C1, C2, C3 = EventId("$c1"), EventId("$c2"), EventId("$c3")
HOURS = timedelta(hours=5)
QUIET_S = 60
ABANDONED_S = 1800


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shell]:
    without_ffmpeg(monkeypatch)
    async with shell(tmp_path / "data") as made:
        await made.join()
        yield made


async def jump(stage: Shell, by: timedelta) -> None:
    """The clock jumps, and the worker looks at it again. It does no job here: `stage.work` does."""
    worker = Worker(stage.store, {}, stage.clock)
    stage.clock.now += by
    await worker._heed_the_clock()


async def episode(stage: Shell) -> Episode | None:
    async with stage.store.read() as db:
        return await archive.episode(db, (await stage.recording()).id)


async def state(stage: Shell) -> tuple[RecordingState, EndedBy | None]:
    found = await stage.recording()
    return found.state, found.ended_by


async def test_a_jump_forwards_in_a_broadcast_costs_nothing(stage: Shell) -> None:
    """It seems that nobody spoke for hours; what comes then re-opens the recording, and `stopped` is its end."""
    await stage.hear(info(START, "started"), chunk(C1, 1))
    await stage.work()
    await jump(stage, HOURS)
    await stage.work()
    await stage.hear(chunk(C2, 2))
    await stage.work()
    await stage.hear(chunk(C3, 3), info("$stop", "stopped", last_chunk_sequence=3))
    await stage.work()
    assert await state(stage) == (RecordingState.COMPLETE, EndedBy.STOPPED)
    made = await episode(stage)
    assert made is not None
    assert (made.samples, made.published_at) == (3 * 48_000, stage.clock())
    assert len([one for one in await stage.waiting(orders.Notice.kind) if one.get("reply_to") == START]) == 1


async def test_a_jump_forwards_before_the_last_chunk_publishes_nothing_for_good(stage: Shell) -> None:
    """The quiet period is over at once; the chunk that was on its way heals the episode under its GUID."""
    await stage.hear(info(START, "started"), chunk(C1, 1), info("$stop", "stopped", last_chunk_sequence=2))
    await stage.work()
    await jump(stage, HOURS)
    await stage.work()
    before = await episode(stage)
    await stage.hear(chunk(C2, 2))
    await stage.work()
    after = await episode(stage)
    assert await state(stage) == (RecordingState.COMPLETE, EndedBy.STOPPED)
    assert before is not None
    assert after is not None
    assert (after.guid, after.samples) == (before.guid, 2 * 48_000)


async def test_a_jump_backwards_leaves_no_work_lying(stage: Shell) -> None:
    """What was written down by the clock that was ahead is done now, not in five hours."""
    await stage.hear(info(START, "started"), chunk(C1, 1))
    await jump(stage, -HOURS)
    await stage.hear(chunk(C2, 2), info("$stop", "stopped", last_chunk_sequence=2))
    await stage.work()
    assert await state(stage) == (RecordingState.COMPLETE, EndedBy.STOPPED)
    assert await episode(stage) is not None


async def test_a_jump_backwards_keeps_the_pauses_that_were_wished(stage: Shell) -> None:
    """Each job waits as much longer as it had to wait before the jump."""
    now = stage.clock()
    async with stage.store.write() as db:
        await jobs.add(
            db, orders.Direct.address(UserId("@a:hs"), RoomId("!r:hs")).job(now + timedelta(seconds=30)), now
        )
    await jump(stage, -HOURS)
    async with stage.store.read() as db:
        assert await jobs.next_due(db, [orders.Direct.kind]) == stage.clock() + timedelta(seconds=30)


async def test_a_jump_backwards_in_the_quiet_period_keeps_back_no_episode(stage: Shell) -> None:
    """What is there is an episode within two minutes of the clock that counts now."""
    await stage.hear(info(START, "started"), chunk(C1, 1), info("$stop", "stopped", last_chunk_sequence=2))
    await stage.work()
    await jump(stage, -HOURS)
    for _ in range(2):
        stage.clock.pass_by(QUIET_S)
        await stage.work()
    assert await state(stage) == (RecordingState.INCOMPLETE, EndedBy.STOPPED)
    assert await episode(stage) is not None


async def test_a_jump_backwards_in_a_broadcast_abandons_nobody_and_forgets_nobody(stage: Shell) -> None:
    """Who speaks on is recorded on; who doesn't is abandoned after half an hour of the clock that counts now."""
    await stage.hear(info(START, "started"), chunk(C1, 1))
    await stage.work()
    await jump(stage, -HOURS)
    await stage.hear(chunk(C2, 2))
    await stage.work()
    assert await state(stage) == (RecordingState.LIVE, None)
    stage.clock.pass_by(ABANDONED_S)
    await stage.work()
    stage.clock.pass_by(QUIET_S)
    await stage.work()
    assert await state(stage) == (RecordingState.INCOMPLETE, EndedBy.ABANDONED)
    async with stage.store.read() as db:
        assert await jobs.count(db, JobState.FAILED) == 0


async def test_a_worker_heeds_the_clock_also_when_it_was_set_back_while_it_was_down(
    stage: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job of yesterday's wrong clock is done as soon as the lanes run, or look again."""
    monkeypatch.setattr(lanes, "LOOK_AT_LEAST_EVERY_S", 0.01)
    clock = stage.clock
    done = {name: asyncio.Event() for name in ("while down", "while it runs")}

    async def handler(job: Job) -> None:
        if job.kind == orders.Forget.kind:
            done[job.subject].set()

    async def plan(name: str) -> None:
        async with stage.store.write() as db:
            await jobs.add(db, NewJob(orders.Forget.kind, name, {}, clock() + timedelta(seconds=30)), clock())

    async def looked() -> None:
        with stage.store.changes.subscribe() as changed:
            while worker._latest != clock():
                await changed.wait()
                changed.clear()

    await plan("while down")
    clock.now -= HOURS
    worker = Worker(stage.store, dict.fromkeys(orders.KINDS, handler), clock)
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
