"""nio's key store: safe beside others in one process, and closed to a process that lost the session to another.

nio shares its database binding between threads. And it knows no other process: one that was paused while another took
the session over would wake and write an older state of a ratchet, or use a state that the other has used. So the file
itself holds the epoch of its owner. Each connection has triggers that look at it in the transaction of every write, and
a ratchet that is not written is not used: nio saves before it hands out what it sealed.

Outbound Megolm sessions are in memory alone, so each process begins its own.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from peewee import IntegrityError

from bot.errors import NotOwner, StartError
from bot.matrix.file_systems import is_local
from bot.matrix.nio_names import ForwardedChains, SqliteDatabase, SqliteStore, use_database

EPOCH_TABLE = "owner_epoch"
FENCED = "written by a former owner"

LOCAL = {"journal_mode": "wal", "synchronous": "normal"}
"""Pragmas for a file that one machine uses. A commit is no fsync; `Keys.settle` makes it durable."""
SHARED = {"journal_mode": "truncate", "synchronous": "full"}
"""Pragmas for a file on a disk of several machines: WAL mode needs memory that all users of the file share."""


class KeyDatabase(SqliteDatabase):  # type: ignore[misc]  # the library is untyped
    """A database whose tables one thread uses at a time, and only while its epoch is the file's.

    nio binds its tables, which all stores of a process share, to a database for each query: a second thread would read
    or fill the wrong device's.
    """

    _bound = threading.RLock()

    def __init__(self, path: str, epoch: int | None) -> None:
        self._epoch = epoch
        self._taken = False
        journal = LOCAL if epoch is None or is_local(Path(path).parent) else SHARED
        super().__init__(path, pragmas={"foreign_keys": 1, "secure_delete": 1, **journal})

    @contextmanager
    def bind_ctx(self, *args: Any, **more: Any) -> Iterator[None]:
        with self._bound, super().bind_ctx(*args, **more):
            yield

    def take(self) -> None:
        """Write our epoch into the file: from now on, all former owners are refused. Raises StartError if it holds a
        newer one, or one at all where there are no epochs."""
        if self._epoch is None:
            if EPOCH_TABLE in self.get_tables():
                raise StartError(
                    "the end-to-end keys belong to a bot with PostgreSQL: set storage.database_url, or move the archive"
                    " back with `aircheck move-store --to sqlite`"
                )
            return
        with self.atomic("IMMEDIATE"):
            self.execute_sql(f"CREATE TABLE IF NOT EXISTS {EPOCH_TABLE} (epoch INTEGER NOT NULL)")
            newest = self.execute_sql(f"SELECT max(epoch) FROM {EPOCH_TABLE}").fetchone()[0]  # noqa: S608  our name
            if newest is not None and newest > self._epoch:
                raise StartError(
                    "the end-to-end keys were used with a newer database: do two databases use one folder?"
                )
            self.execute_sql(f"DELETE FROM {EPOCH_TABLE}")  # noqa: S608
            self.execute_sql(f"INSERT INTO {EPOCH_TABLE} VALUES (?)", (self._epoch,))  # noqa: S608
        _fence(self.connection(), self._epoch)
        self._taken = True

    def _add_conn_hooks(self, connection: sqlite3.Connection) -> None:
        super()._add_conn_hooks(connection)
        if self._taken:
            assert self._epoch is not None
            _fence(connection, self._epoch)

    def execute_sql(self, sql: str, params: Any = None, commit: Any = None) -> Any:
        """Execute a statement. Raises NotOwner when it writes, and another process has taken over."""
        try:
            return super().execute_sql(sql, params)
        except IntegrityError as error:
            if FENCED in str(error):
                raise NotOwner from None
            raise


def _fence(connection: sqlite3.Connection, epoch: int) -> None:
    """Have this connection refuse each write while the file's epoch is another."""
    tables = connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall()
    for (table,) in tables:
        if table == EPOCH_TABLE or table.startswith("sqlite_"):
            continue
        for action in ("INSERT", "UPDATE", "DELETE"):
            connection.execute(
                f'CREATE TEMP TRIGGER "fence_{table}_{action}" BEFORE {action} ON main."{table}"'  # noqa: S608
                f" WHEN (SELECT epoch FROM main.{EPOCH_TABLE}) IS NOT {epoch}"
                f" BEGIN SELECT RAISE(ABORT, '{FENCED}'); END"
            )


def let_go(folder: Path) -> None:
    """Take the epochs out of the key stores in a folder, which then belong to a bot without them. Blocking."""
    for file in folder.glob("*.db"):
        with closing(sqlite3.connect(file)) as database, database:
            database.execute(f"DROP TABLE IF EXISTS {EPOCH_TABLE}")


class KeyStore(SqliteStore):  # type: ignore[misc]  # the library is untyped
    """nio's SQLite store of a device. `epoch`: of the process that owns the session; None where no other can."""

    def __init__(self, *device: str, epoch: int | None = None) -> None:
        self._epoch = epoch
        super().__init__(*device)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.database.take()

    def _create_database(self) -> Any:
        return KeyDatabase(self.database_path, self._epoch)

    @use_database  # type: ignore[untyped-decorator]
    def forget_chain(self, session_id: str) -> None:
        """Forget that the session's key was forwarded: its owner sent it too."""
        ForwardedChains.delete().where(ForwardedChains.session == session_id).execute()
