"""Work that a shell command hands to the running bot, or does itself when none runs, and follows to its end."""

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
    """A store that jobs may be added to, and somebody who does them. Raises AircheckError."""
    directory = settings.storage.path
    try:
        if is_owned(directory):
            async with closing_store(await Store.look(directory)) as store:
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


async def follow(store: Store, order: orders.Order, *, anew: bool = False) -> AsyncIterator[Job]:
    """Adds its job, unless it is under way already (`anew`: also then), and gives its row as it comes along, until
    it ends.

    Raises AircheckError when it failed.
    """
    job = order.job()
    async with store.write() as db:
        found = await jobs.find(db, job.name)
        if anew or found is None or found.state in ENDED:  # one that was cut off goes on where it was
            await jobs.add(db, job, datetime.now(UTC))
            found = await jobs.find(db, job.name)
    assert found is not None
    job_id = found.id  # another one of its kind and subject may come after it
    while True:
        async with store.read() as db:
            found = await jobs.job(db, job_id)
        if found is None:
            raise AircheckError("nobody knows any more what became of it")
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
    order = orders.Backfill(RoomId(room_id), since=since)
    async with at_work(settings) as store:
        async with store.read() as db:
            room = await rooms.room(db, order.room_id)
        if room is None or not room.joined:
            raise ConfigError(f"ROOM: the bot is not in {room_id}")
        with shown() as progress:
            task = progress.add_task("looking through the history")
            async for state in follow(store, order):
                done = state
                if state.state in ENDED:
                    continue  # what it carried is gone
                come = orders.Backfill.of(state)
                found = len(come.adopted) + come.known
                what = "recording what was found" if come.walked else "looking through the history"
                progress.update(task, description=f"{what}: {found} broadcasts")
                done = state
        return await _reported(store, done)


async def _reported(store: Store, done: Job) -> str:
    """What the room was told at the end."""
    async with store.read() as db:
        return await journal.get(db, orders.backfilled(done.id)) or "Done."


async def rebuild(settings: Settings, word: str) -> str:
    """Makes a recording's episode again from its chunks; what came of it, in a sentence.

    Raises AircheckError, ConfigError for a recording that is not there.
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
        asked = await _asked_anew(store, recording)
        if before is None or not recording.state.may_have_episode:
            raise AircheckError(f"{recording.code} can't be made again: {_why_not(recording)}{asked}")
        await _made_again(store, orders.Finish(recording.id, anew=True))
        async with store.read() as db:
            after = await archive.episode(db, recording.id)
    if after is None or after.made_at == before.made_at:
        raise AircheckError(f"{recording.code} changed meanwhile: try again")
    same = "the same bytes as before" if after.blob == before.blob else "another file under the same GUID"
    return f"{recording.code} is made again: {spoken_length(to_ms(after.samples))}, {same}{asked}."


async def _asked_anew(store: Store, recording: Recording) -> str:
    """What is said of the chunks that the homeserver is asked for again."""
    if recording.state is RecordingState.DELETED:
        return ""
    async with store.write() as db:
        count = await ask_anew(db, recording, datetime.now(UTC))
    return f"; the homeserver is asked again for {count} chunk{'s' * (count != 1)}" if count else ""


async def _made_again(store: Store, order: orders.Order) -> None:
    """Raises AircheckError when it can't be done now."""
    with shown() as progress:
        progress.add_task("making it again")
        tried: int | None = None  # before it was our job too
        async for state in follow(store, order, anew=True):
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
            return "nothing of it can be heard"


def shown() -> Progress:
    """A line on standard error while something is under way, on a terminal."""
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    console = Console(stderr=True)
    return Progress(*columns, console=console, disable=not console.is_terminal)


async def renew_addresses(settings: Settings) -> str:
    """Ends all personal addresses; what came of it, in a sentence. It needs no homeserver. Raises AircheckError."""
    directory, order = settings.storage.path, orders.RenewAddresses()
    try:
        if is_owned(directory):
            async with closing_store(await Store.look(directory)) as store:
                async for _ in follow(store, order):
                    pass
        else:
            async with closing_store(await Store.own(directory)) as store:
                await _renew_here(store, order)
    except StoreError as error:
        raise StartError(str(error)) from None
    return "All personal addresses have ended. Listeners get new ones when they ask."


async def _renew_here(store: Store, order: orders.Order) -> None:
    """What the bot's worker would do. Written down before: killed on the way, it is done by the next start."""
    job = order.job()
    async with store.write() as db:
        await jobs.add(db, job, datetime.now(UTC))
        written = await jobs.find(db, job.name)
    assert written is not None
    await RenewingAddresses(store)(written)
    async with store.write() as db:
        await jobs.done(db, written.id, datetime.now(UTC))


async def import_keys(settings: Settings, file: Path, passphrase: str) -> Report:
    """Hands exported room keys to the bot, as far as they can be taken; what became of each entry.

    Raises AircheckError, ConfigError for what is no export.
    """
    export = await asyncio.to_thread(key_export.read, file, passphrase)
    if not export.sessions:
        return Report(0, 0, export.refused)
    async with at_work(settings) as store:
        sealed = await asyncio.to_thread(seal, export.sessions, store.blobs.scratch)
        try:
            async for _ in follow(store, orders.ImportKeys(sealed.file, sealed.passphrase)):
                pass
            return await asyncio.to_thread(report_of, sealed, export)
        except FileNotFoundError:
            raise AircheckError("the bot was restarted meanwhile: import the keys again") from None
        finally:
            await asyncio.to_thread(clear, sealed)
