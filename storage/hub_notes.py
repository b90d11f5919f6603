"""The revision of each room up to which the WebSub hub was told of its changes, or will be by a job."""

from sqlalchemy import Select, or_, select

from storage.database import Connection
from storage.records import RoomId
from storage.rows import put_all
from storage.tables import hub_notes, rooms


async def any_changed(db: Connection) -> bool:
    """Return whether a room changed since `take` was last asked."""
    return (await db.execute(_changed().limit(1))).first() is not None


async def take(db: Connection, limit: int) -> tuple[RoomId, ...]:
    """Return at most so many rooms that changed since this was last asked, and note that they did."""
    rows = [{"room_id": row.room_id, "revision": row.revision} for row in await db.execute(_changed().limit(limit))]
    await put_all(db, hub_notes, rows)
    return tuple(RoomId(row["room_id"]) for row in rows)


def _changed() -> Select[tuple[str, int]]:
    noted = rooms.outerjoin(hub_notes, rooms.c.room_id == hub_notes.c.room_id)
    changed = or_(hub_notes.c.revision.is_(None), hub_notes.c.revision != rooms.c.revision)
    return select(rooms.c.room_id, rooms.c.revision).select_from(noted).where(changed)
