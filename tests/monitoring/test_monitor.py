"""The look at a running process."""

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot import orders
from bot.monitoring import monitor as monitoring
from bot.monitoring.gauges import Probes
from bot.monitoring.monitor import Monitor
from storage import jobs, journal, overview
from storage.blobs import standing
from storage.records import ChunkState, HeardEvent, JobState, NewJob, Position, SessionId
from tests.web.world import World, settings_with, world_of


@asynccontextmanager
async def monitored(world: World, **probes: Any) -> AsyncIterator[Monitor]:
    monitor = Monitor(world.store, settings_with(), world.clock, Probes(**{"works": lambda: True} | probes))
    try:
        yield monitor
    finally:
        await monitor.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_of(tmp_path) as (made, _):
        yield made


async def test_figures(world: World) -> None:
    """A look finds rooms, recordings, chunks, jobs, and events that wait."""
    room = await world.room()
    recording = await world.recording(room)
    await world.episode(recording, b"ID3" + bytes(97))
    await world.chunk(recording, 1, ChunkState.STORED)
    await world.chunk(recording, 2, ChunkState.WAITING_FOR_KEY)
    async with world.store.write() as db:
        await jobs.add(db, NewJob(orders.Tick.kind, "1", {}), world.clock())
        heard = HeardEvent(room.room_id, "$e", {"type": "m.room.encrypted"}, Position(0), encrypted=True)  # type: ignore[arg-type]
        await journal.add(db, heard, world.clock())
    async with monitored(world) as monitor:
        seen = await monitor.look()
        assert seen.overview is not None
        assert (seen.overview.rooms, seen.overview.unhandled) == (1, 1)
        assert seen.overview.jobs[orders.Tick.kind, JobState.READY] == 1
        assert seen.overview.oldest_due[orders.Tick.kind] == world.clock()
        assert (seen.database, seen.problems) == ("sqlite", frozenset())
        assert (seen.database_bytes or 0) > 100_000
        while seen.totals is None:
            await asyncio.sleep(0)
            seen = await monitor.look()
        assert seen.totals.chunks == {ChunkState.STORED: 1, ChunkState.WAITING_FOR_KEY: 1}
        assert (seen.totals.stored["episodes"], seen.totals.episodes, seen.totals.lost) == (100, 1, 0)


async def test_one_look_for_all(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask at once, the database is asked once in five seconds."""
    looks, look = 0, overview.look

    async def counted(*of: Any) -> Any:
        nonlocal looks
        looks += 1
        return await look(*of)

    monkeypatch.setattr(overview, "look", counted)
    async with monitored(world) as monitor:
        await asyncio.gather(*(monitor.report() for _ in range(20)))
        await monitor.report()
        assert looks == 1
        world.clock.pass_by(6)
        await monitor.report()
        assert looks == 2


async def test_a_database_that_hangs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the database hangs, everybody is answered, with that as the problem; after half a minute the process does
    not work. All is well again when it answers."""
    gate, look = asyncio.Event(), overview.look

    async def hanging(*of: Any) -> Any:
        await gate.wait()
        return await look(*of)

    monkeypatch.setattr(overview, "look", hanging)
    monkeypatch.setattr(monitoring, "WAIT_S", 0.01)
    async with monitored(world) as monitor:
        assert (await monitor.report()).works
        world.clock.pass_by(10)
        report = await monitor.report()
        assert report.works
        assert [problem.what for problem in report.problems] == ["database"]
        assert report.problems[0].since == world.clock() - timedelta(seconds=10)
        assert (await monitor.look()).overview is None
        world.clock.pass_by(21)
        assert not (await monitor.report()).works
        gate.set()
        monkeypatch.setattr(monitoring, "WAIT_S", 60)
        report = await monitor.report()
        assert report.works
        assert report.problems == ()


async def test_a_disk_that_hangs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk hangs, as a network file system whose server is away does, everybody is answered, with that as the
    problem and without figures of before; after half a minute the process does not work."""
    hangs = threading.Event()
    monkeypatch.setattr(monitoring, "WAIT_S", 0.01)
    async with monitored(world) as monitor:
        seen = await monitor.look()
        while seen.totals is None:
            await asyncio.sleep(0)
            seen = await monitor.look()
        monkeypatch.setattr(shutil, "disk_usage", lambda _: hangs.wait() and None)
        try:
            world.clock.pass_by(10)
            assert (await monitor.report()).problems == ()
            world.clock.pass_by(10)
            (problem,) = (await monitor.report()).problems
            assert (problem.what, problem.since) == ("database", world.clock() - timedelta(seconds=10))
            assert "the disk of storage.directory" in problem.detail
            seen = await monitor.look()
            assert (seen.overview, seen.totals, seen.database_bytes, seen.free_bytes) == (None, None, None, None)
            world.clock.pass_by(21)
            assert not (await monitor.report()).works
        finally:
            hangs.set()


async def test_since_when(world: World) -> None:
    """A problem whose beginning nobody wrote down began when it was seen first."""
    async with monitored(world) as monitor:
        first = world.clock()
        monitor._storage = monitor._storage.model_copy(update={"min_free_bytes": 1 << 60})
        assert [problem.since for problem in (await monitor.report()).problems] == [first]
        world.clock.pass_by(60)
        assert [problem.since for problem in (await monitor.report()).problems] == [first]


async def test_a_job_that_hangs(world: World) -> None:
    """A job that has run for six hours without an end is a problem, unless it stored progress meanwhile."""
    async with world.store.write() as db:
        await jobs.add(db, NewJob(orders.Tick.kind, "1", {}), world.clock())
        (job,) = await jobs.claim(db, [orders.Tick.kind], world.clock(), 1)
    async with monitored(world) as monitor:
        seen = await monitor.look()
        assert seen.overview is not None
        assert seen.overview.running_since == {orders.Tick.kind: world.clock()}
        world.clock.pass_by(5 * 3600)
        async with world.store.write() as db:
            await jobs.note(db, job.id, NewJob(orders.Tick.kind, "1", {"at": 1}), world.clock())
        world.clock.pass_by(5 * 3600)
        assert (await monitor.report()).problems == ()
        world.clock.pass_by(3600)
        (problem,) = (await monitor.report()).problems
        assert (problem.what, problem.detail) == ("jobs", "A job (tick) has run for 6 hours without progress.")


async def test_keys_that_do_not_come(world: World) -> None:
    """Events that have waited for their key for an hour are a problem, with their number and no name."""
    room = await world.room()
    async with world.store.write() as db:
        event = {"type": "m.room.encrypted"}
        heard = HeardEvent(room.room_id, "$e", event, Position(0), encrypted=True, session_id=SessionId("s"))  # type: ignore[arg-type]
        position = await journal.add(db, heard, world.clock())
        assert position is not None
        await journal.handled(db, replace(heard, position=position), keep=True)
    async with monitored(world) as monitor:
        assert (await monitor.report()).problems == ()
        world.clock.pass_by(3600)
        (problem,) = [each for each in (await monitor.report()).problems if each.what == "keys"]
    assert problem.detail == "1 encrypted events have waited for their keys, the oldest for 60 minutes."


async def test_a_media_store_that_fails(world: World) -> None:
    """A media store whose requests have all failed for a minute is a problem, until one is answered."""
    world.clock.now = datetime.now(UTC)
    standing.note(answered=False)
    async with monitored(world) as monitor:
        assert "media" not in [problem.what for problem in (await monitor.report()).problems]
        world.clock.pass_by(90)
        standing.note(answered=False)
        assert "media" in [problem.what for problem in (await monitor.report()).problems]
        standing.note(answered=True)
        assert "media" not in [problem.what for problem in (await monitor.report()).problems]
