"""The JSON of one answer to /sync, parsed with care: rooms, invites, events for the device. Pure.

nio's own parser is not used: it drops the clear part of decrypted events, hands nobody the state block, and refuses
the whole answer when one room in it is malformed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from bot import facts
from bot.event_types import ENCRYPTION, MEMBER, STICKY_FIELD
from bot.matrix.batch import Invite
from storage.records import Json, RoomId, UserId

MAX_TOKEN = 4096  # characters
_NOTHING = {"not_types": ["*"]}


class Size(Enum):
    """The size of an answer: the most events of each timeline, and whether the state holds members."""

    LIVE = (50, True)
    FIRST = (10, True)
    SHORT = (1, True)
    LEAST = (1, False)  # the members are then read room by room

    def smaller(self) -> "Size":
        """Give the next smaller size, after an answer that was too long; LEAST stays."""
        sizes = list(Size)
        return sizes[min(sizes.index(self) + 1, len(sizes) - 1)]


def sync_filter(size: Size) -> dict[str, Any]:
    """Build the filter for this size: only rooms, with members and events (Client-Server API, filtering)."""
    events, members = size.value
    state: dict[str, Any] = {"lazy_load_members": False}
    return {
        "room": {
            "timeline": {"limit": events, "lazy_load_members": False},
            "state": state if members else {**state, "not_types": [MEMBER]},
            "ephemeral": _NOTHING,
            "account_data": _NOTHING,
        },
        "presence": _NOTHING,
        "account_data": _NOTHING,
    }


def brings_nothing(sync: Json) -> bool:
    """Tell whether an answer holds nothing but its token."""
    rooms, lists = section(sync, "rooms"), section(sync, "device_lists")
    return not (any(rooms.values()) or any(lists.values()) or to_device(sync))


@dataclass(frozen=True, slots=True)
class RawRoom:
    """A joined or left room of an answer, with raw events. `sticky`: events that are sticky yet, and that the timeline
    leaves out (MSC4354); a homeserver that has them sends them without being asked."""

    room_id: RoomId
    joined: bool
    state: tuple[dict[str, Any], ...]
    timeline: tuple[dict[str, Any], ...]
    limited: bool
    prev_batch: str | None  # the token at which the history before the timeline begins
    sticky: tuple[dict[str, Any], ...] = ()


def token(value: Any) -> str | None:
    """Return a well-formed token of the homeserver; None for anything else."""
    valid = isinstance(value, str) and 0 < len(value) <= MAX_TOKEN and value.isprintable() and value.isascii()
    return value if valid else None


def events_of(value: Any) -> tuple[dict[str, Any], ...]:
    """Keep the events in a list of an answer: its objects, except those whose type is not a string."""
    entries = value if isinstance(value, list) else []
    return tuple(entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("type", ""), str))


def section(tree: Any, *names: str) -> Mapping[str, Any]:
    """Get an object from a JSON tree by its keys; empty if there is none."""
    for name in names:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree if isinstance(tree, dict) else {}


def _rooms(sync: Json, kind: str) -> Iterator[tuple[RoomId, Mapping[str, Any]]]:
    for room_id, room in section(sync, "rooms", kind).items():
        if room_id.startswith("!") and facts.is_id(room_id) and isinstance(room, dict):
            yield RoomId(room_id), room


def rooms(sync: Json, user_id: UserId) -> tuple[RawRoom, ...]:
    """List joined and left rooms; ended invites are in `retracted` instead."""
    ended_invites = set(_ended_invites(sync, user_id))
    raw_rooms = []
    for kind in ("join", "leave"):
        for room_id, room in _rooms(sync, kind):
            if room_id in ended_invites:
                continue
            timeline = section(room, "timeline")
            state = events_of(section(room, "state").get("events"))
            events = events_of(timeline.get("events"))
            limited = timeline.get("limited") is True
            prev_batch = token(timeline.get("prev_batch"))
            sticky = events_of(section(room, STICKY_FIELD).get("events"))
            raw_rooms.append(RawRoom(room_id, kind == "join", state, events, limited, prev_batch, sticky))
    return tuple(raw_rooms)


def invites(sync: Json, user_id: UserId) -> tuple[Invite, ...]:
    """List the bot's invites (Client-Server API, stripped state)."""
    received = []
    for room_id, room in _rooms(sync, "invite"):
        state = events_of(section(room, "invite_state").get("events"))
        own = next((event for event in reversed(state) if _is_own_membership(event, user_id)), None)
        inviter = own.get("sender") if own else None
        if own is None or not isinstance(inviter, str) or not facts.is_id(inviter):
            continue
        direct = section(own, "content").get("is_direct") is True
        encrypted = any(event.get("type") == ENCRYPTION for event in state)
        received.append(Invite(room_id, UserId(inviter), direct, encrypted, state))
    return tuple(received)


def retracted(sync: Json, user_id: UserId) -> tuple[RoomId, ...]:
    """List rooms whose invite has ended: withdrawn, or answered elsewhere."""
    newer = {*section(sync, "rooms", "invite"), *section(sync, "rooms", "join")}  # invited or joined again since
    return tuple(room_id for room_id in _ended_invites(sync, user_id) if room_id not in newer)


def _ended_invites(sync: Json, user_id: UserId) -> tuple[RoomId, ...]:
    ended = []
    for room_id, room in _rooms(sync, "leave"):
        events = [*events_of(section(room, "state").get("events")), *events_of(section(room, "timeline").get("events"))]
        own = next((event for event in reversed(events) if _is_own_membership(event, user_id)), None)
        before = section(own, "unsigned", "prev_content") or section(own, "prev_content")
        if before.get("membership") in ("invite", "knock"):
            ended.append(room_id)
    return tuple(ended)


def to_device(sync: Json) -> tuple[dict[str, Any], ...]:
    return events_of(section(sync, "to_device").get("events"))


def _is_own_membership(event: Json, user_id: UserId) -> bool:
    return event.get("type") == MEMBER and event.get("state_key") == user_id
