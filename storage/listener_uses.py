"""The last use of each personal address, which shows listeners whether somebody else has theirs; never from where."""

from collections.abc import Collection

from sqlalchemy import delete, select

from storage.database import Connection
from storage.records import ListenerUse, RoomId, UserId
from storage.rows import columns, put_all, record
from storage.tables import listener_uses, listeners


async def save(db: Connection, uses: Collection[ListenerUse]) -> None:
    """Save uses, no two of the same address."""
    await put_all(db, listener_uses, [columns(use) for use in uses])


async def used(db: Connection, room_id: RoomId, user_id: UserId) -> ListenerUse | None:
    """Return the last use of a user's address of a room's podcast."""
    theirs = (listener_uses.c.room_id == room_id) & (listener_uses.c.user_id == user_id)
    row = (await db.execute(select(listener_uses).where(theirs))).one_or_none()
    return record(ListenerUse, row) if row else None


async def of_user(db: Connection, user_id: UserId) -> dict[RoomId, ListenerUse | None]:
    """Return the rooms of whose podcast a user has an address, with its last use; None: never used."""
    rooms = (await db.execute(select(listeners.c.room_id).where(listeners.c.user_id == user_id))).scalars()
    return {RoomId(room_id): await used(db, RoomId(room_id), user_id) for room_id in sorted(rooms)}


async def of_room(db: Connection, room_id: RoomId) -> dict[UserId, ListenerUse | None]:
    """Return the users who have an address of a room's podcast, with its last use; None: never used."""
    users = (await db.execute(select(listeners.c.user_id).where(listeners.c.room_id == room_id))).scalars()
    uses = await db.execute(select(listener_uses).where(listener_uses.c.room_id == room_id))
    by_user = {row.user_id: record(ListenerUse, row) for row in uses}
    return {UserId(user_id): by_user.get(user_id) for user_id in users}


async def forget(db: Connection, user_id: UserId, room_ids: Collection[RoomId] | None) -> None:
    """Delete when and by what a user last used their addresses of these rooms; None: of all."""
    theirs = listener_uses.c.user_id == user_id
    if room_ids is not None:
        theirs &= listener_uses.c.room_id.in_(list(room_ids))
    await db.execute(delete(listener_uses).where(theirs))
