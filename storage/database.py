"""The database: opening, migrating, and transactions.

There is one writer at a time (a lock of ours, and one in the database for other processes); readers run beside it.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Delete, Insert, TextClause, Update, event
from sqlalchemy.engine import ExceptionContext

from storage import counted, migrate
from storage.asyncsql import AsyncConnection as Connection
from storage.asyncsql import AsyncEngine
from storage.commits import Changes
from storage.engines import Engines, Fence
from storage.errors import DiskFullError, StoreError
from storage.place import Place
from storage.sqlite import SQLite

FILE_NAME = "aircheck.db"

__all__ = ["FILE_NAME", "Changes", "Connection", "Database", "apart", "is_trouble"]


class _Line:
    """Transactions for writing, one after the other."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.written: set[str | None] = set()  # tables written in this transaction
        self._lock = asyncio.Lock()
        event.listen(engine.sync_engine, "before_execute", self._note)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Connection]:
        asked = time.perf_counter()
        async with self._lock:
            counted.WRITE_WAITS.note(time.perf_counter() - asked)
            self.written.clear()
            with counted.WRITES.timing():
                async with self.engine.begin() as connection:
                    yield connection

    def _note(self, _: Any, statement: Any, *__: Any) -> None:
        if isinstance(statement, Insert | Update | Delete):
            self.written.add(statement.entity_description["name"])
        elif isinstance(statement, TextClause):
            self.written.add(None)


class Database:
    """Transactions over one database."""

    def __init__(self, engines: Engines) -> None:
        self.changes = Changes()
        self._engines = engines
        self._writing = _Line(engines.writer)
        self._claiming = self._writing if engines.claimer is engines.writer else _Line(engines.claimer)
        for engine in self._all():
            event.listen(engine.sync_engine, "handle_error", self._trouble)

    @classmethod
    async def open(cls, place: Place, *, migrate_first: bool = True, fence: Fence | None = None) -> "Database":
        """Open the database of a place, upgrading it if needed. `fence`: of the owner of a database by address. Raises
        StoreError."""
        if place.database_url is not None:
            from storage.postgresql import PostgreSQL  # here, for it takes memory that others need not spend

            return cls(await PostgreSQL.open(place.database_url, migrate_first=migrate_first, fence=fence))
        return await cls.of_file(place.directory, migrate_first=migrate_first)

    @classmethod
    async def of_file(cls, directory: Path, *, migrate_first: bool = True) -> "Database":
        """Open the file in a folder, upgrading it if needed. Raises StoreError."""
        path = directory / FILE_NAME
        if migrate_first:
            await asyncio.to_thread(migrate.upgrade, path)
        elif not path.exists():
            raise StoreError(f"there is no database in {directory}")
        else:
            await asyncio.to_thread(migrate.refuse_other_version, path)
        return cls(SQLite(path))

    def _all(self) -> set[AsyncEngine]:
        return {self._engines.writer, self._engines.claimer, self._engines.readers}

    async def close(self) -> None:
        for engine in self._all():
            await engine.dispose()

    def abandon(self) -> None:
        """Break off all transactions, and begin no more, as the ownership was lost."""
        self._engines.abandon()

    async def listen(self) -> None:
        """Notify of commits by other processes (such as a job from the shell) within a second; until cancelled."""
        await self._engines.listen(self.changes)

    async def settle(self) -> None:
        """Have everything on the disk that was committed: it survives a kill anyway, and then a power cut, too. Raises
        StoreBusyError."""
        await self._engines.settle()

    async def size(self, db: Connection) -> int:
        """Return the bytes that the database takes."""
        return await self._engines.size(db)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """Begin a read transaction, which sees a single snapshot. Raises StoreBusyError."""
        with counted.READS.timing():
            async with self._engines.readers.begin() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Connection]:
        """Begin a transaction for writing, committed when the block ends, rolled back when it raises.

        Raises DiskFullError when there is no room, StoreBusyError when the database can't be used now; nothing was
        written then, unless a connection to a server was lost while it committed: then all may have been.
        """
        async with self._begun(self._writing) as connection:
            await self._engines.take_turn(connection)
            yield connection

    @asynccontextmanager
    async def claim(self) -> AsyncIterator[Connection]:
        """Begin a transaction for claims of jobs, which need no writer's turn. Raises as `write`."""
        async with self._begun(self._claiming) as connection:
            await self._engines.stand_beside(connection)
            yield connection

    @asynccontextmanager
    async def _begun(self, line: _Line) -> AsyncIterator[Connection]:
        """Begin a transaction, and notify of what it has written after its commit; also when it failed while it was
        committed, since a database that went away may have committed it."""
        tables: frozenset[str | None] | None = None
        try:
            async with line.begin() as connection:
                yield connection
                tables = frozenset(line.written)
                if tables:
                    await self._engines.tell(connection, tables)
        finally:
            if tables is not None:
                self.changes.notify(tables)

    def _trouble(self, context: ExceptionContext) -> StoreError | None:
        """Name a failure with an outside cause; what is a bug of ours goes on as it is."""
        trouble = self._engines.trouble(context.sqlalchemy_exception or context.original_exception)
        if trouble is not None:
            counted.TROUBLES.add("full" if isinstance(trouble, DiskFullError) else "busy")
        return trouble


@asynccontextmanager
async def apart(db: Connection) -> AsyncIterator[None]:
    """Begin a part of a transaction that is rolled back alone when it raises."""
    async with db.begin_nested():
        yield


def is_trouble(error: BaseException) -> bool:
    """Tell whether an error in a transaction is due to the state of the database, and so concerns the whole
    transaction."""
    return isinstance(error, StoreError)
