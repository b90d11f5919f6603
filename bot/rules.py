"""Rules: who may do what, and who may hear what, read from raw room state as the spec says. Pure.

Whatever can't be read fails closed: junk gives nobody power, and history under an unknown rule is for those who were
there.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase

from bot.event_types import (
    BROADCAST_INFOS,
    ENCRYPTED,
    HISTORY_VISIBILITY,
    MSC3888_CHUNK,
    MSC3888_INFO,
    RTC_MEMBER,
    SHOWN_IN_CALL,
)
from bot.facts import JOIN, is_joined, membership
from storage.records import CallProtocol, HistoryVisibility, Json, Position, RoomPower, StateEvent, UserId

CREATOR = 1 << 53
"""The power of a room version 12 creator, above every level that an event can hold."""

MOD = 50
CREATORS_RULE_SINCE = 12  # room versions; before, a creator's power is that of the levels
SENDER_CREATES_SINCE = 11  # before, `content.creator` names the creator
INTEGERS_SINCE = 10  # before, levels may be strings

# Room versions 1 to 9, "Deprecated event content formats": a base 10 integer with white space around it.
_LEVEL = re.compile(r"[\t\n\v\f\r ]*([+-]?[0-9]{1,16})[\t\n\v\f\r ]*", re.ASCII)


def power_of(user: UserId, room: RoomPower) -> int:
    """Return a user's power level, or CREATOR (Client-Server API, m.room.power_levels; room version 12).

    Without power levels the creator has 100 and everybody else 0. Where the room's create event is not known,
    neither is its version: nobody has any power.
    """
    if room.create is None:
        return 0
    version = _version(room.create)
    if version >= CREATORS_RULE_SINCE and user in _creators(room.create):
        return CREATOR
    if room.power is None:
        return 100 if user == _creator(room.create, version) else 0
    users = room.power.content.get("users", {})
    if not isinstance(users, Mapping):
        return 0
    value = users[user] if user in users else room.power.content.get("users_default", 0)
    level = _level(value, version)
    return 0 if level is None else level


def is_mod(user: UserId, room: RoomPower) -> bool:
    """Return whether the user has power of at least 50, and at least what state events need."""
    return power_of(user, room) >= max(MOD, _state_default(room))


def may_redact(user: UserId, sender: UserId, room: RoomPower) -> bool:
    """Return whether a redaction by `user` counts for an event of `sender`: one's own always, others' by power."""
    return user == sender or may_redact_others(user, room) is True


def may_redact_others(user: UserId, room: RoomPower) -> bool | None:
    """Return whether a user has the level `redact`, by default 50 (Client-Server API, redactions); nobody has a level
    that can't be read. None: the room's state is not known."""
    if room.create is None:
        return None
    value = room.power.content.get("redact", MOD) if room.power else MOD
    level = _level(value, _version(room.create))
    return power_of(user, room) >= (CREATOR if level is None else level)


def may_send_state(user: UserId, kind: str, room: RoomPower) -> bool:
    """Return whether the user may send state of this type (Client-Server API, m.room.power_levels, `events`). Nobody
    may where the level can't be read or the room is not known."""
    if room.create is None:
        return False
    events = room.power.content.get("events") if room.power else None
    if isinstance(events, Mapping) and kind in events:
        level = _level(events[kind], _version(room.create))
        return power_of(user, room) >= (CREATOR if level is None else level)
    return power_of(user, room) >= _state_default(room)


def may_broadcast(user: UserId, room: RoomPower) -> bool:
    """Return whether the user may begin a voice broadcast in the room: by the level of one of its info events (MSC3888,
    and Element's), or as a moderator."""
    return is_mod(user, room) or any(may_send_state(user, kind, room) for kind in BROADCAST_INFOS)


def may_send_broadcast(us: UserId, room: RoomPower, *, sealed: bool) -> bool:
    """Return whether the bot may send what is said in a studio into the room: a broadcast's info event, and its chunks.
    `sealed`: the room is encrypted."""
    return may_send_state(us, MSC3888_INFO, room) and may_send(us, ENCRYPTED if sealed else MSC3888_CHUNK, room)


def may_show_in_call(user: UserId, protocol: CallProtocol, room: RoomPower, *, sticky: bool = False) -> bool:
    """Return whether the user may be shown in a call of the room, and so take part in it: by state, or by a sticky
    event."""
    return may_send(user, RTC_MEMBER, room) if sticky else may_send_state(user, SHOWN_IN_CALL[protocol], room)


def may_send(user: UserId, kind: str, room: RoomPower) -> bool:
    """Return whether the user may send messages of this type (Client-Server API, m.room.power_levels, `events` and
    `events_default`). Nobody may where the level can't be read or the room is not known."""
    if room.create is None:
        return False
    content = room.power.content if room.power else {}
    events = content.get("events")
    named = isinstance(events, Mapping) and kind in events
    value = events[kind] if isinstance(events, Mapping) and named else content.get("events_default", 0)
    level = _level(value, _version(room.create))
    return power_of(user, room) >= (CREATOR if level is None else level)


def may_hear(visibility: HistoryVisibility, started: Position, member: StateEvent | None) -> bool:
    """Return whether a listener hears what began at `started` under this history visibility.

    They do only while they are joined: everything where members read the past, else what began since their last join.
    """
    if member is None or not is_joined(member):
        return False
    return shows_the_past(visibility) or member.position < started


def deciding_member(
    visibility: HistoryVisibility, there: StateEvent | None, present: StateEvent | None
) -> StateEvent | None:
    """Return the membership that decides on a recording of a room that was upgraded since: the one there, unless the
    whole world may read it; then the one in the present room."""
    return present if visibility is HistoryVisibility.WORLD_READABLE else there


def shows_the_past(visibility: HistoryVisibility) -> bool:
    """Return whether whoever joins may read what was said before."""
    return visibility in (HistoryVisibility.SHARED, HistoryVisibility.WORLD_READABLE)


def nobody_else(members: Iterable[StateEvent], users: Collection[str]) -> bool:
    """Return whether nobody but these users is joined, invited or knocking in a room with these members."""
    present = {member.state_key for member in members if membership(member.content) in (JOIN, "invite", "knock")}
    return present <= set(users)


def are_alone(members: Collection[StateEvent], user: UserId, other: UserId) -> bool:
    """Return whether both users are in a room with these members, and nobody else is joined, invited or knocking."""
    joined = {member.state_key for member in members if is_joined(member)}
    return joined == {user, other} and nobody_else(members, joined)


def lets_anybody_in(state: Iterable[Json]) -> bool:
    """Return whether a room with this raw state lets somebody in, or read along, unasked."""
    content = {event.get("type"): event.get("content") for event in state if event.get("state_key") == ""}
    joining, history = content.get("m.room.join_rules"), content.get(HISTORY_VISIBILITY)
    asks = not isinstance(joining, Mapping) or joining.get("join_rule", "invite") in ("invite", "private", "knock")
    return not asks or (isinstance(history, Mapping) and history.get("history_visibility") == "world_readable")


def invite_allowed(patterns: Iterable[str], user: UserId) -> bool:
    """Return whether one of the patterns matches the user id. `*` and `?` are wild, brackets are not, case counts."""
    return any(fnmatchcase(user, pattern.replace("[", "[[]")) for pattern in patterns)


def _version(create: StateEvent) -> int:
    """Return the room version's number; 1 where the event has none, 0 for one that is not in the spec."""
    version = create.content.get("room_version", "1")
    return int(version) if isinstance(version, str) and re.fullmatch(r"[1-9][0-9]{0,3}", version, re.ASCII) else 0


def _creator(create: StateEvent, version: int) -> object:
    return create.sender if version >= SENDER_CREATES_SINCE else create.content.get("creator")


def _creators(create: StateEvent) -> frozenset[str]:
    """Return the creators of room version 12: the sender of the create event and those whom it names."""
    named = create.content.get("additional_creators", [])
    more = named if isinstance(named, list | tuple) else []
    return frozenset({create.sender, *(name for name in more if isinstance(name, str))})


def _level(value: object, version: int) -> int | None:
    """Return a power level; None for what is none in a room of this version."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < CREATOR else None
    if isinstance(value, str) and 0 < version < INTEGERS_SINCE and (number := _LEVEL.fullmatch(value)):
        return int(number[1])
    return None


def _state_default(room: RoomPower) -> int:
    """Return the level for state events: by default 50, 0 without power levels, CREATOR when it can't be read."""
    if room.power is None or room.create is None:
        return 0
    level = _level(room.power.content.get("state_default", MOD), _version(room.create))
    # A creator of room version 12 is above every level, also above one that can't be read.
    return CREATOR if level is None else level
