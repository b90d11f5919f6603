"""Rows to records and back: a column is a field."""

import asyncio
import dataclasses
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import CursorResult, Row, Table, bindparam

from storage.database import Connection
from storage.dialect import Insert, insert

Record = TypeVar("Record")

AT_ONCE = 100  # rows; more are read in several turns of the event loop


def columns(record: Any) -> dict[str, Any]:
    """A record's fields as they are; nested records stay records (the column types know them)."""
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def record(kind: type[Record], row: Row[Any]) -> Record:
    """A record of `kind` from a row that has its fields."""
    mapping = row._mapping
    return kind(**{name: mapping[name] for name in _names(kind)})  # type: ignore[arg-type]


async def records(kind: type[Record], rows: CursorResult[Any]) -> tuple[Record, ...]:
    """Many of them: whatever else there is to do goes on meanwhile."""
    found: list[Record] = []
    for some in rows.partitions(AT_ONCE):
        if found:
            await asyncio.sleep(0)
        found += [record(kind, row) for row in some]
    return tuple(found)


@cache
def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


async def put(db: Connection, table: Table, values: dict[str, Any]) -> None:
    """Insert, or replace every other column of the row with the same primary key."""
    await db.execute(_upsert(table, tuple(values)), values)


async def put_all(db: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """As `put`, for many rows with the same columns, no two of them with one primary key."""
    if rows:
        await db.execute(_upsert(table, tuple(rows[0])), rows)


@cache
def _upsert(table: Table, names: tuple[str, ...]) -> Insert:
    keys = [column.name for column in table.primary_key]
    statement = insert(table).values({name: bindparam(name) for name in names})
    changed = {name: statement.excluded[name] for name in names if name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=changed)
