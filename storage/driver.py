"""The driver of SQLite for the event loop: each statement is one visit to the thread of its connection.

SQLAlchemy's own makes four, for a cursor, to execute, to fetch and to close; most take longer than the statement.
"""

import sqlite3
from collections import deque
from typing import Any

import aiosqlite
from sqlalchemy.dialects.sqlite.aiosqlite import (
    AsyncAdapt_aiosqlite_connection,
    AsyncAdapt_aiosqlite_cursor,
    AsyncAdapt_aiosqlite_dbapi,
)
from sqlalchemy.util import EMPTY_DICT

from storage.texts import storable


class _Cursor(AsyncAdapt_aiosqlite_cursor):
    """The outcome of a statement: all its rows, and SQLite's cursor, which is closed and keeps what describes them."""

    __slots__ = ()

    def __init__(self, adapt_connection: AsyncAdapt_aiosqlite_connection) -> None:
        self._adapt_connection = adapt_connection
        self._connection = adapt_connection._connection
        self._rows = deque()
        self._soft_closed_memoized = EMPTY_DICT

    async def _execute_async(self, operation: Any, parameters: Any) -> Any:
        await self._visit("execute", operation, () if parameters is None else parameters)

    async def _executemany_async(self, operation: Any, seq_of_parameters: Any) -> Any:
        await self._visit("executemany", operation, seq_of_parameters)

    async def _visit(self, method: str, operation: Any, parameters: Any) -> None:
        connection = self._connection
        async with self._adapt_connection._execute_mutex:
            self._cursor, rows = await connection._execute(_executed, connection._conn, method, operation, parameters)
            self._rows = deque(rows)

    def close(self) -> None:
        self._rows.clear()

    async def _async_soft_close(self) -> None:
        """Do nothing: SQLite's cursor is closed, and goes on describing the rows."""


class _Connection(AsyncAdapt_aiosqlite_connection):
    """A connection whose statements are one visit each. The pool rolls back whatever comes back to it: none is made to
    roll back nothing."""

    __slots__ = ()
    _cursor_cls: type[Any] = _Cursor

    def rollback(self) -> None:
        if self._connection._connection and self._connection.in_transaction:
            super().rollback()


class Driver(AsyncAdapt_aiosqlite_dbapi):
    """The `module` of `create_async_engine`."""

    def __init__(self) -> None:
        super().__init__(aiosqlite, sqlite3)

    def connect(self, *args: Any, **named: Any) -> AsyncAdapt_aiosqlite_connection:
        return _Connection(self, super().connect(*args, **named)._connection)


def _whole(row: Any) -> list[Any]:
    """Replace halves of surrogate pairs, which no database's text holds."""
    return [storable(value) if isinstance(value, str) else value for value in row]


def _executed(connection: sqlite3.Connection, method: str, operation: str, parameters: Any) -> tuple[Any, list[Any]]:
    """Execute a statement and return its closed cursor and its rows. Blocking."""
    cursor = connection.cursor()
    try:
        try:
            getattr(cursor, method)(operation, parameters)
        except UnicodeEncodeError:
            many = method == "executemany"
            getattr(cursor, method)(operation, [_whole(row) for row in parameters] if many else _whole(parameters))
        return cursor, cursor.fetchall() if cursor.description else []
    finally:
        cursor.close()
