"""State that tells who has the floor of a walkie-talkie, as marks in the timeline (`bot.recording.session.floor`).
Pure."""

from collections.abc import Mapping
from datetime import datetime

from bot.dialects import fields
from bot.event_types import FLOOR, MESSAGE, POWER_LEVELS
from storage.records import FloorMark, FloorMarkKind, Json, Position, RoomId, UserId

MARKS = frozenset({POWER_LEVELS, FLOOR})
"""Types of state that make marks."""
SPEAKS = 10
"""The power level that messages need in a locked room, and to which the holder of the floor is raised."""


def mark_of(kind: str, content: Json, room_id: RoomId, position: Position, now: datetime, *, ours: bool) -> FloorMark:
    """Return the mark that state of a type in `MARKS` makes. `ours`: the bot sent it."""
    if kind == FLOOR:
        holder = content.get("holder")
        named = isinstance(holder, str) and 0 < len(holder) <= fields.MAX_ID
        users: tuple[UserId, ...] = (UserId(str(holder)),) if named else ()
        return FloorMark(room_id, position, FloorMarkKind.FLOOR, users, ours, locked=True, noted_at=now)
    levels, events = content.get("users"), content.get("events")
    able = sorted(user for user, level in levels.items() if _speaks(level)) if isinstance(levels, Mapping) else []
    named = isinstance(events, Mapping) and MESSAGE in events
    needed = events[MESSAGE] if isinstance(events, Mapping) and named else content.get("events_default", 0)
    users = tuple(UserId(user) for user in able if len(user) <= fields.MAX_ID)
    return FloorMark(room_id, position, FloorMarkKind.POWER, users, ours, _speaks(needed), now)


def _speaks(level: object) -> bool:
    return isinstance(level, int) and level >= SPEAKS
