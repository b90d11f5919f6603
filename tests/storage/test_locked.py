"""Another process holds the database's write lock: the bot waits, says so once, and loses nothing."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from bot.recorder import recorder
from bot.worker import attempts
from storage import journal, sqlite
from storage.database import FILE_NAME
from storage.errors import StoreBusyError, StoreError
from storage.place import Place
from storage.records import RecordingState
from storage.store import Store
from tests.line.replay import Capture, Replay, address_of, assert_heard_whole, replaying

HOLD = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@asynccontextmanager
async def locked(store: Store) -> AsyncIterator[None]:
    """Hold the write lock in another process until the block ends."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOLD, str(store.directory / FILE_NAME)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert await child.stdout.readline() == b"held\n"
    try:
        yield
    finally:
        child.stdin.close()
        await child.wait()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A file, which any program can lock."""
    return Place(tmp_path / "data")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten waits of seconds to a moment."""
    monkeypatch.setattr(sqlite, "BUSY_MS", 20)
    monkeypatch.setattr(attempts, "STORE_TROUBLE_PAUSE_S", 0.01)
    monkeypatch.setattr(recorder, "STORE_TROUBLE_PAUSE_S", 0.01)


async def put(store: Store, value: str) -> None:
    async with store.write() as db:
        await journal.put(db, "key", value)


async def test_a_write_waits_for_somebody_elses_to_end(store: Store) -> None:
    """A write waits for that of a backup or another command, and readers need not wait meanwhile."""
    await put(store, "before")
    async with locked(store):
        writing = asyncio.create_task(put(store, "mine"))
        async with store.read() as db:
            assert await journal.get(db, "key") == "before"
        assert not writing.done()
    async with asyncio.timeout(10):
        await writing
    async with store.read() as db:
        assert await journal.get(db, "key") == "mine"


@pytest.mark.usefixtures("impatient")
async def test_a_lock_that_does_not_end_is_trouble_and_not_for_ever(store: Store) -> None:
    """A write that times out writes nothing and is reported in one sentence without its values; the next one works."""
    async with locked(store):
        with pytest.raises(StoreBusyError, match=r"^the database can't be used now: database is locked$"):
            await put(store, "mine")
    await put(store, "again")
    async with store.read() as db:
        assert await journal.get(db, "key") == "again"


@pytest.fixture
async def replay(tmp_path: Path, impatient: None) -> AsyncIterator[Replay]:
    async with replaying(tmp_path / "data") as made:
        yield made


@pytest.fixture
def good() -> Capture:
    return Capture("plain")


async def assert_whole(replay: Replay, good: Capture, folder: Path) -> None:
    assert (await replay.recording(good.started)).state is RecordingState.COMPLETE
    assert replay.worker.healthy
    await assert_heard_whole(await replay.audio(good.started), good.files, folder)


async def test_what_can_not_be_written_down_comes_again(replay: Replay, good: Capture, tmp_path: Path) -> None:
    """A sync that meets the lock is refused as a whole, with its token, and taken the next time."""
    await replay.move_in(good)
    async with locked(replay.store):
        with pytest.raises(StoreBusyError):
            await replay.hear(good.room, good.broadcast)
    assert await replay.intake.since() == "s2"  # of moving in
    await replay.tell(good.room, good.broadcast)
    await assert_whole(replay, good, tmp_path)


async def test_a_lock_while_chunks_are_fetched_loses_none_and_is_said_once(
    replay: Replay, good: Capture, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Downloads that can't be written down are kept for later, and each lane says so once."""
    caplog.set_level(logging.INFO)
    here = asyncio.Event()

    async def gated(_: web.Request) -> web.Response:
        await here.wait()
        return web.Response(body=upload)

    await replay.move_in(good)
    mxc, upload = next(iter(good.uploads.items()))
    replay.homeserver.answers[address_of(mxc)] = gated
    await replay.hear(good.room, good.broadcast)
    async with locked(replay.store):
        here.set()
        replay.store.changes.notify()
        refused = counted(monkeypatch)
        async with asyncio.timeout(20):
            await refused(10)
        said = trouble(caplog)
        assert len(said) == len(set(said)), said
    await replay.settled()
    await replay.pass_by(60)
    await assert_whole(replay, good, tmp_path)
    assert not [record for record in caplog.records if record.exc_info]


def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Awaitable[None]]:
    """Wait until so many writes were refused."""
    number, news, named = 0, asyncio.Event(), sqlite.SQLite.trouble

    def noted(engines: sqlite.SQLite, error: BaseException) -> StoreError | None:
        nonlocal number
        number += 1
        news.set()
        return named(engines, error)

    async def until(wanted: int) -> None:
        while number < wanted:
            news.clear()
            await news.wait()

    monkeypatch.setattr(sqlite.SQLite, "trouble", noted)
    return until


def trouble(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "database is locked" in record.getMessage()]
