"""Jobs: once, again, later, never lost."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from storage import claims, jobs, workers
from storage.errors import ClaimLostError
from storage.place import Place
from storage.records import Job, JobKind, JobName, JobState, NewJob
from storage.store import Store

KINDS = COVER, DIRECT, ENCODE, FETCH, FINISH, NOTICE, TICK = [
    JobKind(name) for name in ("cover", "direct", "encode", "fetch", "finish", "notice", "tick")
]
NOW = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)


async def claim(store: Store, now: datetime = NOW) -> tuple[Job, ...]:
    async with store.claim() as db:
        return await jobs.claim(db, KINDS, now, 10)


async def test_the_same_ready_job_is_one_job_and_the_earlier_time_wins(store: Store) -> None:
    """A second job of the same kind and subject moves the first forward, never back."""
    async with store.write() as db:
        await jobs.add(db, NewJob(TICK, "1", {}, NOW + timedelta(minutes=5)), NOW)
        await jobs.add(db, NewJob(TICK, "1", {}, NOW + timedelta(minutes=1)), NOW)
        await jobs.add(db, NewJob(TICK, "1", {}, NOW + timedelta(minutes=9)), NOW)
        assert await jobs.next_due(db, KINDS) == NOW + timedelta(minutes=1)
    assert await claim(store) == ()
    assert [job.subject for job in await claim(store, NOW + timedelta(minutes=2))] == ["1"]


async def test_a_job_that_came_while_its_twin_ran_is_done_too(store: Store) -> None:
    """A job added while one of its name runs is run after it."""
    async with store.write() as db:
        await jobs.add(db, NewJob(FINISH, "1", {}), NOW)
    (first,) = await claim(store)
    async with store.write() as db:
        await jobs.add(db, NewJob(FINISH, "1", {}), NOW)
        await jobs.done(db, first.id, NOW)
    assert len(await claim(store)) == 1


async def test_a_once_only_job_is_never_written_twice(store: Store) -> None:
    """A once-only job is not added again, even after it was done."""
    async with store.write() as db:
        await jobs.add(db, NewJob(NOTICE, "hello", {}, once=True), NOW)
    (job,) = await claim(store)
    async with store.write() as db:
        await jobs.done(db, job.id, NOW)
        await jobs.add(db, NewJob(NOTICE, "hello", {}, once=True), NOW)
        await jobs.prune(db, NOW + timedelta(days=99), timedelta(days=1))
        await jobs.add(db, NewJob(NOTICE, "hello", {}, once=True), NOW)
    assert await claim(store) == ()


async def test_what_ran_when_the_process_died_runs_again(store: Store) -> None:
    """A job that was running at the end of a process is ready after the next start, also beside a namesake."""
    async with store.write() as db:
        await jobs.add(db, NewJob(FETCH, "a", {}), NOW)
        await jobs.add(db, NewJob(FETCH, "b", {}), NOW)
    assert len(await claim(store)) == 2
    async with store.write() as db:
        await jobs.add(db, NewJob(FETCH, "b", {}), NOW)
        assert await jobs.recover(db, NOW) == 2
    again = await claim(store)
    assert sorted(job.subject for job in again) == ["a", "b"]
    assert {job.subject: job.attempts for job in again}["a"] == 1
    async with store.read() as db:
        assert await jobs.count(db, JobState.RUNNING) == 2


async def test_jobs_of_the_bot_are_not_taken_back_as_those_of_lost_workers(store: Store) -> None:
    """A job that the bot itself runs stays its own, whether or not there are workers beside it; that of a worker which
    left, or is not on the list, is ready again."""
    for subject, worker in (("of the bot", None), ("of the lost", "lost")):
        async with store.write() as db:
            await jobs.add(db, NewJob(FETCH, subject, {}), NOW)
        async with store.claim() as db:
            await jobs.claim(db, KINDS, NOW, 1, worker=worker)
    for name in ("there", None):
        async with store.write() as db:
            if name is not None:
                await workers.enter(db, name, "host")
            assert await jobs.any_lost(db) is (name is not None)
            assert await workers.take_off(db, (), NOW) == (1 if name is not None else 0)
            await workers.leave(db, "there", NOW)
            assert {job.subject for job in await jobs.unfinished(db, FETCH) if job.state is JobState.RUNNING} == {
                "of the bot"
            }


async def test_put_back_waits_and_hasten_wakes(store: Store) -> None:
    """A job that is put back runs at its time, or when it is hastened."""
    async with store.write() as db:
        await jobs.add(db, NewJob(DIRECT, "@a:hs|!r", {}), NOW)
    (job,) = await claim(store)
    async with store.write() as db:
        await jobs.put_back(db, job, "not joined yet", NOW + timedelta(days=7), NOW)
    assert await claim(store, NOW + timedelta(days=1)) == ()
    async with store.write() as db:
        await jobs.hasten(db, JobName(DIRECT, "@a:hs|"), NOW)
    assert len(await claim(store)) == 1


async def test_cancelled_jobs_do_not_run(store: Store) -> None:
    """A cancelled job is not claimed."""
    async with store.write() as db:
        await jobs.add(db, NewJob(FINISH, "1", {}), NOW)
        await jobs.cancel(db, [JobName(FINISH, "1")])
    assert await claim(store) == ()


async def test_a_job_waits_while_its_twin_runs(store: Store) -> None:
    """A job of the same name as a running one is not claimed, and its due time wakes nobody."""
    async with store.write() as db:
        await jobs.add(db, NewJob(FINISH, "1", {}), NOW)
    (first,) = await claim(store)
    async with store.write() as db:
        await jobs.add(db, NewJob(FINISH, "1", {}), NOW)
        assert await jobs.next_due(db, KINDS) is None
    assert await claim(store) == ()
    async with store.write() as db:
        await jobs.done(db, first.id, NOW)
    assert len(await claim(store)) == 1


async def test_of_a_job_that_is_put_back_and_its_twin_the_earlier_time_counts(store: Store) -> None:
    """A job to be retried in a second does not wait for the one of its name that is planned in an hour."""
    async with store.write() as db:
        await jobs.add(db, NewJob(FINISH, "1", {}), NOW)
    (first,) = await claim(store)
    async with store.write() as db:
        await jobs.add(db, NewJob(FINISH, "1", {}, NOW + timedelta(hours=1)), NOW)
        await jobs.put_back(db, first, "later", NOW + timedelta(seconds=1), NOW)
        assert await jobs.next_due(db, KINDS) == NOW + timedelta(seconds=1)


async def test_what_a_failed_job_carried_is_not_kept(store: Store) -> None:
    """The payload of a failed job, which may hold words and addresses, is deleted."""
    async with store.write() as db:
        await jobs.add(db, NewJob(NOTICE, "n", {"body": "words"}), NOW)
    (job,) = await claim(store)
    async with store.write() as db:
        await jobs.failed(db, job.id, "forbidden", NOW)
        found = await jobs.find(db, JobName(NOTICE, "n"))
    assert found is not None
    assert (found.state, found.payload) == (JobState.FAILED, {})


async def test_what_a_ready_job_carries_is_not_lost_to_a_twin_that_carries_nothing(store: Store) -> None:
    """The newest payload counts, but an empty one does not replace another."""
    async with store.write() as db:
        for payload in ({"anew": True}, {}):
            await jobs.add(db, NewJob(FINISH, "1", payload), NOW)
        (job,) = await jobs.claim(db, KINDS, NOW, 10)
        assert job.payload == {"anew": True}
        for payload in ({"anew": True}, {"anew": False}):
            await jobs.add(db, NewJob(FINISH, "2", payload), NOW)
        (job,) = await jobs.claim(db, KINDS, NOW, 10)
        assert job.payload == {"anew": False}


async def test_what_runs_hands_on_what_it_carries_when_it_is_put_back(store: Store) -> None:
    """A job that is put back gives its payload to one of its name that has none."""
    for subject, words, kept in (("1", {}, {"anew": True}), ("2", {"anew": False}, {"anew": False})):
        async with store.write() as db:
            await jobs.add(db, NewJob(FINISH, subject, {"anew": True}), NOW)
            (job,) = await jobs.claim(db, KINDS, NOW, 10)
            await jobs.add(db, NewJob(FINISH, subject, words), NOW)
            await jobs.put_back(db, job, "later", NOW, NOW)
            (twin,) = await jobs.claim(db, KINDS, NOW, 10)
        assert (twin.id != job.id, twin.payload) == (True, kept)


async def test_the_next_of_each_kind_is_what_each_would_ask_for(store: Store) -> None:
    """The due times leave out jobs whose namesake runs, finished jobs, and kinds without jobs."""
    async with store.write() as db:
        await jobs.add(db, NewJob(FETCH, "a", {}), NOW)
        await jobs.add(db, NewJob(ENCODE, "1", {}), NOW)
        await jobs.add(db, NewJob(COVER, "r", {}), NOW)
    running = {job.kind: job for job in await claim(store)}
    async with store.write() as db:
        for minutes, kind, subject in (
            (0, FETCH, "a"),
            (3, FETCH, "b"),
            (2, FETCH, "c"),
            (0, ENCODE, "1"),
            (0, NOTICE, "n"),
        ):
            await jobs.add(db, NewJob(kind, subject, {}, NOW + timedelta(minutes=minutes)), NOW)
        await jobs.done(db, running[COVER].id, NOW)
        found = await jobs.next_of_each(db)
        assert found == {FETCH: NOW + timedelta(minutes=2), NOTICE: NOW}
        assert {kind: await jobs.next_due(db, [kind]) for kind in KINDS} == {kind: found.get(kind) for kind in KINDS}
        await jobs.done(db, running[ENCODE].id, NOW)
        assert (await jobs.next_of_each(db))[ENCODE] == NOW


CLAIMERS, ORDERS = 6, 60


async def test_claimers_at_once_never_get_the_same_job_nor_two_of_one_name(place: Place, store: Store) -> None:
    """Processes that claim beside each other, and beside the one that adds jobs, do each once and none of a name at
    once."""
    running: set[str] = set()
    done: list[str] = []
    several = place.database_url is not None
    claimers = [await Store.join(place) for _ in range(CLAIMERS)] if several else [store] * CLAIMERS

    async def work(claimer: Store) -> None:
        while len(done) < ORDERS:
            async with claimer.claim() as db:
                claimed = await jobs.claim(db, KINDS, NOW, 1)
            for job in claimed:
                assert job.subject not in running
                running.add(job.subject)
                await asyncio.sleep(0)
                done.append(job.payload["order"])
                async with claimer.write() as db:
                    running.discard(job.subject)
                    await jobs.done(db, job.id, NOW)

    async def order() -> None:
        """Add jobs of few names, so that most wait for one that runs."""
        for number in range(ORDERS):
            name = JobName(ENCODE, str(number % 7))
            while True:
                async with store.write() as db:
                    waiting = await jobs.find(db, name)
                    if waiting is None or waiting.state is not JobState.READY:
                        await jobs.add(db, NewJob(ENCODE, name.subject, {"order": str(number)}), NOW)
                        break
                await asyncio.sleep(0.001)

    async with asyncio.timeout(60):
        await asyncio.gather(order(), *(work(claimer) for claimer in claimers))
    assert sorted(done, key=int) == [str(number) for number in range(ORDERS)]
    for claimer in claimers if several else ():
        await claimer.close()


async def test_what_goes_on_after_its_job_writes_as_of_no_job(store: Store) -> None:
    """A task that a job started, such as a call's, writes while the job runs and after it; that of a lost one does
    not, unless it was no part of it."""
    ended = asyncio.Event()

    async def write() -> None:
        async with store.write():
            """Nothing but the check of the claim."""

    async def go_on(begun: asyncio.Event) -> None:
        await write()
        begun.set()
        await ended.wait()
        await write()

    async def begin(*, lost: bool) -> tuple[asyncio.Task[None], asyncio.Task[None]]:
        async with store.write() as db:
            await jobs.add(db, NewJob(FETCH, str(lost), {}), NOW)
        (job,) = await claim(store)
        begun = asyncio.Event(), asyncio.Event()
        with suppress(ClaimLostError), claims.holding(job):
            part = asyncio.create_task(go_on(begun[0]))
            other = asyncio.create_task(go_on(begun[1]), context=claims.of_no_job())
            await asyncio.gather(*(each.wait() for each in begun))
            async with store.write() as db:
                await jobs.done(db, job.id, NOW)
            if lost:
                await write()
        return part, other

    part, other = await begin(lost=False)
    lost_part, lost_other = await begin(lost=True)
    ended.set()
    await asyncio.gather(part, other, lost_other)
    if store.shared:
        with pytest.raises(ClaimLostError):
            await lost_part
    else:
        await lost_part
