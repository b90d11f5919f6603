"""The parts of SQL that differ between databases: SQLite's, so far. No other module of storage has any.

Statements elsewhere are SQLAlchemy's, which writes them for each database. Migrations are excepted: those written for
SQLite stay as they are.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from enum import Enum, auto
from pathlib import Path
from typing import Any

from sqlalchemy import URL, BigInteger, ColumnElement, Connection, Engine, Integer, event, func, text
from sqlalchemy.dialects.sqlite import Insert, insert

__all__ = ["Insert", "insert"]

BIG = BigInteger().with_variant(Integer, "sqlite")
"""A 64-bit integer. SQLite increments only INTEGER keys by itself, and its INTEGER has 64 bits."""
NEVER_AGAIN: dict[str, Any] = {"sqlite_autoincrement": True}
"""An option of a table: the number of a deleted row is never used again."""

SERVING = {"journal_mode": "WAL", "synchronous": "NORMAL", "foreign_keys": "ON", "secure_delete": "FAST"}
"""Settings of a database in use. What is deleted is overwritten with zeros, where that costs no further write."""
MIGRATING = {"foreign_keys": "OFF"}
"""Settings for migrations: rebuilding a table must not delete the rows that refer to it."""
READ, WRITE = "BEGIN", "BEGIN IMMEDIATE"
"""Statements that begin a transaction. A reader that became a writer half-way could fail."""

DATA_VERSION = "PRAGMA data_version"
"""A statement whose result changes after each commit by another connection."""

Error = sqlite3.Error


def address(path: Path | None, *, asynchronous: bool = False) -> URL:
    """Return the address of a file, whose name may hold "?" and "%"; of a database in memory for None."""
    return URL.create("sqlite+aiosqlite" if asynchronous else "sqlite", database=str(path) if path else None)


def prepare(engine: Engine, pragmas: Mapping[str, str], begin: str, *, busy_ms: int) -> None:
    """Set up each connection, and begin each transaction as requested: the driver begins and commits none by itself."""

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for name, value in pragmas.items():
            cursor.execute(f"PRAGMA {name}={value}")
        cursor.execute(f"PRAGMA busy_timeout={busy_ms}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)


def only_where(condition: str) -> dict[str, Any]:
    """Return the options that limit an index to some rows. Queries that use the index contain the same condition."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def after(column: ColumnElement[str], mark: str) -> ColumnElement[str]:
    """Return the text after the first `mark`; all of it without one."""
    return func.substr(column, func.instr(column, mark) + 1)


def parts(connection: Connection) -> list[tuple[str, str, str]]:
    """Return kind ("table", "index" or "column"), table and name of everything in the schema, alembic's table apart."""
    made = connection.exec_driver_sql(
        "SELECT type, tbl_name, name FROM sqlite_master WHERE type IN ('table', 'index')"
        " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND tbl_name <> 'alembic_version'"
    ).all()
    columns = connection.exec_driver_sql(
        "SELECT 'column', t.name, c.name FROM sqlite_master AS t, pragma_table_info(t.name) AS c"
        " WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND t.name <> 'alembic_version'"
    ).all()
    return [(kind, table, name) for kind, table, name in (*made, *columns)]


# ---- files


def side_files(path: Path) -> tuple[Path, ...]:
    """Return the files beside a database in which SQLite keeps changes that are not in it yet, or may have to be
    undone."""
    return tuple(path.with_name(path.name + suffix) for suffix in ("-journal", "-wal", "-shm"))


def query(path: Path, statement: str, mode: str) -> list[Any]:
    """Return the rows of a statement; `mode` is of SQLite's addresses: "ro", "rw", or "ro&immutable=1", which makes no
    files beside it. Raises Error."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True)) as connection:
        return connection.execute(statement).fetchall()


def copy(path: Path, to: Path) -> None:
    """Copy a snapshot of a database, also while others use it. Raises Error."""
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)


def is_whole(path: Path) -> bool:
    """Tell whether each page of a database that nobody uses is in order. Raises Error."""
    return query(path, "PRAGMA integrity_check(1)", "ro&immutable=1") == [("ok",)]


# ---- errors


class Trouble(Enum):
    """A reason why the database failed."""

    BUSY = auto()  # another process holds it
    FULL = auto()  # the disk is full
    DAMAGED = auto()
    FOREIGN = auto()  # the file is no database
    NO_TABLE = auto()
    OTHER = auto()


_MESSAGES = {
    "locked": Trouble.BUSY,
    "busy": Trouble.BUSY,
    "full": Trouble.FULL,
    "malformed": Trouble.DAMAGED,
    "not a database": Trouble.FOREIGN,
    "no such table": Trouble.NO_TABLE,
}


def trouble(error: BaseException | None) -> Trouble:
    """Return the reason for a driver's error. Its message names no values."""
    message = str(error)
    return next((meaning for words, meaning in _MESSAGES.items() if words in message), Trouble.OTHER)
