"""The database: opening, migrating, and transactions.

There is one writer at a time (a lock of ours, and one in the database for other processes); readers run beside it.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Delete, Insert, TextClause, Update, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection as Connection
from sqlalchemy.ext.asyncio import create_async_engine

from storage import dialect, migrate
from storage.dialect import Trouble
from storage.errors import DiskFullError, StoreBusyError, StoreError

FILE_NAME = "aircheck.db"
BUSY_MS = 15_000
READERS = 4
LISTEN_EVERY_S = 1.0

__all__ = ["FILE_NAME", "Connection", "Database", "apart", "is_trouble"]


class Changes:
    """Commits so far, and a wake-up for tasks that wait for the next. Each waiter has an event of its own, so none
    takes another's."""

    def __init__(self) -> None:
        self.number = 0  # number of commits so far: the same number means the same content of the database
        self._of: Counter[str | None] = Counter()
        self._waiters: set[asyncio.Event] = set()

    def of(self, table: str) -> int:
        """Count the commits that may have written this table: the same number means the same rows."""
        return self._of[table] + self._of[None]

    def notify(self, tables: Collection[str | None] = (None,)) -> None:
        """Count a commit to these tables, and wake all waiters. None: it is not known which tables were written."""
        self.number += 1
        self._of.update(tables)
        for waiter in self._waiters:
            waiter.set()

    @contextmanager
    def subscribe(self) -> Iterator[asyncio.Event]:
        """Provide an event that is set by each commit from now on. Clear it before you look for work, then wait for
        it."""
        waiter = asyncio.Event()
        waiter.set()
        self._waiters.add(waiter)
        try:
            yield waiter
        finally:
            self._waiters.discard(waiter)


class Database:
    """Transactions over one database."""

    def __init__(self, path: Path) -> None:
        url = dialect.address(path, asynchronous=True)
        self.path = path
        self.changes = Changes()
        self._writer = create_async_engine(url, pool_size=1, max_overflow=0, hide_parameters=True)
        self._readers = create_async_engine(url, pool_size=READERS, max_overflow=READERS, hide_parameters=True)
        self._lock = asyncio.Lock()
        self._written: set[str | None] = set()  # tables written in this transaction

        @event.listens_for(self._writer.sync_engine, "before_execute")
        def _note(_: Any, statement: Any, *__: Any) -> None:
            if isinstance(statement, Insert | Update | Delete):
                self._written.add(statement.entity_description["name"])
            elif isinstance(statement, TextClause):
                self._written.add(None)

        dialect.prepare(self._writer.sync_engine, dialect.SERVING, dialect.WRITE, busy_ms=BUSY_MS)
        dialect.prepare(self._readers.sync_engine, dialect.SERVING, dialect.READ, busy_ms=BUSY_MS)

    @classmethod
    async def open(cls, directory: Path, *, migrate_first: bool = True) -> "Database":
        """Open the database in `directory`, upgrading it if needed. Raises StoreError."""
        path = directory / FILE_NAME
        if migrate_first:
            await asyncio.to_thread(migrate.upgrade, path)
        elif not path.exists():
            raise StoreError(f"there is no database in {directory}")
        else:
            await asyncio.to_thread(migrate.refuse_other_version, path)
        return cls(path)

    async def close(self) -> None:
        await self._readers.dispose()
        await self._writer.dispose()

    async def listen(self) -> None:
        """Notify of commits by other processes (such as a job from the shell) within a second; until cancelled."""
        async with self._readers.connect() as connection:
            seen = None
            while True:
                with suppress(OperationalError):  # the next user of the database reports the error
                    version = (await connection.exec_driver_sql(dialect.DATA_VERSION)).scalar_one()
                    await connection.rollback()
                    if version != seen:  # the first time too: another process may have written earlier
                        self.changes.notify()
                    seen = version
                await asyncio.sleep(LISTEN_EVERY_S)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """Begin a read transaction, which sees a single snapshot. Raises StoreBusyError."""
        try:
            async with self._readers.begin() as connection:
                yield connection
        except OperationalError as error:
            raise _trouble(error) from None

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Connection]:
        """Begin a transaction for writing, committed when the block ends, rolled back when it raises.

        Raises DiskFullError when there is no room, StoreBusyError when the database can't be used now; nothing was
        written then.
        """
        try:
            async with self._lock:
                self._written.clear()
                async with self._writer.begin() as connection:
                    yield connection
                written = frozenset(self._written)
        except OperationalError as error:
            raise _trouble(error) from None
        self.changes.notify(written)


@asynccontextmanager
async def apart(db: Connection) -> AsyncIterator[None]:
    """Begin a part of a transaction that is rolled back alone when it raises."""
    async with db.begin_nested():
        yield


def is_trouble(error: BaseException) -> bool:
    """Tell whether an error in a transaction is due to the state of the database, and so concerns the whole
    transaction."""
    return isinstance(error, OperationalError | StoreError)


def _trouble(error: OperationalError) -> StoreError:
    """Return the store's error for a database error with an outside cause, not a bug of ours. The driver's message
    names no values."""
    if dialect.trouble(error.orig) is Trouble.FULL:
        return DiskFullError("the disk is full: the database could not be written")
    return StoreBusyError(f"the database can't be used now: {error.orig}")
