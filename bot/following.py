"""Work that a shell command hands to the running bot, or does itself when none runs, and follows to its end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bot import app
from bot.errors import AircheckError, ConfigError, StartError
from bot.matrix.keyfile import reseal
from bot.settings import Settings
from storage import jobs, journal, rooms
from storage.errors import StoreError
from storage.records import Job, JobKind, JobState, NewJob, RoomId
from storage.store import Store, is_owned

LOOK_EVERY_S = 0.5
ENDED = {JobState.DONE, JobState.FAILED}


@asynccontextmanager
async def at_work(settings: Settings) -> AsyncIterator[Store]:
    """A store that jobs may be added to, and somebody who does them. Raises AircheckError."""
    directory = settings.storage.path
    try:
        if is_owned(directory):
            store = await Store.look(directory)
            try:
                yield store
            finally:
                await store.close()
            return
    except StoreError as error:
        raise StartError(str(error)) from None
    async with app.running(settings) as aircheck:
        yield aircheck.store


async def follow(store: Store, job: NewJob) -> AsyncIterator[Job]:
    """Adds the job, unless it is under way already, and gives its row as it comes along, until it ends.

    Raises AircheckError when it failed.
    """
    async with store.write() as db:
        earlier = await jobs.find(db, job.kind, job.subject)
        if earlier is None or earlier.state in ENDED:  # one that was cut off goes on where it was
            await jobs.add(db, job, datetime.now(UTC))
    while True:
        async with store.read() as db:
            found = await jobs.find(db, job.kind, job.subject)
        assert found is not None
        yield found
        if found.state is JobState.FAILED:
            raise AircheckError(found.error or "it was given up")
        if found.state in ENDED:
            return
        await asyncio.sleep(LOOK_EVERY_S)


async def backfill(settings: Settings, room_id: str, since: datetime | None) -> str:
    """Finds and records a room's past broadcasts, with a progress line on a terminal; what came of it, in a sentence.

    Raises AircheckError, ConfigError for a room that the bot is not in.
    """
    began = since.isoformat() if since else None
    job = NewJob(JobKind.BACKFILL, room_id, {"room_id": room_id, "since": began})
    async with at_work(settings) as store:
        async with store.read() as db:
            room = await rooms.room(db, RoomId(room_id))
        if room is None or not room.joined:
            raise ConfigError(f"ROOM: the bot is not in {room_id}")
        with Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=Console(stderr=True)
        ) as shown:
            task = shown.add_task("looking through the history")
            async for state in follow(store, job):
                done = state
                if state.state in ENDED:
                    continue  # what it carried is gone
                found = len(state.payload.get("adopted", ())) + state.payload.get("known", 0)
                what = "recording what was found" if state.payload.get("walked") else "looking through the history"
                shown.update(task, description=f"{what}: {found} broadcasts")
                done = state
        return await _reported(store, done)


async def _reported(store: Store, done: Job) -> str:
    """What the room was told at the end."""
    async with store.read() as db:
        return await journal.get(db, f"backfilled:{done.id}") or "Done."


async def import_keys(settings: Settings, file: Path, passphrase: str) -> None:
    """Hands exported room keys to the bot. Raises AircheckError, ConfigError for what is no export."""
    async with at_work(settings) as store:
        sealed = await asyncio.to_thread(reseal, file, passphrase, store.blobs.scratch)
        payload = {"file": str(sealed.file), "passphrase": sealed.passphrase}
        try:
            async for _ in follow(store, NewJob(JobKind.KEYS, sealed.file.name, payload)):
                pass
        finally:
            await asyncio.to_thread(sealed.file.unlink, missing_ok=True)
