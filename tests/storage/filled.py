"""A row of each table, made of the tables' own description: every column holds something of its type."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Integer, LargeBinary, String, Table, Text

from storage import columns
from storage.database import Connection
from storage.records import (
    Away,
    CallEventKind,
    ChunkFacts,
    Container,
    Credit,
    DelayedRelease,
    DurationMs,
    EventId,
    Floor,
    Hole,
    Loss,
    Mark,
    MediaSource,
    MxcUri,
    PodcastTexts,
    Position,
    Raised,
    Retention,
    Samples,
    SavedLevel,
    Stem,
    StemPart,
    Timing,
    Transmission,
    Turn,
    Unheard,
)
from storage.tables import metadata
from tests.factories import ALICE, NOW

SAMPLES: Mapping[type, Any] = {
    columns.Aways: (Away(Samples(1), None),),
    columns.Chapters: (Mark(DurationMs(1), "Hello"),),
    columns.Credits: (Credit(ALICE, "Alice", Samples(1)),),
    columns.Delayed: DelayedRelease(1, ("id",)),
    columns.Devices: ("DEVICE",),
    columns.Facts: ChunkFacts(
        Container.OGG_OPUS, Timing.EXACT, Samples(1), 48_000, 1, holes=(Hole(Samples(0), Samples(1)),)
    ),
    columns.Floors: Floor(since=NOW),
    columns.Kept: Retention(days=3),
    columns.Lost: Loss(Samples(1), 1, ((Samples(0), Samples(1)),)),
    columns.Positions: (Position(1),),
    columns.RaisedUsers: (Raised(ALICE, had_entry=True, lowered_at=NOW),),
    columns.SavedLevels: (SavedLevel("m.room.name", 50, had_entry=False),),
    columns.Source: MediaSource(MxcUri("mxc://hs/a")),
    columns.StemParts: (StemPart(1, None, Samples(0), Samples(1)),),
    columns.Stems: (Stem(1, ALICE, "DEVICE", "Alice", Samples(0), Position(1), 1),),
    columns.Texts: PodcastTexts(title="Title"),
    columns.Transmissions: (Transmission(EventId("$t"), ALICE, Position(1), NOW, NOW, ended_at=NOW),),
    columns.Turns: (Turn(ALICE, "Alice", Samples(0), Samples(1)),),
    columns.UnheardTimes: (Unheard(ALICE, "DEVICE", CallEventKind.JOINED, Samples(0)),),
    columns.Users: (ALICE,),
    columns.Utc: NOW,
    columns.Words: ("word",),
    JSON: {"a": 1},
    LargeBinary: b"\0\1",
    Float: 1.5,
    Boolean: True,
}
"""Something of each type that does not depend on its column."""


def filled(table: Table, number: int) -> dict[str, Any]:
    """Return a row in which no column is empty. Rows of other numbers have other keys; rows that name a row of another
    table name that of the same number."""
    return {column.name: _value(column, number) for column in table.c}


def _value(column: Column[Any], number: int) -> Any:
    for key in column.foreign_keys:
        return _value(key.column, number)
    kind = type(column.type)
    if isinstance(column.type, columns.Word):
        return next(iter(column.type.kind))
    if isinstance(column.type, String | Text):
        return f"{column.name}{number}"
    if kind in (Integer, BigInteger):
        return number
    return SAMPLES[kind]


async def fill(db: Connection, rows: int) -> None:
    """Fill all tables with so many rows."""
    for table in metadata.sorted_tables:
        for number in range(1, rows + 1):
            await db.execute(table.insert().values(**filled(table, number)))
