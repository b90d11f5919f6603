"""Portraits of speakers: the pictures that were made of their avatars in a room."""

from collections.abc import Collection, Sequence

from sqlalchemy import delete, select

from storage.database import Connection
from storage.records import BlobKey, Portrait, RecordingId, RoomId, UserId
from storage.rows import AT_ONCE, columns, put, record
from storage.tables import episodes, portraits, recordings


async def of(db: Connection, room_id: RoomId, user_id: UserId) -> Portrait | None:
    theirs = (portraits.c.room_id == room_id) & (portraits.c.user_id == user_id)
    row = (await db.execute(select(portraits).where(theirs))).one_or_none()
    return record(Portrait, row) if row else None


async def of_room(db: Connection, room_id: RoomId) -> tuple[Portrait, ...]:
    """Return the portraits of a room, also those of avatars that can't be used."""
    rows = await db.execute(select(portraits).where(portraits.c.room_id == room_id))
    return tuple(record(Portrait, row) for row in rows)


async def of_rooms(db: Connection, room_ids: Sequence[RoomId]) -> dict[tuple[RoomId, UserId], BlobKey]:
    """Return the pictures of the speakers of these rooms; a speaker without one is absent."""
    there = portraits.c.room_id.in_(list(room_ids)) & portraits.c.blob.is_not(None)
    rows = await db.execute(select(portraits).where(there))
    return {(RoomId(row.room_id), UserId(row.user_id)): BlobKey(row.blob) for row in rows}


async def beginning(db: Connection, room_ids: Collection[RoomId], digest: str) -> tuple[Portrait, ...]:
    """Return the portraits in these rooms whose key begins with these hexadecimal digits."""
    these = portraits.c.room_id.in_(list(room_ids)) & portraits.c.blob.startswith(digest, autoescape=True)
    rows = await db.execute(select(portraits).where(these).order_by(portraits.c.room_id, portraits.c.user_id))
    return tuple(record(Portrait, row) for row in rows)


async def of_users(
    db: Connection, room_ids: Collection[RoomId], user_ids: Collection[UserId]
) -> frozenset[tuple[RoomId, UserId]]:
    """Return which of these users have a row in which of these rooms: whose avatars are followed."""
    theirs = portraits.c.room_id.in_(list(room_ids)) & portraits.c.user_id.in_(list(user_ids))
    rows = await db.execute(select(portraits.c.room_id, portraits.c.user_id).where(theirs))
    return frozenset((RoomId(row.room_id), UserId(row.user_id)) for row in rows)


async def unportrayed_after(
    db: Connection, last: RecordingId
) -> tuple[RecordingId | None, frozenset[tuple[RoomId, UserId]]]:
    """Return the speakers without a row, by room, of the next few recordings with an episode behind this one, and the
    last of those; None where there are none."""
    said = select(recordings.c.id, recordings.c.room_id, recordings.c.broadcaster, recordings.c.speakers)
    behind = said.join(episodes, episodes.c.recording_id == recordings.c.id).where(recordings.c.id > last)
    rows = (await db.execute(behind.order_by(recordings.c.id).limit(AT_ONCE))).all()
    heard = {
        (RoomId(row.room_id), user_id)
        for row in rows
        for user_id in [each.user_id for each in row.speakers] or [UserId(row.broadcaster)]
    }
    known = await of_users(db, {room_id for room_id, _ in heard}, {user_id for _, user_id in heard})
    return (RecordingId(rows[-1].id) if rows else None), frozenset(heard - known)


async def save(db: Connection, value: Portrait) -> None:
    await put(db, portraits, columns(value))


async def remove(db: Connection, user_id: UserId, room_ids: Collection[RoomId] | None) -> frozenset[BlobKey]:
    """Delete a user's portraits in these rooms (None: in all); return the blobs that they no longer need."""
    theirs = portraits.c.user_id == user_id
    if room_ids is not None:
        theirs &= portraits.c.room_id.in_(list(room_ids))
    gone = await db.execute(delete(portraits).where(theirs).returning(portraits.c.blob))
    return frozenset(BlobKey(blob) for blob in gone.scalars() if blob is not None)
