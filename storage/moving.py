"""The move of a store's rows to another database: from SQLite to PostgreSQL, or back. Files stay where they are.

Both transactions last for the whole move, and only that of the target writes: killed anywhere, the source is as it was,
and the target has tables without rows, into which the next try moves.
"""

import asyncio
import os
from collections.abc import Callable

from storage.database import Database
from storage.dialect import be_patient
from storage.elsewhere import mark, refuse_elsewhere
from storage.errors import StoreError
from storage.folder_lock import take_lock
from storage.place import Place
from storage.row_copies import Told, copy, refuse_rows
from storage.secret import SecretFile, SharedSecret


async def move(place: Place, to: Place, told: Told, let_go: Callable[[], None] = lambda: None) -> int:
    """Copy all rows of the store to an empty database, compare them, and return how many there are. `let_go` is called
    before a move to the folder: what is in it else belongs to owners of the other database.

    Raises StoreError: a bot or another process runs, the target holds rows, or one of the databases fails.
    """
    if place.database_url == to.database_url:
        raise StoreError("the archive lies there already")
    lock = take_lock(place.directory)
    try:
        refuse_elsewhere(place)
        for address in (place.database_url, to.database_url):
            await _refuse_company(address)
        source = await Database.open(place, migrate_first=False)
        try:
            target = await Database.open(to)
            try:
                rows = await _move(source, place, target, to, told, let_go)
                await asyncio.to_thread(mark, to)
                return rows
            finally:
                await target.close()
        finally:
            await source.close()
    finally:
        os.close(lock)


async def _move(
    source: Database, place: Place, target: Database, to: Place, told: Told, let_go: Callable[[], None]
) -> int:
    async with target.read() as db:
        await refuse_rows(db)
    if to.database_url is None:
        await asyncio.to_thread(let_go)
    await _move_secret(_secret(source, place), _secret(target, to))
    async with source.write() as reading, target.write() as writing:  # nobody else writes to either
        for connection in (reading, writing):
            await be_patient(connection)
        return await copy(reading, writing, told)


async def _refuse_company(address: str | None) -> None:
    if address is not None:
        from storage.postgresql import refuse_company  # here, for it takes memory that others need not spend

        await refuse_company(address)


def _secret(database: Database, place: Place) -> SecretFile | SharedSecret:
    return SecretFile(place.directory) if place.database_url is None else SharedSecret(database)


async def _move_secret(source: SecretFile | SharedSecret, target: SecretFile | SharedSecret) -> None:
    await source.load()
    if source.exists():
        await target.replace(source())
