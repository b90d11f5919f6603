"""The store as a whole: one folder with one owner, which holds the database, the blobs, and the stems that grow."""

import fcntl
import os
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from storage.blobs import Blobs
from storage.chunks import Chunks
from storage.database import Changes, Connection, Database
from storage.errors import StoreError, StoreLockedError
from storage.private import make_folder
from storage.secret import Secret
from storage.stem_files import StemFiles

LOCK_NAME = "aircheck.lock"


class Store:
    """A store, opened by `Store.own` (the one process that writes) or `Store.look` (readers beside it)."""

    def __init__(self, directory: Path, database: Database, lock: int | None) -> None:
        self.directory = directory
        self.database = database
        self.blobs = Blobs(directory)
        self.stems = StemFiles(directory)
        self.chunks = Chunks()
        self.secret = Secret(directory)
        self._lock = lock

    @classmethod
    async def own(cls, directory: Path) -> "Store":
        """Take the lock, create missing files and folders, upgrade the database. Raises StoreError (locked, newer,
        unwritable)."""
        lock = _lock(directory)
        try:
            store = cls(directory, await Database.open(directory), lock)
            store.blobs.prepare()
        except OSError as error:
            os.close(lock)
            raise StoreError(f"storage.directory {directory} can't be written: {error.strerror}") from None
        except BaseException:
            os.close(lock)
            raise
        return store

    @classmethod
    async def look(cls, directory: Path) -> "Store":
        """Open a store for reading, and for leaving jobs to its owner. Raises StoreError when there is none."""
        return cls(directory, await Database.open(directory, migrate_first=False), None)

    def read(self) -> AbstractAsyncContextManager[Connection]:
        return self.database.read()

    def write(self) -> AbstractAsyncContextManager[Connection]:
        return self.database.write()

    @property
    def changes(self) -> Changes:
        return self.database.changes

    async def close(self) -> None:
        await self.database.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _lock(directory: Path) -> int:
    """Make the folder (0700) and take its lock. Raises StoreError."""
    try:
        make_folder(directory)
        lock = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"storage.directory {directory} can't be written: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise StoreLockedError(f"another Aircheck is running on {directory}") from None
    return lock


def is_owned(directory: Path) -> bool:
    """Tell whether a process runs on this folder now."""
    try:
        lock = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
