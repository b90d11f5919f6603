"""The lock of a store's folder: one process at a time owns what lies in it. The kernel ends it with the process."""

import asyncio
import fcntl
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from storage.errors import StoreError, StoreLockedError
from storage.private import make_folder

log = logging.getLogger(__name__)

LOCK_NAME = "aircheck.lock"


class FolderLock:
    """The lock, taken by this process. It can't be lost: `storage.ownership` has the same shape, and can."""

    epoch = None

    def __init__(self, descriptor: int) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.heard_at: Callable[[], datetime | None] = lambda: None
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, directory: Path) -> "FolderLock":
        """Make the folder (0700) and take its lock. Raises StoreError."""
        return cls(take_lock(directory))

    def holds(self) -> bool:
        return self._descriptor is not None

    async def give_back(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def take_lock(directory: Path) -> int:
    """Make the folder (0700) and take its lock, which ends when the descriptor is closed. Raises StoreError."""
    lock = _open(directory)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise StoreLockedError(f"another Aircheck is running on {directory}") from None
    return lock


def _open(directory: Path) -> int:
    try:
        make_folder(directory)
        return os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"storage.directory {directory} can't be written: {error.strerror}") from None


def share_lock(directory: Path, database: str) -> int | None:
    """Take a part in the folder's lock, together with others of the same database: the owner's row says which of them
    may work, and one of them may be paused, or its machine dead. Returns None on a file system without locks.

    Raises StoreLockedError while a process with another database, or with none by address, runs on the folder;
    StoreError.
    """
    name = database.encode()
    lock = _open(directory)
    try:
        with suppress(BlockingIOError):  # others run, and have written their database
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(lock, 0)
            os.pwrite(lock, name, 0)
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if os.pread(lock, len(name) + 1, 0) == name:
            return lock
    except BlockingIOError:
        pass
    except OSError as error:
        os.close(lock)
        log.warning("%s can't be locked (%s): see that no other database uses it", directory, error.strerror)
        return None
    os.close(lock)
    raise StoreLockedError(f"another Aircheck is running on {directory}, with another database")


def is_locked(directory: Path) -> bool:
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
