"""The name under which a message addresses the bot."""

from storage import rooms
from storage.database import Connection
from storage.records import RoomId, UserId


async def name_in(db: Connection, room_id: RoomId, user_id: UserId) -> str | None:
    """A member's display name, as clients write it when they mention them."""
    member = await rooms.state(db, room_id, "m.room.member", user_id)
    name = member.content.get("displayname") if member else None
    return name if isinstance(name, str) else None
