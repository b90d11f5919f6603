"""Rows that can't be read: whatever is put into a column of any table is found, but what nobody could know."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Boolean, Column, Float, Integer, LargeBinary, String, Table
from sqlalchemy.dialects import sqlite

from storage import checking
from storage.columns import Utc, Word
from storage.place import Place
from storage.store import Store
from storage.tables import metadata
from tests.postgresql import of_the_file
from tests.storage.filled import fill

pytestmark = of_the_file  # a server keeps to the types of its columns
quoted = sqlite.dialect().identifier_preparer.quote
TEXT, NUMBER, BYTES, NO_UTF8 = "{torn", 7, b"\xff", b"\xff\xfe"
ROWS = 3


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """A store with rows in all tables."""
    store = await Store.own(Place(tmp_path / "data"))
    async with store.write() as db:
        await fill(db, ROWS)
    yield store
    await store.close()


def torn_into(column: Column[Any]) -> Iterator[object]:
    """Yield what no column of this type holds. A text where another would be as good as it, and JSON of any shape where
    the column takes any, are no faults that could be seen."""
    if isinstance(column.type, Word):
        yield from (TEXT, BYTES)
    elif isinstance(column.type, String):
        yield from (BYTES, NO_UTF8)
    elif isinstance(column.type, Integer | Float | Boolean):
        yield from (TEXT, BYTES)
    elif isinstance(column.type, LargeBinary):
        yield TEXT
    elif isinstance(column.type, Utc):
        yield from (TEXT, NUMBER, BYTES)
    else:  # JSON, and what is made of it
        yield from (TEXT, BYTES)


def put(path: Path, table: Table, column: Column[Any], value: object) -> bool:
    """Put something into the second row, past all that the program checks. Return whether the database takes it."""
    name = quoted(column.name)
    placed = "CAST(? AS TEXT)" if value is NO_UTF8 else "?"
    statement = f"UPDATE {quoted(table.name)} SET {name} = {placed} WHERE rowid = 2"  # noqa: S608
    with closing(sqlite3.connect(path)) as connection:
        try:
            changed = connection.execute(statement, (value,)).rowcount
        except (sqlite3.IntegrityError, sqlite3.DataError):
            return False
        assert changed == 1, table
        connection.commit()
        return True


async def test_rows_of_all_tables_are_read(store: Store) -> None:
    """Rows in order are no fault, in whatever table."""
    assert [row async for row in checking.torn(store)] == []


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda table: table.name)
async def test_what_is_torn_is_found(store: Store, table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each column of each table: content of another kind is found, and the row named; also where the rows are more than
    are read in one transaction."""
    monkeypatch.setattr(checking, "AT_ONCE", 2)
    path, unseen = store.directory / "aircheck.db", list[tuple[str, object]]()
    for column in table.c:
        with closing(sqlite3.connect(path)) as connection:
            where = f"SELECT {quoted(column.name)} FROM {quoted(table.name)} WHERE rowid = 2"  # noqa: S608
            before = connection.execute(where).fetchone()[0]
        for value in torn_into(column):
            if not put(path, table, column, value):
                continue
            torn = [row async for row in checking.torn_of(store, table)]
            if [row.table for row in torn] != [table.name]:
                unseen.append((column.name, value))
            assert put(path, table, column, before)
    assert unseen == []
