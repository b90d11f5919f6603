"""Redactions that came before their events: federation keeps no order, and the event may follow.

Anybody can send one. Whether it counts is decided when its event comes (`bot.rules.may_redact`), and the number for
each room is limited.
"""

from datetime import datetime

from sqlalchemy import bindparam, delete, select

from storage.database import Connection
from storage.dialect import insert
from storage.records import EventId, RoomId, UserId
from storage.tables import redacted

MOST_OF_A_ROOM = 10_000
_BY = select(redacted.c.sender, redacted.c.may).where(
    redacted.c.event_id == bindparam("event"), redacted.c.room_id == bindparam("room")
)


async def note(
    db: Connection, room_id: RoomId, event_id: EventId, sender: UserId, now: datetime, *, may: bool | None = None
) -> None:
    """Record that `sender` redacts an event, and whether they had the power to redact others' events then (`may`; None:
    not known). The newest 10,000 of each room are kept."""
    statement = insert(redacted).values(room_id=room_id, event_id=event_id, sender=sender, noted_at=now, may=may)
    keys = ["event_id", "sender", "room_id"]
    either = redacted.c.may | statement.excluded.may
    await db.execute(statement.on_conflict_do_update(index_elements=keys, set_={"may": either}))
    of_room = redacted.c.room_id == room_id
    beyond = select(redacted.c.id).where(of_room).order_by(redacted.c.id.desc()).offset(MOST_OF_A_ROOM).limit(1)
    await db.execute(delete(redacted).where(of_room, redacted.c.id <= beyond.scalar_subquery()))


async def by(db: Connection, room_id: RoomId, event_id: EventId) -> dict[UserId, bool | None]:
    """Return who redacted an event before it came, and whether they had the power to redact others' events then."""
    rows = await db.execute(_BY, {"event": event_id, "room": room_id})
    return {UserId(row.sender): row.may for row in rows}


async def prune(db: Connection, before: datetime) -> None:
    await db.execute(delete(redacted).where(redacted.c.noted_at < before))
