"""The store as a whole: one folder with one owner, which holds the database, the blobs, and the stems that grow."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from storage import claims
from storage.blobs.door import Blobs
from storage.blobs.opening import blobs_at
from storage.chunks import Chunks
from storage.database import Changes, Connection, Database
from storage.elsewhere import mark, refuse_elsewhere
from storage.errors import MediaStoreError, StoreError
from storage.folder_lock import FolderLock, is_locked
from storage.place import RESTORING, Place
from storage.secret import SecretFile, SharedSecret
from storage.stem_files import StemFiles

if TYPE_CHECKING:
    from storage.ownership import Ownership

log = logging.getLogger(__name__)

HOLD_EARLY_S = 5.0


class Store:
    """A store, opened by `Store.own` (the one process of the session), `Store.look` (readers beside it) or, with
    PostgreSQL, `Store.join` (others that write)."""

    def __init__(
        self,
        place: Place,
        database: Database,
        ownership: "FolderLock | Ownership | None",
        scratch: Path | None = None,
    ) -> None:
        directory = place.directory
        self.place = place
        self.directory = directory
        self.database = database
        self.blobs: Blobs = blobs_at(place, self, scratch)
        self.stems = StemFiles(directory)
        self.chunks = Chunks()
        self.secret: SecretFile | SharedSecret = SharedSecret(database) if self.shared else SecretFile(directory)
        self.ownership = ownership

    @classmethod
    async def own(cls, place: Place) -> "Store":
        """Become the owner, create missing files and folders, upgrade the database. Raises StoreLockedError while
        another process is the owner, and StoreError (newer, unwritable)."""
        ownership: FolderLock | Ownership | None = None
        database: Database | None = None
        try:
            ownership = await _take(place)
            _refuse_unfinished(place.directory)
            refuse_elsewhere(place)
            await asyncio.to_thread(mark, place)
            fence = None if isinstance(ownership, FolderLock) else ownership
            database = await Database.open(place, fence=fence)
            store = cls(place, database, ownership)
            store.blobs.prepare()
            await store.secret.load(make=True)
            await store._hold_early()
        except BaseException as error:
            if database is not None:
                await database.close()
            if ownership is not None:
                await ownership.give_back()
            if isinstance(error, OSError):
                raise StoreError(f"storage.directory {place.directory} can't be written: {error.strerror}") from None
            raise
        return store

    @classmethod
    async def look(cls, place: Place) -> "Store":
        """Open a store for reading, and for leaving jobs to its owner. It keeps no local copies of media that lie
        elsewhere. Raises StoreError when there is none."""
        _refuse_unfinished(place.directory)
        refuse_elsewhere(place)
        return await cls._beside(replace(place, cache_bytes=0), None)

    @classmethod
    async def join(cls, place: Place, scratch: Path | None = None) -> "Store":
        """Open a store that several processes write, beside its owner. `scratch`: the folder in which the files of this
        process grow. Raises StoreError."""
        if place.database_url is None:
            raise StoreError("several processes need PostgreSQL: set storage.database_url")
        return await cls._beside(place, scratch)

    @classmethod
    async def _beside(cls, place: Place, scratch: Path | None) -> "Store":
        store = cls(place, await Database.open(place, migrate_first=False), None, scratch)
        try:
            await store.secret.load()
        except BaseException:
            await store.close()
            raise
        return store

    @property
    def shared(self) -> bool:
        """Whether other processes may serve and work beside this one."""
        return self.place.database_url is not None

    @property
    def epoch(self) -> int | None:
        """The number of this ownership, by which others know that it has passed; None where it can't pass to others."""
        return self.ownership.epoch if self.ownership is not None else None

    def owns(self) -> bool:
        """Tell whether this process may use the Matrix session now."""
        return self.ownership is not None and self.ownership.holds()

    def read(self) -> AbstractAsyncContextManager[Connection]:
        return self.database.read()

    def write(self) -> AbstractAsyncContextManager[Connection]:
        return self._fenced() if self.shared else self.database.write()

    @asynccontextmanager
    async def _fenced(self) -> AsyncIterator[Connection]:
        """Begin a transaction for writing in which a job's claim still holds. Raises ClaimLostError."""
        async with self.database.write() as db:
            await claims.check(db)
            yield db

    def claim(self) -> AbstractAsyncContextManager[Connection]:
        return self.database.claim()

    @property
    def changes(self) -> Changes:
        return self.database.changes

    async def refuse_upgraded(self) -> None:
        """Refuse a shared database that a newer version has upgraded since it was opened. Raises StoreTooNewError,
        StoreError."""
        from storage import postgresql_schema  # here, for it takes memory that others need not spend

        async with self.read() as db:
            await postgresql_schema.refuse_newer(db)

    async def hold_media(self) -> None:
        """Refuse media by address that are another store's, before anything there is removed. Raises MediaHeldError,
        and MediaStoreError where that can't be told now."""
        if self.blobs.remote is not None:
            from storage.blobs import held  # who has a folder needs no obstore

            await held.hold(self, self.blobs)

    async def _hold_early(self) -> None:
        """Do the same, if the media store is there in time: without it a store begins too."""
        try:
            async with asyncio.timeout(HOLD_EARLY_S):
                await self.hold_media()
        except (MediaStoreError, TimeoutError) as error:
            log.warning("whose the media in storage.media_url are is not known yet: %s", error or "no answer")

    async def follow(self) -> None:
        """Notice commits by other processes within a second, and have no local copies of what they removed; until
        cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.database.listen())
            if self.blobs.remote is not None:
                tasks.create_task(self.blobs.remote.tend(self.changes))

    async def close(self) -> None:
        await self.blobs.close()
        await self.database.close()
        if self.ownership is not None:
            await self.ownership.give_back()


async def _take(place: Place) -> "FolderLock | Ownership":
    """Make the folder (0700) and become the owner. Raises StoreError."""
    if place.database_url is None:
        return FolderLock.take(place.directory)
    from storage.ownership import Ownership  # here, for it takes memory that others need not spend

    return await Ownership.take(place.database_url, place.directory)


def _refuse_unfinished(directory: Path) -> None:
    if (directory / RESTORING).exists():
        raise StoreError(f"a restore into {directory} was not finished: run `aircheck restore` again")


async def is_owned(place: Place) -> bool:
    """Tell whether a process owns the session now. Raises StoreError where the database can't tell."""
    if place.database_url is None:
        return await asyncio.to_thread(is_locked, place.directory)
    from storage import ownership

    return await ownership.is_owned(place.database_url)
