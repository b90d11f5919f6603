"""Gaps in rooms' timelines: what lies in each is read page by page, newest first, and has its places reserved.

A gap reserves positions when it is seen: what is found in it stands in front of all that was heard after it. Until it
is closed, or held nobody up for long enough, the room's later events wait, so that all are dealt with in order.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, select, update

from storage.database import Connection
from storage.dialect import insert
from storage.records import EventId, Position, RoomId, TimelineGap
from storage.rows import columns, record
from storage.tables import gaps, journal, newest_heard

OVERDUE_AFTER = timedelta(minutes=10)
"""So long a gap is waited for."""
PLACES = 1_000_000
"""Positions that a gap reserves. They cost nothing: SQLite's row ids are 64-bit numbers."""


async def open_gap(
    db: Connection,
    room_id: RoomId,
    *,
    cursor: str,
    until_token: str | None,
    until_event: EventId | None,
    low: Position,
    hold_until: datetime,
    now: datetime,
) -> TimelineGap:
    """Writes a gap down, in front of everything that will be heard from now on and behind `low`."""
    high = Position(low + PLACES)
    marker = {"position": high, "event_id": f"gap:{high}", "room_id": room_id, "event": None, "encrypted": False}
    marker |= {"clear_relation": None, "session_id": None, "history": True, "received_at": now, "handled": True}
    await db.execute(insert(journal).values(**marker))
    values: dict[str, Any] = {
        "room_id": room_id,
        "low": low,
        "following": Position(high - 1),
        "cursor": cursor,
        "mark": None,
        "until_token": until_token,
        "until_event": until_event,
        "pages": 0,
        "unclaimed": 0,
        "seen_at": now,
        "hold_until": hold_until,
        "walking": True,
    }
    found = await db.execute(insert(gaps).values(**values).returning(gaps.c.id))
    return TimelineGap(id=found.scalar_one(), **values)


async def get(db: Connection, gap_id: int) -> TimelineGap | None:
    row = (await db.execute(select(gaps).where(gaps.c.id == gap_id))).one_or_none()
    return record(TimelineGap, row) if row else None


async def walking(db: Connection, room_id: RoomId) -> tuple[TimelineGap, ...]:
    """A room's gaps that are being read, oldest first."""
    found = await db.execute(select(gaps).where(gaps.c.room_id == room_id, gaps.c.walking).order_by(gaps.c.low))
    return tuple(record(TimelineGap, row) for row in found)


async def closed(db: Connection, room_id: RoomId, overdue: datetime) -> TimelineGap | None:
    """The newest gap of a room that was read, or given up, since the room's state was last looked at, or that was seen
    before `overdue`."""
    over = gaps.c.walking.is_(False) | (gaps.c.seen_at <= overdue)
    mine = select(gaps).where(gaps.c.room_id == room_id, over)
    row = (await db.execute(mine.order_by(gaps.c.low.desc()).limit(1))).one_or_none()
    return record(TimelineGap, row) if row else None


async def is_walking(db: Connection, room_id: RoomId, since: datetime) -> bool:
    """Whether a gap of the room that was seen after `since` is still being read."""
    mine = select(gaps.c.id).where(gaps.c.room_id == room_id, gaps.c.walking, gaps.c.seen_at > since)
    return (await db.execute(mine.limit(1))).one_or_none() is not None


async def save(db: Connection, gap: TimelineGap) -> None:
    await db.execute(update(gaps).where(gaps.c.id == gap.id).values(**columns(gap)))


async def forget_closed(db: Connection, room_id: RoomId) -> None:
    """The room's state was looked at: nothing more is placed in gaps that were read."""
    await db.execute(delete(gaps).where(gaps.c.room_id == room_id, gaps.c.walking.is_(False)))


async def forget_room(db: Connection, room_id: RoomId) -> None:
    """The bot is out of the room: what it did not read is not for it."""
    await db.execute(delete(gaps).where(gaps.c.room_id == room_id))
    await db.execute(delete(newest_heard).where(newest_heard.c.room_id == room_id))


def held(now: datetime) -> ColumnElement[bool]:
    """Of a row of the journal: whether it stands behind a gap that everything of its room still waits for, or inside
    one: the broadcast of a chunk may stand on the next page."""
    inside = (journal.c.position <= gaps.c.low + PLACES) & (gaps.c.seen_at > now - OVERDUE_AFTER)
    return exists().where(
        gaps.c.room_id == journal.c.room_id,
        gaps.c.walking,
        gaps.c.low < journal.c.position,
        (gaps.c.hold_until > now) | inside,
    )


async def next_release(db: Connection, now: datetime) -> datetime | None:
    """When the next gap stops holding something up."""
    found = await db.execute(select(gaps.c.hold_until, gaps.c.seen_at).where(gaps.c.walking))
    ends = [at for row in found for at in (row.hold_until, row.seen_at + OVERDUE_AFTER) if at > now]
    return min(ends, default=None)


# ---- how far a room was heard


async def note_newest(db: Connection, room_id: RoomId, event_id: EventId) -> None:
    """The newest event of a room's timeline that a sync brought, kept or not."""
    statement = insert(newest_heard).values(room_id=room_id, event_id=event_id)
    await db.execute(statement.on_conflict_do_update(index_elements=["room_id"], set_={"event_id": event_id}))


async def newest(db: Connection, room_id: RoomId) -> EventId | None:
    """The newest event that was heard in a room; of one that was heard by an earlier version, the newest written."""
    noted = select(newest_heard.c.event_id).where(newest_heard.c.room_id == room_id)
    found = (await db.execute(noted)).scalar_one_or_none()
    if found is None:
        written = select(journal.c.event_id).where(journal.c.room_id == room_id, journal.c.event_id.startswith("$"))
        found = (await db.execute(written.order_by(journal.c.position.desc()).limit(1))).scalar_one_or_none()
    return EventId(found) if found else None
