"""Lanes: every job runs, again when it must, and none is lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import pytest

from bot import orders
from bot.errors import GiveUp, TryLater
from bot.matrix.wire import failure
from bot.worker import attempts, lanes
from bot.worker.attempts import LONGEST_PAUSE_S, TRIES_AFTER_A_MISTAKE, pause_after
from bot.worker.lanes import OF_ONE_RECORDING, Worker
from storage import jobs, rooms
from storage.database import Connection
from storage.errors import DiskFullError
from storage.place import Place
from storage.records import EventId, Job, JobId, JobKind, JobState, NewJob, Position, RoomId, UserId
from storage.store import Store
from tests.clock import Clock

SOON = 60.0


async def add(store: Store, clock: Clock, *made: NewJob) -> None:
    async with store.write() as db:
        for job in made:
            await jobs.add(db, job, clock())


@asynccontextmanager
async def at_work(store: Store, handler: Callable[[Job], Awaitable[None]], clock: Clock) -> AsyncIterator[Worker]:
    """Run a worker, and stop it whatever happens."""
    worker = Worker(store, dict.fromkeys(orders.KINDS, handler), clock)
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop(1)


async def settled(store: Store, state: JobState, number: int, *, after: asyncio.Event | None = None) -> None:
    """Wait until so many jobs are in a state, after something else has happened."""
    with store.changes.subscribe() as changed:
        async with asyncio.timeout(SOON):
            while True:
                changed.clear()
                async with store.read() as db:
                    if (after is None or after.is_set()) and await jobs.count(db, state) == number:
                        return
                await changed.wait()


async def test_jobs_of_one_lane_run_beside_each_other_up_to_its_width(store: Store) -> None:
    """Eight chunks are fetched at once, never nine."""
    clock, most, running = Clock(), 0, 0
    gate, eight = asyncio.Event(), asyncio.Event()

    async def handler(_: Job) -> None:
        nonlocal most, running
        running += 1
        most = max(most, running)
        if running == 8:
            eight.set()
        await gate.wait()
        running -= 1

    await add(store, clock, *(NewJob(orders.Fetch.kind, str(n), {}) for n in range(20)))
    async with at_work(store, handler, clock) as worker, asyncio.timeout(SOON):
        await eight.wait()
        gate.set()
        await settled(store, JobState.DONE, 20)
        assert worker.healthy
    assert most == 8


async def test_a_job_that_can_not_be_done_now_is_done_later(store: Store) -> None:
    """The job is put back for as long as the other side asks, and then runs."""
    clock, tries, tried = Clock(), [], asyncio.Event()

    async def handler(job: Job) -> None:
        tries.append(job.attempts)
        tried.set()
        if len(tries) == 1:
            raise TryLater("the homeserver is busy", after_s=30)

    await add(store, clock, NewJob(orders.Notice.kind, "n", {}))
    async with at_work(store, handler, clock):
        await settled(store, JobState.READY, 1, after=tried)
        async with store.read() as db:
            due = await jobs.next_due(db, [orders.Notice.kind])
        assert due is not None
        assert (due - clock()).total_seconds() == 30
        clock.pass_by(31)
        store.changes.notify()
        await settled(store, JobState.DONE, 1)
    assert tries == [0, 1]


async def test_what_will_never_work_is_given_up_with_its_reason(store: Store) -> None:
    """A failed job keeps a sentence for the person who looks."""
    clock = Clock()

    async def handler(_: Job) -> None:
        raise GiveUp("the bot may not speak there", reason="forbidden")

    await add(store, clock, NewJob(orders.Notice.kind, "n", {}))
    async with at_work(store, handler, clock):
        await settled(store, JobState.FAILED, 1)


@pytest.mark.parametrize(
    "error", [DiskFullError("the disk is full"), OSError(28, "No space left on device"), RuntimeError("a mistake")]
)
async def test_a_full_disk_or_a_mistake_stops_neither_lane_nor_job(store: Store, error: Exception) -> None:
    """The job waits; the lane goes on with others."""
    clock, failed = Clock(), asyncio.Event()

    async def handler(job: Job) -> None:
        if job.subject == "bad":
            failed.set()
            raise error

    await add(store, clock, NewJob(orders.Finish.kind, "bad", {}), NewJob(orders.Finish.kind, "good", {}))
    async with at_work(store, handler, clock) as worker:
        await settled(store, JobState.DONE, 1)
        await settled(store, JobState.READY, 1, after=failed)
        assert worker.healthy


async def test_a_job_cut_off_by_the_stop_runs_again_after_a_start(store: Store) -> None:
    """Running jobs get their grace, then they are cancelled; their rows still say running."""
    clock, begun, gate = Clock(), asyncio.Event(), asyncio.Event()

    async def handler(_: Job) -> None:
        begun.set()
        await gate.wait()

    await add(store, clock, NewJob(orders.Fetch.kind, "x", {}))
    worker = Worker(store, dict.fromkeys(orders.KINDS, handler), clock)
    await worker.start()
    async with asyncio.timeout(SOON):
        await begun.wait()
        await worker.stop(0.01)
    gate.set()
    async with at_work(store, handler, clock):
        await settled(store, JobState.DONE, 1)


async def test_what_would_be_lost_is_not_given_up_for_a_mistake_of_ours(store: Store) -> None:
    """The next version may do it; an answer that can't be made is given up."""
    clock = Clock()

    async def handler(_: Job) -> None:
        raise RuntimeError("a mistake")

    await add(store, clock, NewJob(orders.Finish.kind, "1", {}), NewJob(orders.Command.kind, "$c", {}))
    for _ in range(TRIES_AFTER_A_MISTAKE - 1):
        async with store.write() as db:
            for job in await jobs.claim(db, list(orders.KINDS), clock(), 9):
                await jobs.put_back(db, job, "a mistake", clock(), clock())
    async with at_work(store, handler, clock):
        await settled(store, JobState.FAILED, 1)
        await settled(store, JobState.READY, 1)


async def test_a_job_that_its_handler_can_not_read_is_given_up_at_once(store: Store) -> None:
    """Another attempt would read the same payload; a job whose loss would lose sound waits for a version that can."""
    clock = Clock()

    async def handler(job: Job) -> None:
        orders.KINDS[job.kind].of(job)

    junk = {"recording": ["junk"], "room_id": ["junk"]}
    await add(store, clock, NewJob(orders.Fetch.kind, "$1", junk), NewJob(orders.Command.kind, "$c", junk))
    async with at_work(store, handler, clock):
        await settled(store, JobState.FAILED, 1)
        await settled(store, JobState.READY, 1)


async def test_how_a_job_ended_is_written_when_the_store_can_be_written_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that says running would be nobody's until the next start."""
    clock, write, refused = Clock(), jobs.done, asyncio.Event()

    async def handler(_: Job) -> None:
        return

    async def full_once(db: Connection, job_id: JobId, now: datetime) -> None:
        if not refused.is_set():
            refused.set()
            raise DiskFullError("the disk is full")
        await write(db, job_id, now)

    monkeypatch.setattr(attempts, "STORE_TROUBLE_PAUSE_S", 0.01)
    monkeypatch.setattr(jobs, "done", full_once)
    await add(store, clock, NewJob(orders.Notice.kind, "n", {}))
    async with at_work(store, handler, clock) as worker:
        await settled(store, JobState.DONE, 1, after=refused)
        assert worker.healthy


def test_pauses_grow_and_respect_the_other_side() -> None:
    """Doubled with jitter up to an hour; never less than what was asked for."""
    assert 0.7 < pause_after(1) < 1.3
    assert pause_after(4) > pause_after(1)
    assert pause_after(60) <= LONGEST_PAUSE_S * 1.25
    assert pause_after(1, 30) == 30


async def test_a_thousand_chunks_of_one_recording_delay_no_other(store: Store) -> None:
    """However many chunks of one recording wait in front, and however long they take, another one's is done at once."""
    clock, gate, healthy, enough, running, most = Clock(), asyncio.Event(), asyncio.Event(), asyncio.Event(), 0, 0

    async def handler(job: Job) -> None:
        nonlocal running, most
        if job.subject == "healthy":
            healthy.set()
            return
        running += 1
        most = max(most, running)
        if most == OF_ONE_RECORDING:
            enough.set()
        await gate.wait()
        running -= 1

    await add(store, clock, *(NewJob(orders.Fetch.kind, f"attack {n}", {}, turn="1") for n in range(1000)))
    await add(store, clock, NewJob(orders.Fetch.kind, "healthy", {}, turn="2"))
    async with at_work(store, handler, clock), asyncio.timeout(SOON):
        await healthy.wait()
        await enough.wait()
        gate.set()
    assert most == OF_ONE_RECORDING


@pytest.mark.parametrize(
    "order",
    [
        lambda who, n: orders.Command(EventId(f"${who}{n}"), RoomId(who), UserId("@a:hs"), "help", Position(n)),
        lambda who, n: orders.Notice(f"{who}{n}", RoomId(who), "hello"),
        lambda who, n: orders.Direct(f"{who}{n}", UserId(who), body="hello"),
        lambda who, n: orders.Invite(RoomId(f"!{who}{n}"), UserId(who)),
        lambda who, n: orders.Backfill(RoomId(f"!{who}{n}"), asker=UserId(who)),
    ],
    ids=["command", "notice", "direct", "invite", "backfill"],
)
async def test_what_one_asks_for_keeps_nobody_else_waiting(
    store: Store, order: Callable[[str, int], orders.Order]
) -> None:
    """Eight hundred jobs of one room or person, all of them slow: another one's is done at once."""
    clock, gate, done = Clock(), asyncio.Event(), asyncio.Event()

    async def handler(job: Job) -> None:
        if job.turn == "other":
            done.set()
        else:
            await gate.wait()

    await add(store, clock, *(order("one", n).job() for n in range(800)))
    await add(store, clock, order("other", 0).job())
    async with at_work(store, handler, clock), asyncio.timeout(SOON):
        await done.wait()
        gate.set()


async def test_rooms_that_are_slow_hold_no_place(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Notices to slow rooms, as many as run at once, block no other room: after a while the next turn comes."""
    monkeypatch.setattr(lanes, "LONG_S", 0.01)
    clock, gate, done = Clock(), asyncio.Event(), asyncio.Event()

    async def handler(job: Job) -> None:
        if job.subject == "quick":
            done.set()
        else:
            await gate.wait()

    await add(store, clock, *(NewJob(orders.Notice.kind, f"{n}", {}, turn=f"!{n}") for n in range(8)))
    await add(store, clock, NewJob(orders.Notice.kind, "quick", {}, turn="!quick"))
    async with at_work(store, handler, clock), asyncio.timeout(SOON):
        await done.wait()
        gate.set()


async def test_a_limited_room_is_asked_again_when_the_homeserver_said(store: Store) -> None:
    """Pauses that it names do not grow by themselves; those that it doesn't name do."""
    limited = failure(429, {}, b'{"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 4000}', auth=True)
    unnamed = failure(429, {}, b'{"errcode": "M_LIMIT_EXCEEDED"}', auth=True)
    assert isinstance(limited, TryLater)
    assert isinstance(unnamed, TryLater)
    assert pause_after(20, limited.after_s, limited.at_most_s) < 7
    assert pause_after(20, unnamed.after_s, unnamed.at_most_s) > 200


async def test_all_lanes_look_once_after_a_commit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many they are, and however many jobs of each kind there are to do; not where no job was written."""
    clock, looks = Clock(), 0
    look = jobs.next_of_each

    async def counted(db: Connection) -> dict[JobKind, datetime]:
        nonlocal looks
        looks += 1
        return await look(db)

    async def handler(_: Job) -> None:
        return

    monkeypatch.setattr(jobs, "next_of_each", counted)
    await add(
        store, clock, *(NewJob(kind, str(n), {}) for kind in (orders.Notice.kind, orders.Cover.kind) for n in range(5))
    )
    before = store.changes.of("jobs")
    async with at_work(store, handler, clock):
        await settled(store, JobState.DONE, 10)
        for _ in range(20):
            async with store.write() as db:
                await rooms.touch(db, RoomId("!r"), clock())
        await add(store, clock, NewJob(orders.Notice.kind, "last", {}))
        await settled(store, JobState.DONE, 11)
    assert 0 < looks <= store.changes.of("jobs") - before + 1


async def test_a_commit_wakes_only_lanes_that_it_concerns(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job wakes the lane that does it, and a commit without jobs wakes none."""
    clock, asked, asleep = Clock(), list[JobKind](), asyncio.Event()
    outlook_of, lanes_asleep = lanes._Outlook.of, set[int]()
    rest = Worker._wait
    monkeypatch.setattr(lanes, "LOOK_AT_LEAST_EVERY_S", 3600.0)  # only commits wake lanes

    async def noted(self: lanes._Outlook, lane: lanes._Asleep) -> datetime | None:
        asked.extend(lane.kinds)
        return await outlook_of(self, lane)

    async def resting(self: Worker, changed: asyncio.Event, due: datetime | None) -> None:
        lanes_asleep.add(id(changed))
        if len(lanes_asleep) == len(lanes.LANES):
            asleep.set()
        await rest(self, changed, due)

    async def handler(_: Job) -> None:
        return

    monkeypatch.setattr(lanes._Outlook, "of", noted)
    monkeypatch.setattr(Worker, "_wait", resting)
    async with at_work(store, handler, clock), asyncio.timeout(SOON):
        await asleep.wait()
        await add(store, clock, NewJob(orders.Cover.kind, "first", {}))
        await settled(store, JobState.DONE, 1)  # what woke the lanes at their start has passed
        asked.clear()
        for _ in range(20):
            async with store.write() as db:
                await rooms.touch(db, RoomId("!r"), clock())
        await add(store, clock, NewJob(orders.Notice.kind, "n", {}))
        await settled(store, JobState.DONE, 2)
    talk = next(lane for lane in lanes.LANES if orders.Notice in lane.orders)
    assert set(asked) <= {
        *talk.kinds,
        *(kind for lane in lanes.LANES if orders.Cover in lane.orders for kind in lane.kinds),
    }
    assert asked.count(orders.Notice.kind) < 20


async def test_what_another_process_wrote_is_found_in_the_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lanes look for jobs from time to time without a notification."""
    monkeypatch.setattr(lanes, "LOOK_AT_LEAST_EVERY_S", 0.01)
    clock, done = Clock(), asyncio.Event()

    async def handler(_: Job) -> None:
        done.set()

    other = await Store.look(Place(store.directory))
    try:
        async with at_work(store, handler, clock), asyncio.timeout(SOON):
            await add(other, clock, NewJob(orders.Notice.kind, "n", {}))
            await done.wait()
    finally:
        await other.close()
