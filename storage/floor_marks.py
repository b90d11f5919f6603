"""Marks in rooms' timelines that tell who has the floor of a walkie-talkie (`bot.recording.session.floor`)."""

from datetime import datetime

from sqlalchemy import ColumnElement, delete, exists, select

from storage.database import Connection
from storage.dialect import insert
from storage.records import FloorMark, FloorMarkKind, Position, RoomId
from storage.rows import columns, record
from storage.tables import floor_marks

MOST = 1_000
"""Marks that are read at once: those of a voice broadcast, or of the time that the key of a message took."""


async def add(db: Connection, mark: FloorMark) -> None:
    """Store a mark, once."""
    keys = ["room_id", "position", "kind"]
    await db.execute(insert(floor_marks).values(**columns(mark)).on_conflict_do_nothing(index_elements=keys))


async def newest(db: Connection, room_id: RoomId, kind: FloorMarkKind, before: Position) -> FloorMark | None:
    """Return the newest mark of a kind before a position."""
    marks = select(floor_marks).where(_of(room_id, kind), floor_marks.c.position < before)
    row = (await db.execute(marks.order_by(floor_marks.c.position.desc()).limit(1))).one_or_none()
    return record(FloorMark, row) if row else None


async def around(
    db: Connection, room_id: RoomId, since: Position, until: Position | None = None
) -> tuple[FloorMark, ...]:
    """Return the marks between two positions (None: to now), and those before that tell who had the floor at the first
    one, in the order of the timeline."""
    told = await newest(db, room_id, FloorMarkKind.FLOOR, since)
    first = told.position if told is not None else Position(0)
    base = await newest(db, room_id, FloorMarkKind.POWER, first)
    wanted = select(floor_marks).where(floor_marks.c.room_id == room_id, floor_marks.c.position >= first)
    if until is not None:
        wanted = wanted.where(floor_marks.c.position < until)
    # In one state block both kinds have one position: the power levels come first, as in the timeline.
    rows = await db.execute(wanted.order_by(floor_marks.c.position, floor_marks.c.kind.desc()).limit(MOST))
    marks = [record(FloorMark, row) for row in rows]
    return tuple([base, *marks] if base is not None else marks)


def _of(room_id: RoomId, kind: FloorMarkKind) -> ColumnElement[bool]:
    return (floor_marks.c.room_id == room_id) & (floor_marks.c.kind == kind)


async def prune(db: Connection, before: datetime) -> None:
    """Delete the marks that are older than `before`, but for the newest two of each kind in a room."""
    newer, newest_of_all = floor_marks.alias("newer"), floor_marks.alias("newest_of_all")
    keys = floor_marks.c.room_id, floor_marks.c.kind
    is_newer = (newer.c.room_id == keys[0], newer.c.kind == keys[1], newer.c.position > floor_marks.c.position)
    is_newest = (
        newest_of_all.c.room_id == keys[0],
        newest_of_all.c.kind == keys[1],
        newest_of_all.c.position > newer.c.position,
    )
    outdone = exists().where(*is_newer, exists().where(*is_newest))
    await db.execute(delete(floor_marks).where(floor_marks.c.noted_at < before, outdone))
