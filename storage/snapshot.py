"""A store's rows at one moment as a SQLite file of their own, whatever database they lie in: the form in which a backup
holds them."""

import asyncio
import os
import secrets
from pathlib import Path

from storage import dialect, journal, row_copies
from storage.database import FILE_NAME, Database
from storage.dialect import be_patient
from storage.errors import BackupError, StoreError
from storage.private import FILE_MODE
from storage.store import Store

STORE = "store"
"""The key of the value that tells a store from all others, and that a backup and a restored store share."""


async def identity(store: Store) -> str:
    """Return the name of a store; it is given one when it is first asked for. Raises StoreError."""
    async with store.read() as db:
        name = await journal.get(db, STORE)
    if name is None:
        async with store.write() as db:
            name = await journal.get(db, STORE) or secrets.token_hex(16)
            await journal.put(db, STORE, name)
    return name


async def take(store: Store, to: Path) -> None:
    """Write a snapshot of the rows to a new file, also while the bot writes. Raises StoreError."""

    if store.shared:
        await _copy_rows(store, to)
        return
    path = store.directory / FILE_NAME

    def copy() -> None:
        os.close(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE))
        dialect.copy_compact(path, to)
        if not dialect.is_whole(to):
            raise StoreError(f"{path} is damaged: `aircheck verify` says where")

    try:
        await asyncio.to_thread(copy)
    except dialect.Error as error:
        if dialect.trouble(error) is dialect.Trouble.FULL:
            raise BackupError(f"the disk is full: {to.parent} could not be written") from None
        raise BackupError(f"the database could not be copied: {error}") from None


async def _copy_rows(store: Store, to: Path) -> None:
    """Copy the rows of a server, as one transaction sees them, to a new file, without secrets, and without rows of what
    runs now (`storage.row_copies`)."""
    target = await Database.of_file(to.parent)
    try:
        async with store.read() as reading, target.write() as writing:
            for connection in (reading, writing):
                await be_patient(connection)
            await row_copies.copy(reading, writing, lambda *_: None)
    finally:
        await target.close()


async def opened(folder: Path) -> Database:
    """Open the snapshot in a folder, which nobody else uses. Raises StoreError."""
    return await Database.of_file(folder, migrate_first=False)
