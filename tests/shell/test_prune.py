"""`aircheck prune`, beside a running bot and without one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from bot import orders
from bot.recorder import Recorder
from bot.recording.policy import Limits
from bot.settings import Settings, validate
from bot.shell import prune as pruning
from bot.worker.attempts import Handler
from bot.worker.expiring import Expiring
from bot.worker.forgetting import Forgetting
from bot.worker.lanes import Worker
from storage import archive, jobs, rooms
from storage.errors import StoreError
from storage.records import BlobKey, EventId, JobKind, Recording, RecordingState, Retention
from storage.store import Store
from tests.blobs import folder_of
from tests.factories import ROOM, a_chunk, a_recording, a_room
from tests.postgresql import of_the_file

DAY = timedelta(days=1)


def settings_of(tmp_path: Path, **retention: int) -> Settings:
    matrix = {"homeserver": "http://127.0.0.1:1", "user_id": "@bot:hs.example", "password": "x"}
    storage = {"directory": str(tmp_path / "data"), "min_free_bytes": 0}
    return validate({"matrix": matrix, "storage": storage, "web": {"port": 0}, "retention": retention})


@contextlib.asynccontextmanager
async def a_store(settings: Settings) -> AsyncIterator[Store]:
    store = await Store.own(settings.storage.place)
    try:
        yield store
    finally:
        await store.close()


async def filled(store: Store) -> tuple[Recording, ...]:
    """Make a room with a rule of 30 days, and recordings of 1 and 31 days with a file each."""
    made = []
    async with store.write() as db:
        await rooms.save_room(db, a_room(retention=Retention(days=30)))
        for days in (1, 31):
            ended = datetime.now(UTC) - days * DAY
            row = a_recording(at=ended, ended_at=ended, event_id=EventId(f"$of{days}"))
            recording = await archive.add_recording(db, row)
            key = BlobKey(sha256(str(days).encode()).hexdigest())
            part = store.blobs.part(f"chunk{days}")
            await asyncio.to_thread(part.write_bytes, str(days).encode())
            await asyncio.to_thread(folder_of(store).add, part, key)
            chunk = a_chunk(recording_id=recording.id, event_id=EventId(f"$c{days}"), blob=key)
            await archive.save_chunks(db, [chunk])
            made.append(recording)
    return tuple(made)


async def states(store: Store) -> list[str]:
    async with store.read() as db:
        return [str(one.state) for one in await archive.recordings(db)]


def files(settings: Settings) -> int:
    return len([path for path in (settings.storage.path / "blobs").rglob("*") if path.is_file()])


@contextlib.asynccontextmanager
async def a_running_bot(store: Store, settings: Settings) -> AsyncIterator[None]:
    """Do the jobs of retention as a running bot does."""

    def clock() -> datetime:
        return datetime.now(UTC)

    recorder = Recorder(store, Limits(**settings.recording.model_dump()), clock)
    handlers: dict[JobKind, Handler] = {
        orders.Expire.kind: Expiring(store, settings, apply=recorder.apply, clock=clock),
        orders.Forget.kind: Forgetting(store),
    }
    worker, listening = Worker(store, handlers, clock), asyncio.create_task(store.database.listen())
    await worker.start()
    try:
        yield
    finally:
        await worker.stop(1)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def test_a_dry_run_lists_what_would_go_and_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line has the code, the room and the reason; neither rows nor jobs are written."""
    settings = settings_of(tmp_path, warn_days=0)
    async with a_store(settings) as store:
        _, old = await filled(store)
        await pruning.prune(settings, dry_run=True)
        assert capsys.readouterr().out == f"{old.code}\t{ROOM}\tolder than 30 days\n"
        assert await states(store) == ["complete", "complete"]
        async with store.read() as db:
            assert await jobs.unfinished(db, orders.Expire.kind) == ()


async def test_what_a_room_must_be_told_first_has_its_day(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a time of notice nothing goes yet, and the line says when it will."""
    settings = settings_of(tmp_path, max_days=20)
    async with a_store(settings) as store:
        _, old = await filled(store)
    await pruning.prune(settings, dry_run=True)
    out = capsys.readouterr().out
    assert out.startswith(f"{old.code}\t{ROOM}\tolder than 30 days: the room is told first, and it goes on ")
    assert out.count("\n") == 1


async def test_the_running_bot_does_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The order is handed over; the files are gone when the command ends."""
    settings = settings_of(tmp_path, warn_days=0)
    async with a_store(settings) as store, a_running_bot(store, settings):
        _, old = await filled(store)
        assert files(settings) == 2
        await pruning.prune(settings, dry_run=False)
        assert capsys.readouterr().out == f"{old.code}\t{ROOM}\tolder than 30 days\n"
        assert await states(store) == ["complete", "deleted"]
        assert files(settings) == 1
        await pruning.prune(settings, dry_run=False)
        assert capsys.readouterr() == ("", "nothing has to go\n")


async def test_without_a_bot_the_command_does_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No homeserver is needed to delete."""
    settings = settings_of(tmp_path, warn_days=0)
    async with a_store(settings) as store:
        _, old = await filled(store)
    await pruning.prune(settings, dry_run=False)
    assert capsys.readouterr().out == f"{old.code}\t{ROOM}\tolder than 30 days\n"
    async with a_store(settings) as store:
        assert await states(store) == [RecordingState.COMPLETE, RecordingState.DELETED]
    assert files(settings) <= 2  # the other recording's, and the room's picture


@of_the_file
async def test_there_has_to_be_a_store(tmp_path: Path) -> None:
    """A folder without a database is an error, and none is made."""
    settings = settings_of(tmp_path)
    with pytest.raises(StoreError):
        await pruning.prune(settings, dry_run=True)
    assert not settings.storage.path.exists()
