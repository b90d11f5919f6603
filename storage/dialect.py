"""The parts of SQL that differ between databases, and the files of SQLite.

Statements elsewhere are SQLAlchemy's, which writes them for each database. What else a database does in its own way
stands in `sqlite.py` and `postgresql.py` (each with files named after it), and in `driver.py`. Migrations have some:
one that changes rows of a time before PostgreSQL changes them in SQLite alone.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from enum import Enum, auto
from pathlib import Path
from typing import Any

from sqlalchemy import URL, BigInteger, ColumnElement, Connection, Engine, Integer, Table, event, func, select, text
from sqlalchemy.dialects.sqlite import Insert, insert
from sqlalchemy.dialects.sqlite.dml import OnConflictDoNothing, OnConflictDoUpdate
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from storage.asyncsql import AsyncConnection
from storage.driver import Driver

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

SIZE = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
"""A statement that gives the size of the database in bytes."""
DATA_VERSION = "PRAGMA data_version"
"""A statement whose result changes after each commit by another connection."""

ASYNCHRONOUS: dict[str, Any] = {"module": Driver()}
"""Options of an engine for the event loop."""

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
    return func.substr(column, _Place(column, mark) + 1)


class _Place(GenericFunction[int]):
    """The number of the first character of a text in another, from 1; 0 without one."""

    name = "instr"
    inherit_cache = True


@compiles(_Place, "postgresql")
def _strpos(element: _Place, compiler: Any, **named: Any) -> str:
    return f"strpos{compiler.function_argspec(element, **named)}"


@compiles(OnConflictDoNothing, "postgresql")
def _do_nothing(clause: Any, compiler: Any, **named: Any) -> str:
    return str(compiler.visit_on_conflict_do_nothing(_with_target(clause), **named))


@compiles(OnConflictDoUpdate, "postgresql")
def _do_update(clause: Any, compiler: Any, **named: Any) -> str:
    return str(compiler.visit_on_conflict_do_update(_with_target(clause), **named))


def _with_target(clause: Any) -> Any:
    """Complete a clause: in PostgreSQL it may name a constraint instead of columns, and ours never do."""
    clause.constraint_target = None
    return clause


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


async def clock(db: AsyncConnection) -> datetime:
    """Return the time by the database's clock, which all of its processes share; a file has the machine's."""
    if db.dialect.name == "sqlite":
        return datetime.now(UTC)
    now: datetime = (await db.execute(select(func.clock_timestamp()))).scalar_one()
    return now


def has_json(connection: AsyncConnection) -> bool:
    """Tell whether the database has a type for JSON, and not only texts."""
    return connection.dialect.name == "postgresql"


async def be_patient(connection: AsyncConnection) -> None:
    """Let a transaction wait for as long as another one takes."""
    if connection.dialect.name == "postgresql":
        await connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")


async def gather_statistics(connection: AsyncConnection, tables: Sequence[Table]) -> None:
    """Have PostgreSQL look at tables that were filled at once. It would by itself, but a minute later: until then it
    takes them for small, and compares all rows with all others."""
    if connection.dialect.name == "postgresql":
        await connection.exec_driver_sql(f"ANALYZE {', '.join(table.name for table in tables)}")


# ---- numbers of rows


def last_numbers(connection: Connection, tables: Sequence[Table]) -> dict[str, int]:
    """Return the last number that was given to a row of each table that counts them, deleted ones included."""
    numbered = {table.name: table.autoincrement_column for table in tables}
    numbers: dict[str, int] = {}
    for name, column in numbered.items():
        if column is not None:
            given = connection.execute(_LAST_GIVEN[connection.dialect.name], {"name": name, "column": column.name})
            largest = connection.execute(select(func.max(column))).scalar_one()
            numbers[name] = max(given.scalar_one_or_none() or 0, largest or 0)
    return numbers


def go_on_from(connection: Connection, tables: Sequence[Table], numbers: Mapping[str, int]) -> None:
    """Give the next row of each table the number after this one."""
    for table in tables:
        column = table.autoincrement_column
        if column is None or not numbers[table.name]:
            continue
        values = {"name": table.name, "column": column.name, "number": numbers[table.name]}
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT setval(pg_get_serial_sequence(:name, :column), :number)"), values)
        elif table.dialect_options["sqlite"]["autoincrement"]:
            connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), values)
            connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :number)"), values)


async def go_on_after(db: AsyncConnection, table: Table, number: int) -> None:
    """Give the next row of a table a number above that of a row that brought its own: PostgreSQL counts only numbers
    that it gave itself. A transaction that is rolled back leaves this as it is, and rows get no lower number by it."""
    column = table.autoincrement_column
    if db.dialect.name == "postgresql" and column is not None:
        values = {"name": table.name, "column": column.name, "number": number}
        await db.execute(_GO_ON_AFTER, values)


_GO_ON_AFTER = text(
    "SELECT setval(given, greatest(CAST(:number AS bigint), pg_sequence_last_value(given)))"
    " FROM CAST(pg_get_serial_sequence(:name, :column) AS regclass) AS given"
)
_LAST_GIVEN = {
    "sqlite": text("SELECT seq FROM sqlite_sequence WHERE name = :name AND :column <> ''"),
    "postgresql": text("SELECT pg_sequence_last_value(CAST(pg_get_serial_sequence(:name, :column) AS regclass))"),
}


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


def copy_compact(path: Path, to: Path) -> None:
    """Copy a snapshot of a database to a new file, also while others use it, without what was deleted from it. Raises
    Error."""
    with closing(sqlite3.connect(path)) as source:
        source.execute("VACUUM INTO ?", (str(to),))


def faults(path: Path) -> list[str]:
    """Return what is wrong with the pages, indices and foreign keys of a database, as sentences."""
    try:
        found = [str(row[0]) for row in query(path, "PRAGMA integrity_check(20)", "ro")]
    except Error as error:
        found = [str(error)]
    damaged = [] if found == ["ok"] else [f"the database is damaged: {' '.join(each.split())}" for each in found]
    lost = [] if damaged else query(path, "PRAGMA foreign_key_check", "ro")
    return damaged + [f"row {row[1]} of {row[0]} is about a row of {row[2]} that is gone" for row in lost]


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
    NO_TEXT = auto()  # a column of text holds bytes that are none
    OTHER = auto()


_MESSAGES = {
    "locked": Trouble.BUSY,
    "busy": Trouble.BUSY,
    "full": Trouble.FULL,
    "malformed": Trouble.DAMAGED,
    "not a database": Trouble.FOREIGN,
    "no such table": Trouble.NO_TABLE,
    "Could not decode to UTF-8": Trouble.NO_TEXT,
}


def trouble(error: BaseException | None) -> Trouble:
    """Return the reason for a driver's error. Its message names no values."""
    message = str(error)
    return next((meaning for words, meaning in _MESSAGES.items() if words in message), Trouble.OTHER)
