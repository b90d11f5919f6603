"""Rows compared with what they should be: whole, readable, and about files that are there. For `aircheck verify`."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Float,
    Integer,
    LargeBinary,
    String,
    Table,
    column,
    literal,
    null,
    select,
    tuple_,
    type_coerce,
)

from storage import archive, dialect
from storage.database import FILE_NAME, Connection
from storage.errors import TornTextError
from storage.place import Place
from storage.records import BlobKey, RecordingId, RoomId, UserId, Via
from storage.store import Store
from storage.tables import chunks, metadata, recordings, studio_slices, studios

AT_ONCE = 200
FIELDS = ("recording_id", "room_id", "user_id", "bytes", "stem", "via")
"""The columns that say what a row that names a blob is about, where it has them."""
NO_TEXT = "its key is no text"
"""Word in place of a key that can't be read."""
UNREADABLE = (ValueError, TypeError, KeyError, LookupError, AttributeError, TornTextError)
"""The errors for content that the types of columns have not written."""


@dataclass(frozen=True, slots=True)
class Use:
    """A row that names a blob: its table and column, what it is about, and the length that it gives. `stem`: the number
    of the stem that a chunk is a slice of; `via`: the way on which its recording came."""

    blob: BlobKey
    table: str
    column: str
    recording: RecordingId | None
    room: RoomId | None
    user: UserId | None
    bytes: int | None
    stem: int | None = None
    via: Via | None = None

    @property
    def is_last(self) -> bool:
        """Return whether the blob is made of nothing else, and nobody else has it: sound of a call, the picture that a
        moderator chose, or what was uploaded in a studio."""
        if self.table == "chunks":
            return self.stem is not None or self.via is not None
        return self.table in ("stem_blobs", "recordings", "studios", "studio_slices") or self.column == "own_cover"

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
        fields = [_told(named.table, name) for name in FIELDS]
        statement = select(named, *fields).where(named.in_(blobs))
        found += [Use(row[0], named.table.name, named.name, *row[1:]) for row in await db.execute(statement)]
    return found


def _told(table: Table, name: str) -> ColumnElement[Any]:
    """Return what a table's rows tell by this name, also by the row that they belong to; NULL if they don't."""
    if table is recordings and name == "recording_id":
        return recordings.c.id
    if table is chunks and name == "via":
        return select(recordings.c.via).where(recordings.c.id == chunks.c.recording_id).scalar_subquery()
    if table is studio_slices and name in ("room_id", "user_id"):
        return select(studios.c[name]).where(studios.c.id == studio_slices.c.studio_id).scalar_subquery()
    told = None if table is studios and name == "bytes" else table.c.get(name)  # those are its slices'
    return null() if told is None else told


async def torn_names(db: Connection) -> list[tuple[Use, tuple[Any, ...]]]:
    """Return the rows whose name of a blob is torn, with their keys. Their `blob` is empty: which one is meant nobody
    knows."""
    found = []
    for named in archive.NAMED:
        keys = _keys(named.table)
        statement = select(*(_told(named.table, name) for name in FIELDS), *keys)
        for row in await db.execute(statement.where(archive.is_torn(named)).order_by(*keys)):
            about, key = row[: len(FIELDS)], tuple(row[len(FIELDS) :])
            found.append((Use(BlobKey(""), named.table.name, named.name, *about), key))
    return found


async def torn(store: Store) -> AsyncIterator[Torn]:
    """Yield the rows of all tables whose content can't be read."""
    for table in metadata.sorted_tables:
        async for row in torn_of(store, table):
            yield row


async def torn_of(store: Store, table: Table) -> AsyncIterator[Torn]:
    """Yield the rows of a table whose content can't be read: some at a time, each time in a transaction of its own, so
    that neither memory nor the log of a database that is written meanwhile grows with the archive."""
    last: tuple[Any, ...] | None = None
    while True:
        async with store.read() as db:
            try:
                some = await _keys_behind(db, table, last)
            except TornTextError:
                some, found = [], [(NO_TEXT,)]  # and nothing behind it can be read
            else:
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
    if not some or await _are_readable(db, table, _between(table, some[0], some[-1])):
        return []
    return [key for key in some if not await _are_readable(db, table, _between(table, key, key))]


def _between(table: Table, first: tuple[Any, ...], last: tuple[Any, ...]) -> list[ColumnElement[bool]]:
    """Make the conditions of the rows whose keys lie between two; for one key of that row alone."""
    keys = _keys(table)
    if first == last:
        return [key == value for key, value in zip(keys, first, strict=True)]
    whole = tuple_(*keys)
    return [whole >= tuple_(*map(literal, first)), whole <= tuple_(*map(literal, last))]


async def _are_readable(db: Connection, table: Table, where: Sequence[ColumnElement[bool]]) -> bool:
    statement = select(*map(_as_kept, table.c)).where(*where)
    try:
        for row in await db.execute(statement):
            if not all(_fits(each, value) for each, value in zip(table.c, row, strict=True)):
                return False
    except UNREADABLE:
        return False
    return True


def _as_kept(of: Column[Any]) -> ColumnElement[Any]:
    """Return a column for reading. The type of a truth value takes anything for one."""
    return type_coerce(of, Integer).label(of.name) if isinstance(of.type, Boolean) else of


def _fits(of: Column[Any], value: object) -> bool:
    """Return whether a value is of its column's type, which SQLite does not demand."""
    if value is None:
        return bool(of.nullable)
    if isinstance(of.type, Boolean):
        return isinstance(value, int) and value in (0, 1)
    if isinstance(of.type, LargeBinary):
        return isinstance(value, bytes)
    if isinstance(of.type, Integer):
        return isinstance(value, int)
    if isinstance(of.type, Float):
        return isinstance(value, int | float)
    return isinstance(value, str) or not isinstance(of.type, String)
