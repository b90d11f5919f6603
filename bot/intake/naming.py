"""The names of members, as the bot says them in their room."""

from collections.abc import Sequence

from bot import facts
from bot.feeds.shown import person
from storage import rooms
from storage.database import Connection
from storage.records import RoomId, UserId


async def names_of(db: Connection, room_id: RoomId, users: Sequence[UserId]) -> list[str]:
    """Return members' display names in a room, or their ids where there is none that can be shown."""
    members = await rooms.member_states(db, room_id, users)
    return [person(facts.display_name(members.get(user)), user) for user in users]


async def name_of(db: Connection, room_id: RoomId, user_id: UserId) -> str:
    """Return one member's name, as `names_of` does."""
    (name,) = await names_of(db, room_id, [user_id])
    return name
