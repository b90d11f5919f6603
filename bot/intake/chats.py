"""Direct chats by our state: rooms that hold only the bot and one user, who need no prefix there.

Such a room is a room like any other too: a moderator can have it recorded.
"""

from bot import rules
from storage import archive, heirs, rooms
from storage.database import Connection
from storage.records import Room, RoomId, UserId

ENOUGH = 3
"""So many members show that two are not alone."""


async def is_meant_as_chat(db: Connection, room: Room) -> bool:
    """Return whether the room was made as a direct chat, by the bot or by whoever invited it."""
    return room.direct or await rooms.direct_user(db, room.room_id) is not None


async def is_mere_chat(db: Connection, room: Room) -> bool:
    """Return whether the room is a direct chat without a podcast; one with `record on` is a room like any other."""
    return await is_meant_as_chat(db, room) and not await has_podcast(db, room)


async def has_podcast(db: Connection, room: Room) -> bool:
    """Return whether the room is recorded, or was."""
    return bool(room.switched_on) or bool(await archive.recordings(db, await heirs.line(db, room.room_id), limit=1))


async def are_alone(db: Connection, room: Room, user_id: UserId, us: UserId) -> bool:
    """Return whether the room is a direct chat that holds only the bot and this user."""
    return await is_meant_as_chat(db, room) and await holds_only(db, room.room_id, user_id, us)


async def holds_only(db: Connection, room_id: RoomId, user_id: UserId, us: UserId) -> bool:
    """Return whether a room holds only the bot and this user. Anybody can call a room of thousands a direct chat, so
    the members are not all read."""
    return rules.are_alone(await rooms.present_members(db, room_id, ENOUGH), user_id, us)
