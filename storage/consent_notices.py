"""Consent notices: what a room was told of its recording, when, and by which event."""

from collections.abc import Collection

from sqlalchemy import select, update

from storage.database import Connection
from storage.dialect import insert
from storage.records import ConsentNotice, EventId, RoomId
from storage.rows import columns, record
from storage.tables import consent_notices


async def add(db: Connection, notice: ConsentNotice) -> None:
    """Store a notice; one that is stored already stays as it is."""
    await db.execute(insert(consent_notices).values(**columns(notice)).on_conflict_do_nothing())


async def of_room(db: Connection, room_id: RoomId) -> tuple[ConsentNotice, ...]:
    """Return the notices of a room, the newest first."""
    here = select(consent_notices).where(consent_notices.c.room_id == room_id)
    rows = await db.execute(here.order_by(consent_notices.c.said_at.desc(), consent_notices.c.event_id))
    return tuple(record(ConsentNotice, row) for row in rows)


async def every(db: Connection, room_ids: Collection[RoomId] | None = None) -> tuple[ConsentNotice, ...]:
    """Return the notices of these rooms, the oldest first; of all rooms when None."""
    of_these = select(consent_notices).order_by(consent_notices.c.said_at, consent_notices.c.event_id)
    if room_ids is not None:
        of_these = of_these.where(consent_notices.c.room_id.in_(list(room_ids)))
    return tuple(record(ConsentNotice, row) for row in await db.execute(of_these))


async def note_pinned(db: Connection, room_id: RoomId, event_id: EventId | None) -> None:
    """Note that of a room's notices this one is pinned and no other; None: none is."""
    here = consent_notices.c.room_id == room_id
    await db.execute(update(consent_notices).where(here).values(pinned=consent_notices.c.event_id == event_id))
