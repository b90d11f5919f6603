"""The JSON of one /sync, taken apart with care: what rooms, invites and devices it brings. Pure.

The answer is read as it came, not as nio makes of it: nio drops the clear part of what it decrypts, hands the state
block to nobody, and refuses the whole answer where one room of it is malformed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from bot.matrix.batch import Invite
from storage.records import Json, RoomId, UserId

MAX_TOKEN = 4096  # characters
_NOTHING = {"not_types": ["*"]}


class Size(Enum):
    """How much of each room an answer may hold: events of its timeline, and members in its state."""

    LIVE = (50, True)
    FIRST = (10, True)
    SHORT = (1, True)
    LEAST = (1, False)  # who is in a room is then read by itself

    def smaller(self) -> "Size":
        """The next one, for a homeserver whose answer was too long; the least stays."""
        sizes = list(Size)
        return sizes[min(sizes.index(self) + 1, len(sizes) - 1)]


def sync_filter(size: Size) -> dict[str, Any]:
    """Client-Server API, filtering: rooms with their members and so many events; nothing else."""
    events, members = size.value
    state: dict[str, Any] = {"lazy_load_members": False}
    return {
        "room": {
            "timeline": {"limit": events, "lazy_load_members": False},
            "state": state if members else {**state, "not_types": ["m.room.member"]},
            "ephemeral": _NOTHING,
            "account_data": _NOTHING,
        },
        "presence": _NOTHING,
        "account_data": _NOTHING,
    }


def brings_nothing(sync: Json) -> bool:
    """Whether an answer holds nothing but its token."""
    rooms, lists = section(sync, "rooms"), section(sync, "device_lists")
    return not (any(rooms.values()) or any(lists.values()) or to_device(sync))


@dataclass(frozen=True, slots=True)
class RawRoom:
    """One joined or left room of a sync, its events as they came."""

    room_id: RoomId
    joined: bool
    state: tuple[dict[str, Any], ...]
    timeline: tuple[dict[str, Any], ...]
    limited: bool
    prev_batch: str | None  # where what stands before the timeline can be had


def token(value: Any) -> str | None:
    """A token of the homeserver's; None for what can be none."""
    valid = isinstance(value, str) and 0 < len(value) <= MAX_TOKEN and value.isprintable() and value.isascii()
    return value if valid else None


def events_of(value: Any) -> tuple[dict[str, Any], ...]:
    """The events in a list of an answer: its objects, but those whose type is no text. All that follows looks it up."""
    found = value if isinstance(value, list) else []
    return tuple(one for one in found if isinstance(one, dict) and isinstance(one.get("type", ""), str))


def section(tree: Any, *names: str) -> Mapping[str, Any]:
    """A part of a JSON tree; empty where it is no object."""
    for name in names:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree if isinstance(tree, dict) else {}


def _rooms(sync: Json, kind: str) -> Iterator[tuple[RoomId, Mapping[str, Any]]]:
    for room_id, room in section(sync, "rooms", kind).items():
        if room_id.startswith("!") and isinstance(room, dict):
            yield RoomId(room_id), room


def rooms(sync: Json, user_id: UserId) -> tuple[RawRoom, ...]:
    """Joined rooms and those that the bot is out of; invites that ended are in `retracted`."""
    gone = set(_ended_invites(sync, user_id))
    found = []
    for kind in ("join", "leave"):
        for room_id, room in _rooms(sync, kind):
            if room_id in gone:
                continue
            timeline = section(room, "timeline")
            state = events_of(section(room, "state").get("events"))
            events = events_of(timeline.get("events"))
            limited = timeline.get("limited") is True
            before = token(timeline.get("prev_batch"))
            found.append(RawRoom(room_id, kind == "join", state, events, limited, before))
    return tuple(found)


def invites(sync: Json, user_id: UserId) -> tuple[Invite, ...]:
    """What the bot is invited to (Client-Server API, stripped state)."""
    found = []
    for room_id, room in _rooms(sync, "invite"):
        state = events_of(section(room, "invite_state").get("events"))
        own = next((event for event in reversed(state) if _is_own_membership(event, user_id)), None)
        inviter = own.get("sender") if own else None
        if own is None or not isinstance(inviter, str):
            continue
        direct = section(own, "content").get("is_direct") is True
        encrypted = any(event.get("type") == "m.room.encryption" for event in state)
        found.append(Invite(room_id, UserId(inviter), direct, encrypted, state))
    return tuple(found)


def retracted(sync: Json, user_id: UserId) -> tuple[RoomId, ...]:
    """Rooms where the bot was invited and now is not: taken back, or answered elsewhere."""
    again = {*section(sync, "rooms", "invite"), *section(sync, "rooms", "join")}  # since then, in the same sync
    return tuple(room_id for room_id in _ended_invites(sync, user_id) if room_id not in again)


def _ended_invites(sync: Json, user_id: UserId) -> tuple[RoomId, ...]:
    found = []
    for room_id, room in _rooms(sync, "leave"):
        events = [*events_of(section(room, "state").get("events")), *events_of(section(room, "timeline").get("events"))]
        own = next((event for event in reversed(events) if _is_own_membership(event, user_id)), None)
        before = section(own, "unsigned", "prev_content") or section(own, "prev_content")
        if before.get("membership") in ("invite", "knock"):
            found.append(room_id)
    return tuple(found)


def to_device(sync: Json) -> tuple[dict[str, Any], ...]:
    return events_of(section(sync, "to_device").get("events"))


def _is_own_membership(event: Json, user_id: UserId) -> bool:
    return event.get("type") == "m.room.member" and event.get("state_key") == user_id
