"""A store that is away in the middle of a broadcast: nothing that was acknowledged is lost, and each kind of client
goes on when it is back, to the sample."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from bot.audio.opus_arriving import Stretch
from bot.demo.slicing import Slicer, speech
from bot.dialects.studio import started_id
from bot.shell import broadcast as shell_broadcast
from bot.shell.broadcast import Options, broadcast
from bot.studio import broadcasting
from bot.studio.broadcasting import Broadcasting
from storage import studios
from storage.database import Connection, Database
from storage.errors import DiskFullError, StoreBusyError
from storage.records import EndedBy, RecordingState, Studio, StudioSource, StudioState
from tests.buckets.faults import Exchange, Proxy, refused
from tests.buckets.servers import TestBucket
from tests.connections import connected
from tests.lab import decode
from tests.line.replay import ALICE
from tests.studio.air import ROOM, TOKEN, Air, Sound, as_file, assert_aligned, spoken
from tests.web.test_sources import request, send
from tests.web.test_sources import status as status_of
from tests.web.tower import WITHIN_S, Tower, tower_over


@dataclass
class Trouble:
    """A store that is away while `now`. `met`: somebody was refused for it."""

    now: bool = False
    met: asyncio.Event = field(default_factory=asyncio.Event)
    sections: dict[str, Any] = field(default_factory=dict)
    """Settings under which the store can have it."""
    begin: Callable[[], None] = lambda: None
    end: Callable[[], None] = lambda: None

    def starts(self) -> None:
        self.now = True
        self.begin()

    async def passes(self) -> None:
        """Wait until somebody was refused, and mend the store."""
        async with asyncio.timeout(WITHIN_S):
            await self.met.wait()
        self.now = False
        self.end()


@pytest.fixture(params=["disk", "full database", "database", "bucket"])
async def trouble(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Trouble:
    """A disk without space for files, a database without space, one that does not answer, and a bucket that refuses its
    keys."""
    made = Trouble()
    monkeypatch.setattr(broadcasting, "TROUBLE_S", (0.01,))
    monkeypatch.setattr(broadcasting, "MOST_TROUBLE_S", 3600.0)
    match request.param:
        case "disk":
            of_disk(made, monkeypatch)
        case "bucket":
            of_bucket(made, request.getfixturevalue("bucket"), request.getfixturevalue("proxy"))
        case "full database":
            of_database(made, DiskFullError("the disk is full"), monkeypatch)
        case _:
            of_database(made, StoreBusyError("the database does not answer"), monkeypatch)
    return made


def of_disk(trouble: Trouble, monkeypatch: pytest.MonkeyPatch) -> None:
    real, loop = os.fsync, asyncio.get_running_loop()

    def fsync(descriptor: int) -> None:
        if trouble.now:
            loop.call_soon_threadsafe(trouble.met.set)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


def of_database(trouble: Trouble, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[[Database], AbstractAsyncContextManager[Connection]] = Database.write

    @asynccontextmanager
    async def write(database: Database) -> AsyncIterator[Connection]:
        async with real(database) as db:
            yield db
            if trouble.now:
                trouble.met.set()
                raise error

    monkeypatch.setattr(Database, "write", write)


def of_bucket(trouble: Trouble, bucket: TestBucket, proxy: Proxy) -> None:
    loop = asyncio.get_running_loop()
    away = refused(403, "ExpiredToken")  # others are tried again on the way

    def fault(exchange: Exchange) -> bool:
        loop.call_soon_threadsafe(trouble.met.set)
        return away(exchange)

    def begin() -> None:
        proxy.always = fault

    def end() -> None:
        proxy.always = None

    trouble.sections = {"storage": {"media_url": bucket.url(proxy.endpoint)}}
    trouble.begin, trouble.end = begin, end


@pytest.fixture
async def tower(tmp_path: Path, trouble: Trouble) -> AsyncIterator[Tower]:
    async with tower_over(tmp_path / "data", **trouble.sections) as made:
        yield made


async def assert_whole(air: Air, studio: Studio, truth: Sound) -> None:
    """Check that the broadcast is complete, and its episode this sound, to the sample."""
    await air.settled()
    assert (await air.now(studio)).state is StudioState.OVER
    recording = await air.recording(studio)
    assert (recording.state, recording.ended_by) == (RecordingState.COMPLETE, EndedBy.STOPPED)
    episode = await air.bot.episode(started_id(studio))
    assert episode is not None
    found = decode(await air.bot.store.blobs.read(episode.blob))
    assert len(found) == len(truth)
    assert_aligned(found, truth)
    assert list(air.bot.store.blobs.scratch.glob("studio-*")) == []


async def test_page(tower: Tower, trouble: Trouble) -> None:
    """A slice that a page sends meanwhile is put off with 503 or 507, and taken when it is sent again."""
    studio = await tower.air.studio(StudioSource.PAGE, TOKEN)
    slicer = Slicer(7, 2.0)
    take = [*slicer.feed(speech(1)[:500]), slicer.end()]
    root = f"http://127.0.0.1:{tower.port}/studio/{TOKEN}/"
    async with ClientSession(headers={"X-Client": "the-page"}) as http:

        async def put(number: int) -> int:
            async with http.put(f"{root}slice-{number}", data=take[number - 1].data) as answer:
                return answer.status

        async def step(name: str, **said: Any) -> int:
            async with http.post(root + name, json={"client": "the-page"} | said) as answer:
                return answer.status

        assert await step("start") == 200
        assert [await put(number) for number in (1, 2)] == [201, 201]
        trouble.starts()
        mending = asyncio.create_task(trouble.passes())
        assert await put(3) in (503, 507)
        await mending
        for number in range(3, len(take) + 1):
            assert await put(number) in (201, 200)  # it may have been there, and not said to be
        assert await step("stop", last=len(take)) == 200
    await assert_whole(tower.air, studio, decode(slicer.ogg()))


async def test_source(tower: Tower, trouble: Trouble) -> None:
    """A source client waits for the store, and sees nothing of it but that its sound is taken later."""
    studio = await tower.air.studio(StudioSource.CLIENT, TOKEN)
    truth = spoken(17)
    data = await as_file(truth, "-f", "flac")
    async with connected(tower.port) as line:
        line.writer.write(request(f"Content-Length: {len(data)}", method="PUT"))
        assert await status_of(line) == 200
        await send(line, data[: len(data) // 2])
        await tower.has_slices(studio, 2)
        trouble.starts()
        mending = asyncio.create_task(trouble.passes())
        await send(line, data[len(data) // 2 :])
        await mending
        async with asyncio.timeout(WITHIN_S):
            assert await line.reader.read() == b""
    await assert_whole(tower.air, studio, truth)


async def test_command(
    tower: Tower, trouble: Trouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """`aircheck broadcast` says on standard error that its sound waits, and goes on by itself."""
    truth = spoken(17)
    file = tmp_path / "show.flac"
    file.write_bytes(await as_file(truth, "-f", "flac"))
    real = Broadcasting.put

    async def put(self: Broadcasting, stretch: Stretch) -> None:
        if self.number == 2 and not trouble.met.is_set() and not trouble.now:
            trouble.starts()
        await real(self, stretch)

    monkeypatch.setattr(Broadcasting, "put", put)
    monkeypatch.setattr(shell_broadcast, "FINISHED_WITHIN_S", 0.0)  # nothing is done in this bot before it is settled
    mending = asyncio.create_task(trouble.passes())
    async with asyncio.timeout(WITHIN_S):
        said = await broadcast(tower.air.bot.settings, Options(ROOM, str(file), fast=True, speaker=ALICE))
    await mending
    assert "17 s in 5 slices are stored" in said
    assert "a studio's sound waits" in caplog.text
    async with tower.air.bot.store.read() as db:
        (studio,) = [one for number in range(1, 3) if (one := await studios.get(db, number)) is not None]  # type: ignore[arg-type]
    await assert_whole(tower.air, studio, truth)
