"""The database in a file: SQLite in WAL mode, with one writer at a time and readers beside it."""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError

from storage import dialect, engines
from storage.asyncsql import AsyncConnection as Connection
from storage.asyncsql import create_async_engine
from storage.commits import Changes
from storage.dialect import Trouble
from storage.engines import READERS, loads
from storage.errors import DiskFullError, StoreBusyError, StoreError, TornTextError
from storage.private import sync
from storage.texts import dumps

BUSY_MS = 15_000


class SQLite:
    """The `Engines` of a file. The turn of a writer is taken by the statement that begins its transaction."""

    def __init__(self, path: Path) -> None:
        url = dialect.address(path, asynchronous=True)
        json: dict[str, Any] = {"json_serializer": dumps, "json_deserializer": loads}
        options: dict[str, Any] = {**dialect.ASYNCHRONOUS, "hide_parameters": True, **json}
        self._log = path.with_name(f"{path.name}-wal")
        self.writer = create_async_engine(url, pool_size=1, max_overflow=0, **options)
        self.claimer = self.writer
        self.readers = create_async_engine(url, pool_size=READERS, max_overflow=READERS, **options)
        dialect.prepare(self.writer.sync_engine, dialect.SERVING, dialect.WRITE, busy_ms=BUSY_MS)
        dialect.prepare(self.readers.sync_engine, dialect.SERVING, dialect.READ, busy_ms=BUSY_MS)

    async def take_turn(self, connection: Connection) -> None:
        """Do nothing: the transaction began with it."""

    async def stand_beside(self, connection: Connection) -> None:
        """Do nothing, as above."""

    async def tell(self, connection: Connection, tables: Collection[str | None]) -> None:
        """Do nothing: other processes look at the file's version."""

    async def settle(self) -> None:
        """Flush the log, which SQLite does by itself only when it moves it into the database (`synchronous`)."""
        try:
            await asyncio.to_thread(sync, self._log)
        except FileNotFoundError:
            return  # it was moved into the database
        except OSError as error:
            raise StoreBusyError(f"the database can't be used now: {error.strerror}") from None

    async def size(self, connection: Connection) -> int:
        return int((await connection.exec_driver_sql(dialect.SIZE)).scalar_one())

    async def listen(self, changes: Changes) -> None:
        """Notify of commits by other processes (such as a job from the shell) within a second; until cancelled."""
        async with self.readers.connect() as connection:
            seen = None
            while True:
                with suppress(OperationalError):  # the next user of the database reports the error
                    version = (await connection.exec_driver_sql(dialect.DATA_VERSION)).scalar_one()
                    await connection.rollback()
                    if version != seen:  # the first time too: another process may have written earlier
                        changes.notify()
                    seen = version
                await asyncio.sleep(engines.LISTEN_EVERY_S)

    def abandon(self) -> None:
        """Do nothing: a file's owner stays its owner."""

    def trouble(self, error: BaseException) -> StoreError | None:
        """Return the store's error for a database error with an outside cause. The driver's message names no values."""
        if not isinstance(error, OperationalError):
            return None
        if dialect.trouble(error.orig) is Trouble.FULL:
            return DiskFullError("the disk is full: the database could not be written")
        if dialect.trouble(error.orig) is Trouble.NO_TEXT:
            return TornTextError("a row holds bytes in place of text: `aircheck verify` finds it")
        return StoreBusyError(f"the database can't be used now: {error.orig}")
