"""Commands that hand their work to the running bot."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot import orders
from bot.errors import AircheckError
from bot.shell import handover
from storage import jobs
from storage.database import Connection
from storage.place import Place
from storage.records import Job, JobId, RecordingId, RoomId
from storage.store import Store

ROOM = RoomId("!r:hs")


async def test_work_that_is_under_way_is_watched_and_not_begun_anew(tmp_path: Path) -> None:
    """A job under way is watched with its progress; after its end the next call adds a new one."""
    store = await Store.own(Place(tmp_path / "data"))
    now = datetime.now(UTC)
    begun = orders.Backfill(ROOM)
    async with store.write() as db:
        await jobs.add(db, begun.job(), now)
        found = await jobs.find(db, orders.Backfill.about(ROOM))
        assert found is not None
        await jobs.note(db, found.id, replace(begun, cursor="t7").job(), now)

    async def end(job: Job) -> None:
        async with store.write() as db:
            await jobs.done(db, job.id, now)

    seen = []
    async for state in handover.watch(store, begun):
        seen.append(state)
        await end(state)
    assert seen[0].id == found.id
    assert seen[0].payload["cursor"] == "t7"
    async for state in handover.watch(store, begun):
        assert state.id != found.id
        await end(state)
    await store.close()


async def test_what_comes_after_it_is_not_waited_for(tmp_path: Path) -> None:
    """A new job replaces a waiting one at once; jobs that come after it are not watched."""
    store = await Store.own(Place(tmp_path / "data"))
    now = datetime.now(UTC)
    anew = orders.Finish(RecordingId(1), anew=True)
    later = orders.Finish(RecordingId(1)).job(now + timedelta(hours=1))
    async with store.write() as db:
        await jobs.add(db, later, now)
    states = []
    async for state in handover.watch(store, anew, anew=True):
        states.append(state.payload)
        assert state.run_at < now + timedelta(minutes=1)
        async with store.write() as db:
            await jobs.done(db, state.id, now)
            await jobs.add(db, later, now)
    assert states == [{"anew": True}, {}]
    await store.close()


async def test_work_that_was_given_up_says_why(tmp_path: Path) -> None:
    """The error of a failed job becomes the error of the command."""
    store = await Store.own(Place(tmp_path / "data"))
    now = datetime.now(UTC)

    async def give_up() -> None:
        async for state in handover.watch(store, orders.Backfill(ROOM)):
            async with store.write() as db:
                await jobs.failed(db, state.id, "the homeserver says no", now)

    with pytest.raises(AircheckError, match="the homeserver says no"):
        await give_up()
    await store.close()


async def test_a_first_try_that_fails_at_once_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A try that failed before the command first looked at its job is not taken for one of before."""
    store = await Store.own(Place(tmp_path / "data"))
    now, read, failed = datetime.now(UTC), jobs.job, False

    async def read_too_late(db: Connection, job_id: JobId) -> Job | None:
        nonlocal failed
        if not failed:
            failed = True
            async with store.claim() as claiming:
                (job,) = await jobs.claim(claiming, [orders.Backfill.kind], now + timedelta(minutes=1), 1)
            async with store.write() as writing:
                await jobs.put_back(writing, job, "the homeserver is away", now + timedelta(hours=1), now)
        return await read(db, job_id)

    monkeypatch.setattr(jobs, "job", read_too_late)
    async with asyncio.timeout(30):
        with pytest.raises(AircheckError, match="the homeserver is away; it will be tried again"):
            await handover.first_try(store, orders.Backfill(ROOM), "searching")
    await store.close()
