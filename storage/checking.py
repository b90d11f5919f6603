"""Rows compared with what they should be: whole, readable, and about files that are there. For `aircheck verify`."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Float, Integer, Select, String, Table, column, literal, null, select, tuple_

from storage import archive, dialect
from storage.database import FILE_NAME, Connection
from storage.place import Place
from storage.records import BlobKey, RecordingId, RoomId, UserId
from storage.store import Store
from storage.tables import metadata

AT_ONCE = 200
UNREADABLE = (ValueError, TypeError, KeyError, LookupError, AttributeError)
"""The errors that types of columns raise for content that they have not written."""


@dataclass(frozen=True, slots=True)
class Use:
    """A row that names a blob: its table and column, what it is about, and the length that it gives."""

    blob: BlobKey
    table: str
    column: str
    recording: RecordingId | None
    room: RoomId | None
    user: UserId | None
    bytes: int | None

    @property
    def what(self) -> str:
        return f"{self.table}.{self.column}"


@dataclass(frozen=True, slots=True)
class Torn:
    """A row that can't be read: its table and its primary key."""

    table: str
    key: tuple[Any, ...]

    @property
    def recording(self) -> RecordingId | None:
        """The recording that it is a part of, where its key says so."""
        names = [each.name for each in metadata.tables[self.table].primary_key]
        where = names.index("recording_id") if "recording_id" in names else None
        value = self.key[where] if where is not None else None
        return RecordingId(value) if isinstance(value, int) else None


def database_faults(place: Place) -> list[str]:
    """Return what the database itself finds wrong with its file, as sentences; a server looks after its own. Blocking:
    some seconds for a gigabyte."""
    if place.database_url is not None:
        return []
    return dialect.faults(Path(place.directory / FILE_NAME))


async def uses(db: Connection, blobs: Sequence[BlobKey]) -> list[Use]:
    """Return the rows that name these blobs."""
    found = []
    for named in archive.NAMED:
        columns = named.table.c
        fields = (columns.get("recording_id"), columns.get("room_id"), columns.get("user_id"), columns.get("bytes"))
        statement = select(named, *(null() if each is None else each for each in fields)).where(named.in_(blobs))
        found += [Use(row[0], named.table.name, named.name, *row[1:]) for row in await db.execute(statement)]
    return found


async def torn(store: Store) -> AsyncIterator[Torn]:
    """Yield the rows of all tables whose content can't be read: some at a time, each time in a transaction of its own,
    so that neither memory nor the log of a database that is written meanwhile grows with the archive."""
    for table in metadata.sorted_tables:
        last: tuple[Any, ...] | None = None
        while True:
            async with store.read() as db:
                some = await _keys_behind(db, table, last)
                found = await _torn_among(db, table, some)
            for key in found:
                yield Torn(table.name, key)
            if len(some) < AT_ONCE:
                break
            last = some[-1]


def _keys(table: Table) -> list[Any]:
    """Make the columns of a table's key without their types, which may be what fails."""
    return [column(each.name) for each in table.primary_key]


async def _keys_behind(db: Connection, table: Table, last: tuple[Any, ...] | None) -> list[tuple[Any, ...]]:
    keys = _keys(table)
    statement = select(*keys).select_from(table).order_by(*keys).limit(AT_ONCE)
    if last is not None:
        statement = statement.where(tuple_(*keys) > tuple_(*map(literal, last)))
    return [tuple(row) for row in await db.execute(statement)]


async def _torn_among(db: Connection, table: Table, some: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    if not some or await _are_readable(db, _between(table, some[0], some[-1])):
        return []
    return [key for key in some if not await _are_readable(db, _between(table, key, key))]


def _between(table: Table, first: tuple[Any, ...], last: tuple[Any, ...]) -> Select[Any]:
    """Select the rows whose keys lie between two; for one key that row alone."""
    keys = _keys(table)
    if first == last:
        return select(table).where(*(key == value for key, value in zip(keys, first, strict=True)))
    whole = tuple_(*keys)
    return select(table).where(whole >= tuple_(*map(literal, first)), whole <= tuple_(*map(literal, last)))


async def _are_readable(db: Connection, statement: Select[Any]) -> bool:
    try:
        for row in await db.execute(statement):
            if not all(_fits(each, value) for each, value in zip(statement.selected_columns, row, strict=True)):
                return False
    except UNREADABLE:
        return False
    return True


def _fits(of: Any, value: object) -> bool:
    """Return whether a value is of its column's type, which SQLite does not demand."""
    assert isinstance(of, Column)
    if value is None:
        return bool(of.nullable)
    if isinstance(of.type, Integer):
        return isinstance(value, int)
    if isinstance(of.type, Float):
        return isinstance(value, int | float)
    return isinstance(value, str) or not isinstance(of.type, String)
