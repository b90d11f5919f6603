"""Walkie-talkies: the floor of each room, and the permits of its members."""

from typing import Any

from sqlalchemy import select, update

from storage.database import Connection
from storage.records import EventId, Permit, RoomId, UserId, Walkie
from storage.rows import columns, find, put, record
from storage.tables import permits, walkies


async def get(db: Connection, room_id: RoomId) -> Walkie | None:
    """Return a room's walkie-talkie; None where there never was one."""
    return await find(Walkie, db, walkies, room_id=room_id)


async def every(db: Connection) -> tuple[Walkie, ...]:
    """Return all walkie-talkies, also those that were switched off."""
    return tuple(record(Walkie, row) for row in await db.execute(select(walkies).order_by(walkies.c.room_id)))


async def save(db: Connection, walkie: Walkie) -> None:
    await put(db, walkies, columns(walkie))


async def note(db: Connection, room_id: RoomId, **changes: Any) -> None:
    """Store some fields of a walkie-talkie; the others may have changed since it was read."""
    await db.execute(update(walkies).where(walkies.c.room_id == room_id).values(**changes))


async def note_pinned(db: Connection, room_id: RoomId, panel: EventId | None) -> None:
    """Note which panel of a room the bot has pinned."""
    await db.execute(update(walkies).where(walkies.c.room_id == room_id).values(pinned=panel))


async def permits_of(db: Connection, room_id: RoomId, *users: UserId) -> tuple[Permit, ...]:
    """Return the permits of some members in a room, at most one of each for each source."""
    theirs = select(permits).where(permits.c.room_id == room_id, permits.c.user_id.in_(users))
    return tuple(record(Permit, row) for row in await db.execute(theirs))


async def permits_in(db: Connection, room_id: RoomId) -> tuple[Permit, ...]:
    """Return all permits in a room, those that ended too."""
    here = select(permits).where(permits.c.room_id == room_id).order_by(permits.c.position)
    return tuple(record(Permit, row) for row in await db.execute(here))


async def unwritten_permits(db: Connection, room_id: RoomId, most: int) -> tuple[Permit, ...]:
    """Return the oldest permits whose state event the bot has yet to write."""
    here = select(permits).where(permits.c.room_id == room_id, permits.c.written.is_(False))
    return tuple(record(Permit, row) for row in await db.execute(here.order_by(permits.c.position).limit(most)))


async def save_permit(db: Connection, permit: Permit) -> None:
    await put(db, permits, columns(permit))


async def note_written(db: Connection, permit: Permit) -> None:
    """Note that the state event of a permit of the bot's was written, unless a newer one waits."""
    this = (permits.c.room_id == permit.room_id, permits.c.user_id == permit.user_id, permits.c.source == permit.source)
    await db.execute(update(permits).where(*this, permits.c.position == permit.position).values(written=True))
