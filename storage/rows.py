"""Conversion between rows and records: a column is a field."""

import asyncio
import dataclasses
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import CursorResult, Row, Select, Table, bindparam, select

from storage.database import Connection
from storage.dialect import Insert, insert

Record = TypeVar("Record")

AT_ONCE = 100  # rows are read in one turn of the event loop


def columns(record: Any) -> dict[str, Any]:
    """Return a record's fields by name; nested records stay records, which the column types can store."""
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def record(kind: type[Record], row: Row[Any]) -> Record:
    """Make a record of `kind` from a row that has its fields."""
    mapping = row._mapping
    return kind(**{name: mapping[name] for name in _names(kind)})  # type: ignore[arg-type]


async def records(kind: type[Record], rows: CursorResult[Any]) -> tuple[Record, ...]:
    """Make records from many rows, yielding to the event loop now and then."""
    made: list[Record] = []
    for some in rows.partitions(AT_ONCE):
        if made:
            await asyncio.sleep(0)
        made += [record(kind, row) for row in some]
    return tuple(made)


@cache
def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


async def find(kind: type[Record], db: Connection, table: Table, **key: object) -> Record | None:
    """Return the one row of a table whose columns have these values, as a record; None where there is none."""
    row = (await db.execute(_with(table, tuple(key)), key)).one_or_none()
    return record(kind, row) if row else None


@cache
def _with(table: Table, names: tuple[str, ...]) -> Select[Any]:
    """Return the statement that finds rows by these columns. To make one takes as long as to execute it."""
    return select(table).where(*(table.c[name] == bindparam(name) for name in names))


async def put(db: Connection, table: Table, values: dict[str, Any]) -> None:
    """Insert a row, or replace every other column of the row with the same primary key."""
    await db.execute(_upsert(table, tuple(values)), values)


async def put_all(db: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert or replace many rows as `put`, all with the same columns, no two with the same primary key."""
    if rows:
        await db.execute(_upsert(table, tuple(rows[0])), rows)


@cache
def _upsert(table: Table, names: tuple[str, ...]) -> Insert:
    keys = [column.name for column in table.primary_key]
    statement = insert(table).values({name: bindparam(name) for name in names})
    changed = {name: statement.excluded[name] for name in names if name not in keys}
    if not changed:
        return statement.on_conflict_do_nothing(index_elements=keys)
    return statement.on_conflict_do_update(index_elements=keys, set_=changed)
