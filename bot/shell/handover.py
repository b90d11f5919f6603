"""Work that a command hands to the running bot, or does itself when none runs, and watches to its end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bot import app, orders
from bot.commands.find import find_recording
from bot.commands.parse import recording_name
from bot.errors import AircheckError, ConfigError, StartError
from bot.matrix import key_export
from bot.recording.lengths import spoken_length
from bot.settings import Settings
from bot.worker.key_handover import Report, clear, report_of, seal
from bot.worker.renewing import RenewingAddresses
from bot.worker.retries import ask_anew
from storage import archive, jobs, journal, rooms
from storage.errors import StoreError
from storage.records import Job, JobState, Recording, RecordingState, RoomId, to_ms
from storage.store import Store, is_owned

LOOK_EVERY_S = 0.5
ENDED = {JobState.DONE, JobState.FAILED}


@asynccontextmanager
async def at_work(settings: Settings) -> AsyncIterator[Store]:
    """Give a store for new jobs, with a worker that does them: the running bot's, or one of our own.

    Raises AircheckError.
    """
    try:
        if await is_owned(settings.storage.place):
            async with closing_store(await Store.look(settings.storage.place)) as store:
                yield store
            return
    except StoreError as error:
        raise StartError(str(error)) from None
    async with app.running(settings) as aircheck:
        yield aircheck.store


@asynccontextmanager
async def closing_store(store: Store) -> AsyncIterator[Store]:
    try:
        yield store
    finally:
        await store.close()


async def watch(store: Store, order: orders.Order, *, anew: bool = False) -> AsyncIterator[Job]:
    """Add the order's job and yield its row, at first as it was added, until it ends. Raises AircheckError when it
    failed.

    A job of this kind and subject that is under way is watched instead, unless `anew` asks for a new one.
    """
    job = order.job()
    async with store.write() as db:
        row = await jobs.find(db, job.name)
        if anew or row is None or row.state in ENDED:  # an interrupted job continues where it was
            await jobs.add(db, job, datetime.now(UTC))
            row = await jobs.find(db, job.name)
    assert row is not None
    job_id = row.id  # by its id: another job of this name may come after it
    yield row
    while True:
        async with store.read() as db:
            row = await jobs.job(db, job_id)
        if row is None:
            raise AircheckError("its job was removed: the result is not known")
        yield row
        if row.state is JobState.FAILED:
            raise AircheckError(row.error or "it was given up")
        if row.state in ENDED:
            return
        await asyncio.sleep(LOOK_EVERY_S)


async def backfill(settings: Settings, room_id: str, since: datetime | None) -> str:
    """Find and record a room's past broadcasts, with progress on a terminal; give the result as a sentence.

    Raises AircheckError, and ConfigError for a room that the bot is not in.
    """
    order = orders.Backfill(RoomId(room_id), since=since)
    async with at_work(settings) as store:
        async with store.read() as db:
            room = await rooms.room(db, order.room_id)
        if room is None or not room.joined:
            raise ConfigError(f"ROOM: the bot is not in {room_id}")
        with shown() as progress:
            task = progress.add_task("searching the history")
            async for row in watch(store, order):
                done = row
                if row.state in ENDED:
                    continue  # its payload is gone
                so_far = orders.Backfill.of(row)
                count = len(so_far.adopted) + so_far.known
                step = "recording" if so_far.walked else "searching the history"
                progress.update(task, description=f"{step}: {count} broadcasts found")
        return await _reported(store, done)


async def _reported(store: Store, done: Job) -> str:
    """Give the report with which the job ended."""
    async with store.read() as db:
        return await journal.get(db, journal.report_of(done.id)) or "Done."


async def rebuild(settings: Settings, word: str) -> str:
    """Rebuild a recording's episode from its chunks; give the result as a sentence.

    Raises AircheckError, and ConfigError for a recording that does not exist.
    """
    name = recording_name(word)
    if name is None:
        raise ConfigError(f"RECORDING: six letters, `last` or an event id, not {word}")
    async with at_work(settings) as store:
        async with store.read() as db:
            recording = await find_recording(db, None, name)
            before = await archive.episode(db, recording.id) if recording else None
        if recording is None:
            raise ConfigError(f"RECORDING: there is no {word} (`aircheck recordings` lists them)")
        requested = await _request_unusable_chunks(store, recording)
        if before is None or not recording.state.may_have_episode:
            raise AircheckError(f"{recording.code} can't be rebuilt: {_why_not(recording)}{requested}")
        await first_try(store, orders.Finish(recording.id, anew=True), "rebuilding the episode")
        async with store.read() as db:
            after = await archive.episode(db, recording.id)
    if after is None or after.made_at == before.made_at:
        raise AircheckError(f"{recording.code} changed meanwhile: try again")
    same = "the same bytes as before" if after.blob == before.blob else "another file under the same GUID"
    return f"{recording.code} was rebuilt: {spoken_length(to_ms(after.samples))}, {same}{requested}."


async def _request_unusable_chunks(store: Store, recording: Recording) -> str:
    """Request unusable chunks again; give the words that say how many, empty for none."""
    if recording.state is RecordingState.DELETED:
        return ""
    async with store.write() as db:
        count = await ask_anew(db, recording, datetime.now(UTC))
    return f"; {count} chunk{'s' * (count != 1)} requested again from the homeserver" if count else ""


async def first_try(store: Store, order: orders.Order, what: str) -> None:
    """Have an order carried out now, and show `what` is done. Raises AircheckError when its first try fails."""
    with shown() as progress:
        progress.add_task(what)
        tried: int | None = None  # tries of an older job that this one joined
        async for state in watch(store, order, anew=True):
            if tried is None:
                tried = state.attempts - (state.state is JobState.RUNNING)
            if state.state is JobState.READY and state.attempts > tried:
                raise AircheckError(f"{state.error}; it will be tried again")


def _why_not(recording: Recording) -> str:
    match recording.state:
        case RecordingState.LIVE:
            return "it is live"
        case RecordingState.FINISHING:
            return "it is being finished"
        case _:
            return "none of its sound can be played"


def shown() -> Progress:
    """Make a progress line on standard error; it shows on a terminal only."""
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    console = Console(stderr=True)
    return Progress(*columns, console=console, disable=not console.is_terminal)


async def renew_addresses(settings: Settings) -> str:
    """End all personal addresses and studios; give the result in sentences. Needs no homeserver. Raises
    AircheckError."""
    order = orders.RenewAddresses()
    try:
        if await is_owned(settings.storage.place):
            async with closing_store(await Store.look(settings.storage.place)) as store:
                async for _ in watch(store, order):
                    pass
        else:
            async with closing_store(await Store.own(settings.storage.place)) as store:
                await _renew_here(store, order)
    except StoreError as error:
        raise StartError(str(error)) from None
    return "All personal addresses have ended, and all studios. Listeners and speakers get new ones when they ask."


async def _renew_here(store: Store, order: orders.Order) -> None:
    """Do the worker's part here. The job is stored first, so that the next start does it if this process is killed."""
    job = order.job()
    async with store.write() as db:
        await jobs.add(db, job, datetime.now(UTC))
        row = await jobs.find(db, job.name)
    assert row is not None
    await RenewingAddresses(store, lambda: datetime.now(UTC))(row)
    async with store.write() as db:
        await jobs.done(db, row.id, datetime.now(UTC))


async def import_keys(settings: Settings, file: Path, passphrase: str) -> Report:
    """Hand exported room keys to the bot; give the result of each entry.

    Raises AircheckError, and ConfigError for a file that is not an export.
    """
    export = await asyncio.to_thread(key_export.read, file, passphrase)
    if not export.sessions:
        return Report(0, 0, export.refused)
    async with at_work(settings) as store:
        sealed = await asyncio.to_thread(seal, export.sessions, store.blobs.scratch)
        try:
            async for _ in watch(store, orders.ImportKeys(sealed.file, sealed.passphrase)):
                pass
            return await asyncio.to_thread(report_of, sealed, export)
        except FileNotFoundError:
            raise AircheckError("the bot was restarted meanwhile: import the keys again") from None
        finally:
            await asyncio.to_thread(clear, sealed)
