"""Room state: from a raw event to the little of it that is kept. Pure."""

from bot import dialects, facts
from bot.dialects import fields
from bot.event_types import (
    CALLS,
    CANONICAL_ALIAS,
    CREATE,
    DISCLOSURE,
    ENCRYPTION,
    FLOOR,
    HISTORY_VISIBILITY,
    JOIN_RULES,
    MEMBER,
    PERMIT,
    POWER_LEVELS,
    ROOM_AVATAR,
    ROOM_NAME,
    ROOM_TOPIC,
    TOMBSTONE,
)
from bot.recording.model import BroadcastChanged, BroadcastStarted
from bot.walkie import permits
from storage.records import EventId, HeardEvent, Json, Position, RoomId, StateEvent, UserId

KEPT = frozenset(
    {
        CREATE,
        POWER_LEVELS,
        ENCRYPTION,
        ROOM_NAME,
        ROOM_TOPIC,
        ROOM_AVATAR,
        CANONICAL_ALIAS,
        TOMBSTONE,
        MEMBER,
        HISTORY_VISIBILITY,
        JOIN_RULES,
        DISCLOSURE,
        PERMIT,
        FLOOR,
        *CALLS,
        *dialects.INFOS,
    }
)
"""Types of state that are kept."""
TEXTS = {
    ROOM_NAME: ("name",),
    ROOM_TOPIC: ("topic",),
    ROOM_AVATAR: ("url",),
    CANONICAL_ALIAS: ("alias",),
    TOMBSTONE: ("replacement_room",),
    JOIN_RULES: ("join_rule",),
    MEMBER: ("membership", "displayname", "avatar_url"),
}
"""Types of which some texts are kept, and nothing else."""
LISTS = {CANONICAL_ALIAS: ("alt_aliases",)}
"""Types of which some lists of texts are kept too."""
MOST_TEXTS = 50
"""The longest list of texts that is kept."""
TEXT_CHARACTERS = 2000
"""The longest text that is kept, more than is ever shown: an event may hold 65,536 bytes, a room 10,000 members."""
BROADCAST = "broadcast"
"""In the content that is kept of an info event, and all of it: the broadcast that the event is about."""
UNPLACED = Position(0)


def is_kept(heard: HeardEvent) -> bool:
    """Return whether the event is state of a kept type, and no forgery out of an encrypted payload."""
    return fields.type_of(heard.event) in KEPT and isinstance(heard.event.get("state_key"), str) and not heard.encrypted


def stands_at(event: Json, kind: str, key: str = "") -> bool:
    """Return whether a raw event is state of this type under this key."""
    return event.get("type") == kind and event.get("state_key") == key


def makes_a_space(event: Json) -> bool:
    """Return whether a raw event is the creation of a space."""
    return fields.type_of(event) == CREATE and facts.is_space(event.get("content"))


def kept_state(room_id: RoomId, event: Json, at: Position = UNPLACED) -> StateEvent | None:
    """Read a raw state event of a kept type; None for another one, and for one that makes no sense."""
    kind, key, sender, content = (event.get(name) for name in ("type", "state_key", "sender", "content"))
    if kind not in KEPT or not isinstance(key, str) or not isinstance(sender, str):
        return None
    if not isinstance(content, dict) or not (facts.is_id(key) and facts.is_id(sender)):
        return None
    if kind in dialects.INFOS:
        if key != sender:
            return None  # each user has their own, whatever somebody else sends
        broadcast = _broadcast(room_id, event)
        content = {BROADCAST: broadcast} if broadcast else {}
    if kind == PERMIT:
        if key != sender:
            return None  # anybody may write one under a key that is no user id, also the bot's keys
        content = dict(permits.content(permits.read(room_id, UserId(sender), content, at)))
    if kind in TEXTS:
        texts = {name: short_text(content[name]) for name in TEXTS[kind] if name in content}
        content = texts | {name: short_texts(content[name]) for name in LISTS.get(kind, ()) if name in content}
    event_id = event.get("event_id")
    return StateEvent(
        room_id=room_id,
        type=kind,
        state_key=key,
        sender=UserId(sender),
        content=content,
        position=at,
        event_id=EventId(event_id) if isinstance(event_id, str) and facts.is_id(event_id) else None,
        sent_at=fields.sent_at(event),
    )


def broadcast_of(info: StateEvent) -> EventId | None:
    """Return the broadcast that a kept info event is about."""
    broadcast = info.content.get(BROADCAST)
    return EventId(broadcast) if isinstance(broadcast, str) else None


def short_text(value: object) -> str | None:
    """Return the beginning of a text; None for anything else."""
    return value[:TEXT_CHARACTERS] if isinstance(value, str) else None


def short_texts(value: object) -> list[str]:
    """Return the beginnings of the first texts of a list; none of anything else."""
    texts = value[:MOST_TEXTS] if isinstance(value, list) else []
    return [text[:TEXT_CHARACTERS] for text in texts if isinstance(text, str)]


def _broadcast(room_id: RoomId, event: Json) -> EventId | None:
    """Return the broadcast that an info event is about; None for one that is redacted or not valid."""
    event_id = event.get("event_id")
    if not isinstance(event_id, str):
        return None
    match dialects.read(HeardEvent(room_id, EventId(event_id), event)):
        case BroadcastStarted():
            return EventId(event_id)
        case BroadcastChanged(broadcast=broadcast):
            return broadcast
        case _:
            return None
