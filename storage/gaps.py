"""Gaps in rooms' timelines: history fills each page by page, newest first, at positions that the gap reserved.

A gap reserves positions when it is seen, so that events found in it are placed before all events heard after it. Until
it is closed or overdue, later events of the room wait, so that all are handled in order.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, delete, exists, select, update

from storage.database import Connection
from storage.dialect import go_on_after, insert
from storage.records import EventId, Position, RoomId, TimelineGap
from storage.rows import columns, record
from storage.tables import gaps, journal, newest_heard

OVERDUE_AFTER = timedelta(minutes=10)
"""The time for which events of a room wait for a gap in it."""
PLACES = 1_000_000
"""Positions that a gap reserves. They cost nothing: positions are 64-bit numbers."""


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
    """Store a gap, after `low` and before everything that will be heard from now on."""
    high = Position(low + PLACES)
    marker = {"position": high, "event_id": f"gap:{high}", "room_id": room_id, "event": None, "encrypted": False}
    marker |= {"clear_relation": None, "session_id": None, "history": True, "received_at": now, "handled": True}
    await db.execute(insert(journal).values(**marker))
    await go_on_after(db, journal, high)
    values: dict[str, Any] = {
        "room_id": room_id,
        "low": low,
        "next_position": Position(high - 1),
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
    result = await db.execute(insert(gaps).values(**values).returning(gaps.c.id))
    return TimelineGap(id=result.scalar_one(), **values)


async def get(db: Connection, gap_id: int) -> TimelineGap | None:
    row = (await db.execute(select(gaps).where(gaps.c.id == gap_id))).one_or_none()
    return record(TimelineGap, row) if row else None


async def walking(db: Connection, room_id: RoomId) -> tuple[TimelineGap, ...]:
    """Return the gaps of a room that are still being read, oldest first."""
    rows = await db.execute(select(gaps).where(gaps.c.room_id == room_id, gaps.c.walking).order_by(gaps.c.low))
    return tuple(record(TimelineGap, row) for row in rows)


async def closed(db: Connection, room_id: RoomId, overdue: datetime) -> TimelineGap | None:
    """Return the newest gap of a room that was read or given up since the room's state was last checked, or that was
    seen before `overdue`."""
    over = gaps.c.walking.is_(False) | (gaps.c.seen_at <= overdue)
    mine = select(gaps).where(gaps.c.room_id == room_id, over)
    row = (await db.execute(mine.order_by(gaps.c.low.desc()).limit(1))).one_or_none()
    return record(TimelineGap, row) if row else None


async def is_walking(db: Connection, room_id: RoomId, since: datetime) -> bool:
    """Tell whether a gap of the room that was seen after `since` is still being read."""
    mine = select(gaps.c.id).where(gaps.c.room_id == room_id, gaps.c.walking, gaps.c.seen_at > since)
    return (await db.execute(mine.limit(1))).one_or_none() is not None


async def save(db: Connection, gap: TimelineGap) -> None:
    await db.execute(update(gaps).where(gaps.c.id == gap.id).values(**columns(gap)))


async def forget_closed(db: Connection, room_id: RoomId) -> None:
    """Delete a room's closed gaps, once its state was checked: no more events are placed in them."""
    await db.execute(delete(gaps).where(gaps.c.room_id == room_id, gaps.c.walking.is_(False)))


async def forget_room(db: Connection, room_id: RoomId) -> None:
    """Delete all gaps of a room, once the bot has left the room."""
    await db.execute(delete(gaps).where(gaps.c.room_id == room_id))
    await db.execute(delete(newest_heard).where(newest_heard.c.room_id == room_id))


HELD = exists().where(
    gaps.c.room_id == journal.c.room_id,
    gaps.c.walking,
    gaps.c.low < journal.c.position,
    (gaps.c.hold_until > bindparam("now"))
    | ((journal.c.position <= gaps.c.low + PLACES) & (gaps.c.seen_at > bindparam("seen_after"))),
)
"""The condition that a row of the journal waits for a gap at the time `at`: it comes after a gap that the whole room
still waits for, or lies inside one, where the broadcast of a chunk may be on the next page."""


def at(now: datetime) -> dict[str, datetime]:
    """Return the values of a time for a statement with `HELD`."""
    return {"now": now, "seen_after": now - OVERDUE_AFTER}


async def next_release(db: Connection, now: datetime) -> datetime | None:
    """Return when the next gap stops holding events back."""
    rows = await db.execute(select(gaps.c.hold_until, gaps.c.seen_at).where(gaps.c.walking))
    ends = [at for row in rows for at in (row.hold_until, row.seen_at + OVERDUE_AFTER) if at > now]
    return min(ends, default=None)


# ---- the newest event of a room


async def note_newest(db: Connection, room_id: RoomId, event_id: EventId) -> None:
    """Store the newest event of a room's timeline in a sync, whether it was kept or not."""
    statement = insert(newest_heard).values(room_id=room_id, event_id=event_id)
    await db.execute(statement.on_conflict_do_update(index_elements=["room_id"], set_={"event_id": event_id}))


async def newest(db: Connection, room_id: RoomId) -> EventId | None:
    """Return the newest event heard in a room. For a room last heard by an earlier version that is the newest in the
    journal."""
    noted = select(newest_heard.c.event_id).where(newest_heard.c.room_id == room_id)
    event_id = (await db.execute(noted)).scalar_one_or_none()
    if event_id is None:
        written = select(journal.c.event_id).where(journal.c.room_id == room_id, journal.c.event_id.startswith("$"))
        event_id = (await db.execute(written.order_by(journal.c.position.desc()).limit(1))).scalar_one_or_none()
    return EventId(event_id) if event_id else None
