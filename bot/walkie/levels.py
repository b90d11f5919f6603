"""The power levels of a room with a walkie-talkie: what is set, what is put back, and who is raised. Pure.

All that the bot writes is made from the levels as they are now, so that what others changed meanwhile stays.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from bot import facts, rules
from bot.event_types import ENCRYPTED, FLOOR, MESSAGE, PERMIT, POWER_LEVELS, REACTION, REQUEST
from storage.records import Json, Raised, RoomPower, SavedLevel, StateEvent, UserId, Walkie

SPEAKER = 10
"""The level of the floor's holder, and of the transmissions."""
ADMIN = 100
"""The level that the bot needs."""
ECHO = timedelta(minutes=1)
"""The time after the end of a floor in which its holder's level may come back: somebody's client writes power levels
that it read while they had the floor."""


def missing(us: UserId, room: RoomPower) -> int | None:
    """Return the level that the bot would need to keep the floor, if it has less; None where it has enough."""
    content = _content(room)
    state_default = _number(content.get("state_default"), rules.MOD)
    events = _section(content, "events")
    needed = [ADMIN, *(_number(events.get(kind), state_default) for kind in (POWER_LEVELS, FLOOR))]
    needed += [_number(events.get(kind), 0) for kind in (MESSAGE, ENCRYPTED, PERMIT, REQUEST, REACTION)]
    level = max(needed)
    return level if rules.power_of(us, room) < level else None


def unlimited(us: UserId, members: Iterable[StateEvent], room: RoomPower) -> tuple[UserId, ...]:
    """Return the joined members whom the bot can't limit, in order: they have the level of transmissions anyway."""
    joined = (UserId(member.state_key) for member in members if facts.is_joined(member))
    return tuple(sorted(user for user in joined if user != us and not needs_raise(user, room)))


def needs_raise(user: UserId, room: RoomPower) -> bool:
    """Return whether a member has less than the level of transmissions."""
    return rules.power_of(user, room) < SPEAKER


def with_power(room: RoomPower, content: Json) -> RoomPower:
    """Return a room with these power levels in place of those that are known."""
    if room.create is None:
        return room
    blank = replace(room.create, type=POWER_LEVELS, content=content)
    return RoomPower(room.create, replace(room.power or blank, content=content))


def locked(content: Json, saved: Iterable[SavedLevel] = ()) -> tuple[Json, tuple[SavedLevel, ...]]:
    """Return the levels of a room with a walkie-talkie, and what `unlocked` needs to put them back. `saved`: from an
    earlier try, whose write may have been made or not: a level that is ours by now was saved by that."""
    events = dict(_section(content, "events"))
    earlier = {level.event_type: level for level in saved}
    levels = []
    for kind, ours in _wanted(content).items():
        known = earlier.get(kind)
        if known is not None and kind in events and _is(events[kind], known.ours):
            levels.append(known)
        else:
            had_section = "events" in content
            levels.append(SavedLevel(kind, ours, kind in events, events.get(kind), had_section=had_section))
        events[kind] = ours
    kept = [level for kind, level in earlier.items() if kind not in {new.event_type for new in levels}]
    return {**content, "events": events}, (*levels, *kept)


def inherited(saved: Iterable[SavedLevel], copied: Iterable[SavedLevel]) -> tuple[SavedLevel, ...]:
    """Return what is to be put back in a room that has copied the levels of another one, where `copied` was replaced.
    `saved` was replaced in the room itself: a level that was ours there already is that of the other room before."""
    before = {level.event_type: level for level in copied}
    own = [level for level in saved if level.event_type not in before or not _is(level.before, level.ours)]
    return tuple((before | {level.event_type: level for level in own}).values())


def unlocked(content: Json, saved: Iterable[SavedLevel]) -> Json:
    """Put back what `locked` has replaced, but for what others changed meanwhile."""
    events = dict(_section(content, "events"))
    ours = [level for level in saved if level.event_type in events and _is(events[level.event_type], level.ours)]
    for level in ours:
        _put(events, level.event_type, had_entry=level.had_entry, before=level.before)
    had_section = all(level.had_section for level in ours)
    return _with_section(content, "events", events, had_section=had_section)


def are_put_back(walkie: Walkie) -> bool:
    """Return whether a room has its own levels, as far as the bot has written them."""
    return not (walkie.locked or walkie.saved or any(one.lowered_at is None for one in walkie.raised))


def raised(content: Json, user: UserId) -> Json:
    """Return the levels with the holder raised."""
    return {**content, "users": {**_section(content, "users"), user: SPEAKER}}


def raising(content: Json, user: UserId, known: Iterable[Raised]) -> tuple[Raised, ...]:
    """Return the raised members with this one, to be written down before they are raised. `known`: those of before; a
    level that is the raised one already was given by the bot."""
    users = _section(content, "users")
    others = tuple(one for one in known if one.user != user)
    mine = next((one for one in known if one.user == user), None)
    if mine is not None and user in users and _is(users[user], SPEAKER):
        return (*others, replace(mine, lowered_at=None))
    return (*others, Raised(user, user in users, users.get(user), had_section="users" in content))


def lowered(content: Json, raised: Iterable[Raised], holder: UserId | None) -> Json:
    """Return the levels without those whom the bot raised and who don't have the floor now. A level that somebody else
    gave them meanwhile stays."""
    users = dict(_section(content, "users"))
    ours = [one for one in raised if one.user != holder and one.user in users and _is(users[one.user], SPEAKER)]
    for one in ours:
        _put(users, one.user, had_entry=one.had_entry, before=one.before)
    had_section = all(one.had_section for one in ours)
    return _with_section(content, "users", users, had_section=had_section)


def differ_by_turns(before: Json, after: Json, raised: Iterable[Raised]) -> bool:
    """Return whether levels differ by those of the raised members alone, so that nobody else's rights have changed."""
    turns = {one.user for one in raised}

    def others(content: Json) -> Json:
        return {user: level for user, level in _section(content, "users").items() if user not in turns}

    return {**before, "users": others(before)} == {**after, "users": others(after)}


def recent(raised: Iterable[Raised], now: datetime) -> tuple[Raised, ...]:
    """Return the raised members without those who were lowered so long ago that their level is somebody else's will."""
    return tuple(one for one in raised if one.lowered_at is None or now - one.lowered_at < ECHO)


def remembered(raised: Iterable[Raised], holder: UserId | None, now: datetime) -> tuple[Raised, ...]:
    """Return the raised members to be remembered once all but the holder are lowered: a while longer, because of
    ECHO."""
    noted = [one if one.user == holder else replace(one, lowered_at=one.lowered_at or now) for one in raised]
    return recent(noted, now)


def _wanted(content: Json) -> dict[str, int]:
    """Return the entries of `events` that a walkie-talkie sets."""
    events = _section(content, "events")
    defaults = {
        PERMIT: _number(content.get("state_default"), rules.MOD),
        REQUEST: _number(content.get("events_default"), 0),
        REACTION: _number(content.get("events_default"), 0),
    }
    open_to_all = {kind: 0 for kind, default in defaults.items() if _number(events.get(kind), default) > 0}
    return {MESSAGE: SPEAKER, ENCRYPTED: SPEAKER} | open_to_all


def _content(room: RoomPower) -> Json:
    return room.power.content if room.power else {}


def _section(content: Json, key: str) -> Mapping[str, Any]:
    section = content.get(key)
    return section if isinstance(section, Mapping) else {}


def _with_section(content: Json, key: str, entries: Mapping[str, Any], *, had_section: bool) -> Json:
    """Return the levels with this section, or without it where it holds nothing and the bot has added it."""
    if entries == _section(content, key):
        return content
    if entries or had_section:
        return {**content, key: entries}
    return {name: value for name, value in content.items() if name != key}


def _number(value: object, default: int) -> int:
    """Return a level; the default where there is none. One that can't be read is above everybody."""
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | str):
        return rules.CREATOR
    try:
        return int(value)
    except ValueError:
        return rules.CREATOR


def _is(value: object, level: int) -> bool:
    return not isinstance(value, bool) and value == level


def _put(entries: dict[str, Any], key: str, *, had_entry: bool, before: object) -> None:
    """Put an entry back: its value, or that there was none."""
    if had_entry:
        entries[key] = before
    else:
        del entries[key]
