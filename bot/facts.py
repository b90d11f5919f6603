"""Facts of a room, read from its raw state as the spec says them. Pure.

Whatever can't be read is no fact: junk names nothing, and lets nobody in.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from storage.records import EventId, HistoryVisibility, Json, RoomId, StateEvent

WALKIE_MADE = "org.aircheck.walkie.made"
"""The field of m.room.create that marks a room which the bot made for a walkie-talkie."""
JOIN = "join"
"""The membership of a user who is in the room."""
MAX_ID = 255
"""The most bytes of an id (Client-Server API, size limits)."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_TIME_MS = 253_402_300_799_999
"""The last millisecond that a datetime can say."""


def is_id(text: str) -> bool:
    """Return whether a text of the homeserver's may be an id: short, without control characters and lone surrogates."""
    return text.isprintable() and len(text.encode()) <= MAX_ID


def sent_at(event: Json) -> datetime | None:
    """Return `origin_server_ts`, the sender's word for the time, in milliseconds; None where it is no time.

    An integer (Client-Server API, room event format): canonical JSON knows no other numbers (Matrix spec, appendices),
    so `1700000000000.0` is none.
    """
    ms = event.get("origin_server_ts")
    if isinstance(ms, bool) or not isinstance(ms, int) or not 0 <= ms <= LAST_TIME_MS:
        return None
    return EPOCH + timedelta(milliseconds=ms)


def membership(content: object) -> str | None:
    """Return the membership that the content of an m.room.member event holds."""
    return _text(content, "membership")


def is_joined(member: StateEvent | None) -> bool:
    """Return whether the user of this m.room.member event is in the room; without an event nobody is."""
    return member is not None and membership(member.content) == JOIN


def display_name(member: StateEvent | None) -> str | None:
    """Return the display name that a member chose. One who was kicked or banned has none: somebody else wrote it."""
    if member is None or member.sender != member.state_key:
        return None
    name = _text(member.content, "displayname")
    # JSON can hold a lone surrogate, no database can.
    return None if name is None else name.encode("utf-8", "replace").decode()


def room_version(create: StateEvent | None) -> str | None:
    """Return the version that an m.room.create event names."""
    return _text(create.content, "room_version") if create else None


def room_name(name: StateEvent | None) -> str | None:
    """Return the name that an m.room.name event gives, as it came."""
    return _text(name.content, "name") if name else None


def aliases(alias: StateEvent | None) -> tuple[str, ...]:
    """Return the aliases that an m.room.canonical_alias event names, the main one first. Only the homeserver of an
    alias knows whether it leads to the room."""
    if alias is None:
        return ()
    others = alias.content.get("alt_aliases")
    names = [alias.content.get("alias"), *(others if isinstance(others, list | tuple) else ())]
    return tuple(dict.fromkeys(name for name in names if isinstance(name, str) and name and name.isprintable()))


def topic(topic: StateEvent | None) -> str | None:
    """Return the text that an m.room.topic event gives, as it came."""
    return _text(topic.content, "topic") if topic else None


def avatar(avatar: StateEvent | None) -> str | None:
    """Return the address of the picture that an m.room.avatar event gives, unchecked; None for an empty one."""
    return (_text(avatar.content, "url") if avatar else None) or None


def member_avatar(member: StateEvent | None) -> str | None:
    """Return the address of the avatar that a joined member chose, unchecked; None without one."""
    if member is None or not is_joined(member) or member.sender != member.state_key:
        return None
    return _text(member.content, "avatar_url") or None


def history_visibility(state: StateEvent | None) -> HistoryVisibility:
    """Return the visibility that an m.room.history_visibility event sets: `shared` without one (the spec's default),
    `joined` for junk."""
    if state is None:
        return HistoryVisibility.SHARED
    value = _text(state.content, "history_visibility")
    return HistoryVisibility(value) if value in set(HistoryVisibility) else HistoryVisibility.JOINED


def lets_anybody_join(rule: StateEvent | None) -> bool:
    """Return whether an m.room.join_rules event lets everybody in unasked; without one nobody."""
    return rule is not None and _text(rule.content, "join_rule") == "public"


def pinned(content: Json) -> list[object]:
    """Return the events that the content of an m.room.pinned_events event names, as they stand there."""
    pins = content.get("pinned")
    return list(pins) if isinstance(pins, list) else []


def is_space(create: object) -> bool:
    """Return whether an m.room.create event of this content makes a space (Client-Server API, spaces)."""
    return _text(create, "type") == "m.space"


def predecessor(create: StateEvent | None) -> RoomId | None:
    """Return the room that an m.room.create event names as replaced (Client-Server API, room upgrades).

    Anybody can make a room that names any other.
    """
    return _room_id(create.content.get("predecessor"), "room_id") if create else None


def replacement(tombstone: StateEvent | None) -> RoomId | None:
    """Return the room that an m.room.tombstone event names as its replacement (Client-Server API, room upgrades); None
    for one that was redacted or is empty."""
    return _room_id(tombstone.content, "replacement_room") if tombstone else None


def _room_id(content: object, key: str) -> RoomId | None:
    room_id = _text(content, key)
    # A lone surrogate, which JSON can hold and no database, is not printable.
    return RoomId(room_id) if room_id is not None and room_id.isprintable() else None


def _text(content: object, key: str) -> str | None:
    text = content.get(key) if isinstance(content, Mapping) else None
    return text if isinstance(text, str) else None


def walkie_marker(command: EventId) -> Json:
    """Return the content of m.room.create that marks a room which the bot makes for a walkie-talkie, by a command."""
    return {WALKIE_MADE: command}


def walkie_made_by(create: object) -> str | None:
    """Return the command that had the bot make a room for a walkie-talkie; None for other rooms. Anybody can mark a
    room: only one whose creator is the bot is such a room."""
    return _text(create, WALKIE_MADE)
