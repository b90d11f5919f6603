"""Whom a message is addressed to (Client-Server API, user and room mentions), and under which name."""

from collections.abc import Mapping

from storage import rooms
from storage.database import Connection
from storage.records import Json, RoomId, UserId

MOST_USERS = 50
"""Of one message that are looked at."""


def mentioned(event: Json) -> list[str]:
    """The users that a message mentions, as the sender's client says."""
    content = event.get("content")
    said = content.get("m.mentions") if isinstance(content, Mapping) else None
    users = said.get("user_ids") if isinstance(said, Mapping) else None
    return [user for user in users[:MOST_USERS] if isinstance(user, str)] if isinstance(users, list) else []


async def name_in(db: Connection, room_id: RoomId, user_id: UserId) -> str | None:
    """A member's display name, as clients write it when they mention them."""
    member = await rooms.state(db, room_id, "m.room.member", user_id)
    name = member.content.get("displayname") if member else None
    return name if isinstance(name, str) else None
