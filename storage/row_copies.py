"""All rows of one database in another: table by table, in pages, compared at the end by count and by hash.

Values are copied as they are stored, JSON as its text. Rows of what runs now (who owns the session, which processes
work, who listens) are left out, and so are secrets, which have a place of their own in each kind of store.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    cast,
    func,
    select,
    tuple_,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

from storage import dialect
from storage.database import Connection
from storage.errors import NotEmptyError, StoreError
from storage.tables import metadata
from storage.texts import storable, storable_json

LEFT_OUT = frozenset({"live_listening", "owner", "secrets", "workers"})
PAGE = 200
"""Rows of a page: some hold a piece's loudness, of tens of kilobytes."""

Told = Callable[[str, int, int], None]
"""Receiver of the progress: a table, the number of its rows that are copied, and of all."""


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a table, to be compared with another's."""

    rows: int
    sha256: str
    """The sum of the hashes of all rows: the two databases may order their keys differently."""


class _JsonText(TypeDecorator[str]):
    """The text of a JSON value, in a database that has a type for it."""

    impl = Text
    cache_ok = True

    def bind_expression(self, bindparam: Any) -> ColumnElement[Any]:
        return cast(bindparam, JSON)

    def column_expression(self, column: Any) -> ColumnElement[Any]:
        return cast(column, Text)


def copied_tables() -> tuple[Table, ...]:
    """Return the tables that are copied, each behind those that it refers to."""
    return tuple(table for table in metadata.sorted_tables if table.name not in LEFT_OUT)


async def refuse_rows(target: Connection) -> None:
    """Refuse a database that holds anything. Raises NotEmptyError."""
    for table in copied_tables():
        if (await target.execute(select(1).select_from(table).limit(1))).first() is not None:
            raise NotEmptyError(f"the database to move to is not empty: it holds rows in `{table.name}`")


async def copy(source: Connection, target: Connection, told: Told) -> int:
    """Copy all rows in the transactions of both, and return how many. Raises StoreError when the target does not hold
    them as they are; its transaction is to be rolled back then."""
    await refuse_rows(target)
    copied = 0
    for table in copied_tables():
        content = await _copy(table, source, target, told)
        if await content_of(target, table) != content:
            raise StoreError(f"the rows of `{table.name}` are not the same after they were copied")
        copied += content.rows
    numbers = await source.run_sync(dialect.last_numbers, copied_tables())
    await target.run_sync(dialect.go_on_from, copied_tables(), numbers)
    await dialect.gather_statistics(target, copied_tables())
    return copied


async def _copy(table: Table, source: Connection, target: Connection, told: Told) -> Content:
    """Copy a table and return the content that was read."""
    all_rows = (await source.execute(select(func.count()).select_from(table))).scalar_one()
    insert = _as_stored(table, target).insert()
    names = [column.name for column in table.columns]
    rows, digest = 0, 0
    told(table.name, 0, all_rows)
    async for page in _pages(source, table):
        try:
            await target.execute(insert, [dict(zip(names, row, strict=True)) for row in page])
        except DBAPIError as error:
            raise StoreError(f"a row of `{table.name}` does not fit into the other database: {error.orig}") from None
        digest = _added(digest, page)
        rows += len(page)
        told(table.name, rows, all_rows)
    return Content(rows, f"{digest:064x}")


async def content_of(connection: Connection, table: Table) -> Content:
    """Return what a table holds."""
    rows, digest = 0, 0
    async for page in _pages(connection, table):
        digest = _added(digest, page)
        rows += len(page)
    return Content(rows, f"{digest:064x}")


async def _pages(connection: Connection, table: Table) -> AsyncIterator[Sequence[tuple[Any, ...]]]:
    """Yield a table's rows in the order of its key."""
    stored = _as_stored(table, connection)
    texts = [isinstance(_plain(column.type), JSON) for column in table.columns]
    key = tuple(stored.primary_key.columns)
    at = [list(stored.columns).index(column) for column in key]
    statement = select(stored).order_by(*key).limit(PAGE)
    beyond = statement
    while True:
        page = [
            tuple(_text(value) if is_text else value for value, is_text in zip(row, texts, strict=True))
            for row in await connection.execute(beyond)
        ]
        if page:
            yield page
        if len(page) < PAGE:
            return
        last = page[-1]
        beyond = statement.where(tuple_(*key) > tuple_(*(last[index] for index in at), types=[c.type for c in key]))


def _text(value: Any) -> str | None:
    """Return the text of a JSON value, of which a bare number comes from SQLite as such, as either database holds
    it."""
    return None if value is None else storable_json(str(value))


def _as_stored(table: Table, connection: Connection) -> Table:
    """Return a table whose columns bring values as they are stored."""
    json = _JsonText() if dialect.has_json(connection) else Text()
    columns: list[Column[Any]] = []
    for column in table.columns:
        kind: TypeEngine[Any] = _plain(column.type)
        columns.append(Column(column.name, json if isinstance(kind, JSON) else kind, primary_key=column.primary_key))
    return Table(table.name, MetaData(), *columns)


def _plain(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return the type that a type of ours is stored as."""
    return _plain(kind.impl_instance) if isinstance(kind, TypeDecorator) else kind


def _added(digest: int, page: Sequence[tuple[Any, ...]]) -> int:
    hashes = (hashlib.sha256(repr(tuple(map(_same, row))).encode()).digest() for row in page)
    return (digest + sum(int.from_bytes(each) for each in hashes)) % 2**256


def _same(value: Any) -> Any:
    """Return a value in the form that it has in either database."""
    match value:
        case str():
            return storable(value)
        case datetime():
            return value.isoformat()
        case bytes() | memoryview() | bytearray():
            return hashlib.sha256(value).hexdigest()
        case _:
            return value
