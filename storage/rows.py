"""Rows to records and back: a column is a field."""

import dataclasses
from typing import Any, TypeVar

from sqlalchemy import Row, Table
from sqlalchemy.dialects.sqlite import insert

from storage.database import Connection

Record = TypeVar("Record")


def columns(record: Any) -> dict[str, Any]:
    """A record's fields as they are; nested records stay records (the column types know them)."""
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def record(kind: type[Record], row: Row[Any]) -> Record:
    """A record of `kind` from a row that has its fields."""
    mapping = row._mapping
    return kind(**{field.name: mapping[field.name] for field in dataclasses.fields(kind)})  # type: ignore[arg-type]


async def put(db: Connection, table: Table, values: dict[str, Any]) -> None:
    """Insert, or replace every other column of the row with the same primary key."""
    keys = [column.name for column in table.primary_key]
    statement = insert(table).values(**values)
    changed = {name: statement.excluded[name] for name in values if name not in keys}
    await db.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed))
