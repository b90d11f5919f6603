"""State that tells who has the floor of a walkie-talkie, as marks in the timeline (`bot.recording.session.floor`).
Pure."""

from datetime import datetime

from bot.dialects import fields
from bot.dialects.state import stands_at
from bot.event_types import FLOOR, MESSAGE, POWER_LEVELS
from storage.records import FloorMark, FloorMarkKind, Json, Position, RoomId, UserId

MARKS = frozenset({POWER_LEVELS, FLOOR})
"""Types of state that make marks."""
SPEAKS = 10
"""The power level that messages need in a locked room, and to which the holder of the floor is raised."""


def mark_of(event: Json, us: UserId, room_id: RoomId, position: Position, now: datetime) -> FloorMark | None:
    """Return the mark that a raw event makes; None for one of no type in `MARKS`, and for somebody else's floor event.
    `us`: the bot."""
    kind, ours = fields.type_of(event), fields.sender_of(event) == us
    if kind not in MARKS or not stands_at(event, kind):
        return None
    content = fields.mapping(event.get("content"))
    if kind == FLOOR and not ours:
        return None
    if kind == FLOOR:
        holder = fields.user_id(content.get("holder"))
        named = () if holder is None else (holder,)
        return FloorMark(room_id, position, FloorMarkKind.FLOOR, named, ours, locked=True, noted_at=now)
    users, events = fields.mapping(content.get("users")), fields.mapping(content.get("events"))
    able = tuple(sorted(UserId(user) for user, level in users.items() if _speaks(level) and fields.user_id(user)))
    needed = events[MESSAGE] if MESSAGE in events else content.get("events_default", 0)
    return FloorMark(room_id, position, FloorMarkKind.POWER, able, ours, _speaks(needed), now)


def _speaks(level: object) -> bool:
    return isinstance(level, int) and level >= SPEAKS
