"""A room's current state in tables of our own: events as they are heard, and blocks of many.

Each piece of state keeps the journal's position at which it came, so that state older than an answer of the homeserver
can be told from state heard since.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from bot import dialects, facts, orders, rules
from bot.dialects.fields import type_of
from bot.dialects.state import KEPT, kept_state
from bot.event_types import (
    CALLS,
    CANONICAL_ALIAS,
    CREATE,
    DISCLOSURE,
    ENCRYPTION,
    FLOOR,
    JOIN_RULES,
    MEMBER,
    PERMIT,
    POWER_LEVELS,
    ROOM_AVATAR,
    ROOM_NAME,
    ROOM_TOPIC,
    RTC_MEMBER,
    STICKY,
    TOMBSTONE,
)
from bot.intake import calls, disclosing, missed, portraying, studios, turning, walkie
from bot.intake.isolation import Guard, isolated
from bot.matrix import nesting
from bot.recording.model import Redacted
from storage import archive, gaps, jobs, journal, rooms
from storage.database import Connection
from storage.records import Json, Position, RoomId, StateEvent, UserId

log = logging.getLogger(__name__)

SHOWN = frozenset({ROOM_NAME, ROOM_TOPIC, ROOM_AVATAR})
"""Types of state that feeds and pages show."""
EMPTIED = (TOMBSTONE, CANONICAL_ALIAS, DISCLOSURE, PERMIT, FLOOR, *sorted(SHOWN | CALLS | STICKY))
"""Types of state whose stored content a redaction removes completely."""
SHOW_AGAIN = frozenset({POWER_LEVELS, DISCLOSURE})
"""Types of state after which the bot's own state event is compared with the room: it may be written now, or somebody
replaced it."""
MAY_GO = KEPT - {CREATE, POWER_LEVELS, ENCRYPTION}
"""Types of state that count as empty once the room does not have them any more. A room never loses its beginning, and
its power levels and encryption are not given up for what may be a fault of the homeserver."""
CONCERN_CALLS = CALLS | {ENCRYPTION, POWER_LEVELS, RTC_MEMBER}
"""Types of state that tell who is in a call, or decide whether the bot may be, and how it signals there."""
MEMBERS_AT_ONCE = 200
SIDE_BY_SIDE = timedelta(seconds=2)
"""The time within which two events may have been sent at once."""


async def apply_block(
    db: Connection,
    room_id: RoomId,
    events: Sequence[Json],
    at: Position,
    now: datetime,
    guard: Guard,
    *,
    newest: Position | None = None,
) -> None:
    """Apply many events to the room's current state; members, who may be thousands, together. With `newest`, state that
    was heard after that position stays as it is."""
    members = [event for event in events if type_of(event) == MEMBER]
    for event in events:
        if type_of(event) != MEMBER:
            async with guard(db, room_id, None):
                await apply_state(db, room_id, event, at, now, newest=newest)
    joined = set()
    for start in range(0, len(members), MEMBERS_AT_ONCE):
        some = members[start : start + MEMBERS_AT_ONCE]
        async with guard(db, room_id, None):
            joined |= await apply_members(db, room_id, some, at, now, newest)
    await hasten(db, room_id, joined, now)


async def apply_state(
    db: Connection,
    room_id: RoomId,
    event: Json,
    at: Position,
    now: datetime,
    *,
    newest: Position | None = None,
) -> None:
    """Apply an event to the room's current state."""
    if type_of(event) == MEMBER:
        await apply_members(db, room_id, [event], at, now, newest)
        return
    state = state_of(room_id, event, at)
    if state is None:
        return
    old = await rooms.state(db, room_id, state.type, state.state_key)
    repeated = old is not None and old == replace(state, position=old.position)
    if newest is not None and old is not None and (old.position > newest or repeated):
        return
    await _save(db, old, state, now)
    if state.type in turning.TURNS:
        await turning.look(db, old, state, now)
    if state.type == ENCRYPTION:
        room = await rooms.room(db, room_id)
        if room is not None and not room.encrypted:
            await rooms.save_room(db, replace(room, encrypted=True))  # for good: encryption can't be switched off


async def _save(db: Connection, old: StateEvent | None, state: StateEvent, now: datetime) -> None:
    await rooms.save_state(db, state)
    if state.type == PERMIT:
        await walkie.permit_heard(db, old, state, now)
    if state.type in CONCERN_CALLS:
        await calls.look(db, state.room_id, now)
    if state.type in SHOWN:
        await rooms.touch(db, state.room_id, now)
        await jobs.add(db, orders.Cover(state.room_id).job(), now)
    is_turn = state.type == POWER_LEVELS and await walkie.is_turn(db, old, state)
    if state.type == POWER_LEVELS:
        await walkie.look(db, state.room_id, now)
        await studios.look(db, state.room_id, now)
    if state.type == POWER_LEVELS and not is_turn:
        await disclosing.speak_again(db, state.room_id, now)
    if state.type == FLOOR:
        await walkie.floor_heard(db, state, now)
    if state.type in SHOW_AGAIN and not is_turn:
        await disclosing.show(db, state.room_id, now)


async def redact(db: Connection, room_id: RoomId, redaction: Redacted, at: Position, now: datetime) -> None:
    """Empty the redacted state event if the redactor may redact it; have the homeserver asked in any case."""
    for state in await rooms.states_by_event(db, room_id, EMPTIED, redaction.redacts):
        await jobs.add(db, orders.Refresh(room_id).job(), now)
        if rules.may_redact(redaction.sender, state.sender, await rooms.power(db, room_id)):
            await _save(db, state, replace(state, content={}, position=at), now)


async def apply_members(
    db: Connection, room_id: RoomId, events: Sequence[Json], at: Position, now: datetime, newest: Position | None
) -> set[str]:
    """Apply members to the current state, in three statements. Return who is joined.

    A member keeps the position of the last change of membership.
    """
    members = [member for event in events if (member := state_of(room_id, event, at)) is not None]
    known = await rooms.member_states(db, room_id, {member.state_key for member in members})
    heard = await journal.positions_of(db, [member.event_id for member in members if member.event_id])
    changed: dict[str, StateEvent] = {}
    faces = set[UserId]()
    for member in members:
        old = changed.get(member.state_key) or known.get(member.state_key)
        if old is not None and newest is not None and old.position > newest:
            continue
        if old is not None and facts.membership(old.content) == facts.membership(member.content):
            position = old.position
        else:
            position = heard.get(member.event_id, at) if member.event_id else at
        new = replace(member, position=position)
        if new != old:
            changed[new.state_key] = new
            if facts.member_avatar(new) != facts.member_avatar(old):
                faces.add(UserId(new.state_key))
    await rooms.save_states(db, changed.values())
    gone = [UserId(user) for user, member in changed.items() if not facts.is_joined(member)]
    if gone:
        await walkie.left(db, room_id, gone, now)
        await studios.look(db, room_id, now)
    if faces:
        await portraying.look(db, room_id, faces, now)
    if changed:
        await calls.look(db, room_id, now)
    return {member.state_key for member in members if facts.is_joined(member)}


async def hasten(db: Connection, room_id: RoomId, joined: set[str], now: datetime) -> None:
    """Send users who are now in their direct chat the messages that wait for them."""
    user = await rooms.direct_partner(db, room_id) if joined else None
    if user is not None and user in joined:
        await jobs.hasten(db, orders.Direct.to(user), now)


async def refresh(
    db: Connection, room_id: RoomId, events: Sequence[Json], asked_at: Position, now: datetime, *, us: UserId
) -> None:
    """Apply a room's whole current state, as the homeserver had it when the journal stood at `asked_at`. State heard
    since is newer and stays."""
    room = await rooms.room(db, room_id)
    if room is None or not room.joined:
        return
    gone = await _gone(db, room_id, events, asked_at, us)
    if await gaps.is_walking(db, room_id, now - gaps.OVERDUE_AFTER):  # may hold the broadcasts, read first
        events = [event for event in events if type_of(event) not in dialects.INFOS]
    else:
        await missed.look(db, room, events, now, isolated, newest=asked_at)
        await gaps.forget_closed(db, room_id)
    await apply_block(db, room_id, (*events, *gone), asked_at, now, isolated, newest=asked_at)
    await disclosing.show(db, room_id, now)


async def _gone(db: Connection, room_id: RoomId, events: Sequence[Json], asked_at: Position, us: UserId) -> list[Json]:
    """Return what empties state that is kept and that the room does not have any more: who sent it lost the power for
    it at the same instant (state resolution). No timeline shows that.

    An answer is not whole that lacks the room's beginning, the bot itself, or what a room does not lose: nothing
    follows from it.
    """
    present = {(event.get("type"), event.get("state_key")) for event in events if "state_key" in event}
    kept = await rooms.states_until(db, room_id, KEPT, asked_at)
    gone = [state for state in kept if state.event_id and (state.type, state.state_key) not in present]
    if not present >= {(CREATE, ""), (MEMBER, us)} or any(state.type not in MAY_GO for state in gone):
        return []
    if gone:
        log.info("state is gone that was resolved again: room=%s events=%d", room_id, len(gone))
    return [
        {
            "type": state.type,
            "state_key": state.state_key,
            "sender": state.sender,
            "content": {"membership": "leave"} if state.type == MEMBER else {},
        }
        for state in gone
    ]


async def ask_for_all(db: Connection, now: datetime) -> None:
    """Order a fresh reading of every room's state, rooms with a live broadcast first."""
    live = {recording.room_id for recording in await archive.open_recordings(db)}
    joined = [room.room_id for room in await rooms.all_rooms(db) if room.joined]
    for room_id in sorted(joined, key=lambda room_id: (room_id not in live, room_id)):
        await jobs.add(db, orders.Refresh(room_id).job(), now)


async def is_behind(db: Connection, room_id: RoomId, event: Json, *, beside: bool) -> bool:
    """Return whether a state block may take back state that was heard later: homeservers do so around a join, when two
    events are sent at once, and when state is resolved again. Only the room's present state shows which of the two it
    is. `beside`: the block came with a whole timeline. What changed before that was heard, so that whatever the block
    changes was sent beside it."""
    state = kept_state(room_id, event)
    if state is None or state.event_id is None:
        return False
    current = await rooms.state(db, room_id, state.type, state.state_key)
    if current is None or current.event_id == state.event_id:
        return False
    if beside:
        return True
    heard_at = await journal.position_of(db, state.event_id)
    return missed.is_older(state, current) if heard_at is None else heard_at < current.position


async def doubted_at(db: Connection, room_id: RoomId, event: Json, now: datetime) -> datetime | None:
    """Return when the room's present state is to be read because this event of the timeline, although it is the newest,
    may not be in it, or may take others out of it; None: there is no doubt. That is a little later: the part of a
    homeserver that answers may be behind the one that told of the event.

    Homeservers do not resolve state by the order of the timeline (rooms, state resolution). What was sent beside the
    event that is kept, without knowing of it, may not count. What takes rights away does so also for what was sent at
    the same time and comes a little later.
    """
    state = kept_state(room_id, event)
    old = None if state is None else await rooms.state(db, room_id, state.type, state.state_key)
    if state is None or old is None or old.event_id == state.event_id:
        return None
    unsigned = event.get("unsigned")
    replaced = unsigned.get("replaces_state") if isinstance(unsigned, dict) else None
    if isinstance(replaced, str):
        doubted = replaced != old.event_id
    else:
        doubted = state.sent_at is None or old.sent_at is None or abs(state.sent_at - old.sent_at) < SIDE_BY_SIDE
    return now + SIDE_BY_SIDE if doubted or await _takes_rights(db, old, state) else None


async def _takes_rights(db: Connection, old: StateEvent, new: StateEvent) -> bool:
    """Return whether an event may take others' rights away (state resolution, power events)."""
    if new.type == POWER_LEVELS:
        return not await walkie.is_turn(db, old, new)
    if new.type != MEMBER:
        return new.type == JOIN_RULES
    removed = new.sender != new.state_key and not facts.is_joined(new)
    return removed and rules.power_of(UserId(new.state_key), await rooms.power(db, new.room_id)) > 0


def state_of(room_id: RoomId, event: Json, at: Position) -> StateEvent | None:
    """Read a state event that is kept; None for any other, and for one that can't be stored."""
    return None if nesting.is_too_deep(event) else kept_state(room_id, event, at)
