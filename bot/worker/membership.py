"""The place of a process on the list of workers: it renews its lease while it lives, and the bot takes back the jobs of
those that don't.
"""

import asyncio
import logging
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from storage import jobs, workers
from storage.database import Connection
from storage.dialect import clock
from storage.errors import StoreError
from storage.private import make_folder
from storage.store import Store

log = logging.getLogger(__name__)

RENEW_EVERY_S = workers.LEASE.total_seconds() / 4
AGAIN_S = 1.0
LOOK_EVERY_S = 5.0
MOST_OFF = timedelta(seconds=5)
"""The most by which a worker's clock may differ from the database's: jobs are due, and put off, by its own."""
FOLDER = "work"
"""The folder below the storage directory in which each worker has a scratch folder of its own."""


def scratch_of(directory: Path, name: str) -> Path:
    """Return the scratch folder of a worker."""
    return directory / FOLDER / name


class Membership:
    """A worker's name on the list, and its lease."""

    def __init__(self, name: str, host: str, store: Store, clock: Callable[[], datetime]) -> None:
        self._name = name
        self._host = host
        self._store = store
        self._clock = clock

    async def begin(self) -> None:
        """Put the worker on the list, and give its files a folder of their own. Raises StoreError, also where the clock
        is wrong, and OSError."""
        async with self._store.database.claim() as db:
            if off := await self._clock_off(db):
                raise StoreError(off)
            await workers.enter(db, self._name, self._host)
        await self._clear_scratch()
        await self._make_scratch()

    async def _make_scratch(self) -> None:
        await asyncio.to_thread(make_folder, self._store.blobs.scratch)

    async def _clock_off(self, db: Connection) -> str:
        """Return a sentence if our clock is not the database's; empty if it is."""
        off = self._clock() - await clock(db)
        if abs(off) <= MOST_OFF:
            return ""
        return f"this machine's clock is {off.total_seconds():+.0f} s off the database's: have both set by NTP"

    async def run(self) -> None:
        """Renew the lease until cancelled."""
        pause_s, said = RENEW_EVERY_S, ""
        while True:
            await asyncio.sleep(pause_s)
            try:
                async with self._store.database.claim() as db:
                    off = await self._clock_off(db)
                    listed = await workers.renew(db, self._name)
                    if not listed:
                        await workers.enter(db, self._name, self._host)
                await self._clear_scratch()
                await self._make_scratch()  # the bot may have removed it, also just after we were on the list again
            except (StoreError, OSError) as error:
                if pause_s == RENEW_EVERY_S:
                    log.warning("the lease can't be renewed, trying again: %s", error)
                pause_s = AGAIN_S
                continue
            if off and not said:
                log.error("%s", off)
            said = off
            if not listed:
                log.warning("the lease had ended: the jobs of before were given to others")
            pause_s = RENEW_EVERY_S

    async def _clear_scratch(self) -> None:
        """Remove what workers left here that were killed: a worker that was started again at once finds the one before
        it still on the list. Raises StoreError."""
        found = await asyncio.to_thread(scratch_folders, self._store.directory)
        if found <= {self._name}:
            return
        async with self._store.read() as db:  # a worker is on the list before it has a folder
            living = {worker.id for worker in await workers.present(db)}
        await asyncio.to_thread(remove_scratch, self._store.directory, found - living)

    async def end(self) -> None:
        """Take the worker off the list, with the jobs that it has not finished."""
        try:
            async with self._store.write() as db:
                await workers.leave(db, self._name, self._clock())
        except StoreError as error:  # its lease will end
            log.warning("the end of the worker can't be written: %s", error)
        await asyncio.to_thread(shutil.rmtree, self._store.blobs.scratch, ignore_errors=True)


class LostWorkers:
    """The bot's look-out for workers that were killed or cut off: their jobs are given to others."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    async def run(self) -> None:
        """Look every few seconds until cancelled."""
        while True:
            try:
                await self.look()
            except StoreError as error:
                log.debug("workers can't be looked at: %s", error)
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Take back the jobs of workers whose lease has ended. Raises StoreError."""
        async with self._store.read() as db:
            gone = await workers.expired(db)
            if not gone and not await jobs.any_lost(db):
                return
        found = await asyncio.to_thread(scratch_folders, self._store.directory)
        async with self._store.write() as db:
            count = await workers.take_off(db, gone, self._clock())
            living = {worker.id for worker in await workers.present(db)}
        for worker in gone:
            log.warning("worker on %s has not been heard of: its jobs are given to others", worker.host)
        if count:
            log.info("jobs taken back from workers: %d", count)
        await asyncio.to_thread(remove_scratch, self._store.directory, found - living)


def scratch_folders(directory: Path) -> set[str]:
    """Return the names of the workers that have a scratch folder. Blocking."""
    folder = directory / FOLDER
    return {scratch.name for scratch in folder.iterdir()} if folder.is_dir() else set()


def remove_scratch(directory: Path, names: set[str]) -> None:
    """Remove the scratch folders of these workers. Blocking."""
    for name in names:
        shutil.rmtree(scratch_of(directory, name), ignore_errors=True)
