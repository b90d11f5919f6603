"""A room's current state in tables of our own: events as they are heard, and blocks of many.

Each piece of state keeps the journal's position at which it came: that tells what is older than an answer of the
homeserver and what was heard since.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from bot import dialects, rules
from bot.dialects.fields import sent_at
from bot.intake import greeting, missed
from bot.intake.piecewise import Part, as_piece
from bot.matrix import nesting
from bot.recording.model import Redacted
from storage import archive, gaps, jobs, journal, rooms
from storage.database import Connection
from storage.records import EventId, JobKind, Json, NewJob, Position, RoomId, StateEvent, UserId

TOMBSTONE = "m.room.tombstone"
KEPT_STATE = frozenset(
    {
        "m.room.create",
        TOMBSTONE,
        "m.room.power_levels",
        "m.room.member",
        "m.room.name",
        "m.room.avatar",
        "m.room.encryption",
        "m.room.history_visibility",
        *dialects.INFOS,
    }
)
SHOWN_STATE = frozenset({"m.room.name", "m.room.avatar"})  # a feed or page changes with them
EMPTIED_STATE = (TOMBSTONE, *sorted(SHOWN_STATE))  # a redaction leaves nothing of their content
TEXTS = {"m.room.name": "name", "m.room.avatar": "url", TOMBSTONE: "replacement_room"}
"""State of which one text is kept, and nothing else."""
TEXT_CHARACTERS = 2000
"""Of a name as it came: more than is ever shown. An event may hold 65,536 bytes, and a room ten thousand members."""
MAX_ID = 255
MEMBER = "m.room.member"
MEMBERS_AT_ONCE = 200


async def apply_block(
    db: Connection,
    room_id: RoomId,
    events: Sequence[Json],
    at: Position,
    now: datetime,
    part: Part,
    *,
    newest: Position | None = None,
) -> None:
    """Many events into the room's current state; members, who may be thousands, together. With `newest`, what
    was heard after it stays as it is."""
    members = [event for event in events if event.get("type") == MEMBER]
    for event in events:
        if event.get("type") != MEMBER:
            async with part(db, room_id, None):
                await apply_state(db, room_id, event, at, now, newest=newest)
    joined = set()
    for start in range(0, len(members), MEMBERS_AT_ONCE):
        some = members[start : start + MEMBERS_AT_ONCE]
        async with part(db, room_id, None):
            joined |= await apply_members(db, room_id, some, at, newest)
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
    """One event into the room's current state."""
    kind = event.get("type")
    if kind == MEMBER:
        await apply_members(db, room_id, [event], at, newest)
        return
    state = state_of(room_id, event, at)
    if state is None:
        return
    if newest is not None:
        old = await rooms.state(db, room_id, state.type, state.state_key)
        if old is not None and (old.position > newest or old == replace(state, position=old.position)):
            return
    await _save(db, state, now)
    if kind == "m.room.encryption":
        room = await rooms.room(db, room_id)
        if room is not None and not room.encrypted:
            await rooms.save_room(db, replace(room, encrypted=True))  # for good: encryption is never taken back


async def _save(db: Connection, state: StateEvent, now: datetime) -> None:
    await rooms.save_state(db, state)
    if state.type in SHOWN_STATE:
        await rooms.touch(db, state.room_id, now)
        await jobs.add(db, NewJob(JobKind.COVER, state.room_id, {}), now)
    if state.type == "m.room.power_levels":
        await greeting.try_again(db, state.room_id, now)


async def redact(db: Connection, room_id: RoomId, redaction: Redacted, at: Position, now: datetime) -> None:
    """Empties the state event that is redacted, where the redactor may, and has the homeserver asked in any case."""
    for kind in EMPTIED_STATE:
        state = await rooms.state(db, room_id, kind)
        if state is None or state.event_id != redaction.redacts:
            continue
        await jobs.add(db, NewJob(JobKind.REFRESH, room_id, {}), now)
        if rules.may_redact(redaction.sender, state.sender, await rooms.power(db, room_id)):
            await _save(db, replace(state, content={}, position=at), now)


async def apply_members(
    db: Connection, room_id: RoomId, events: Sequence[Json], at: Position, newest: Position | None
) -> set[str]:
    """Members into the current state, by three statements; who is joined. A member keeps the position of the
    last change of membership."""
    read = [one for one in (state_of(room_id, event, at) for event in events) if one is not None]
    known = await rooms.member_states(db, room_id, {one.state_key for one in read})
    heard = await journal.positions_of(db, [one.event_id for one in read if one.event_id])
    changed: dict[str, StateEvent] = {}
    for one in read:
        old = changed.get(one.state_key) or known.get(one.state_key)
        if old is not None and newest is not None and old.position > newest:
            continue
        if old is not None and rules.membership(old.content) == rules.membership(one.content):
            position = old.position
        else:
            position = heard.get(one.event_id, at) if one.event_id else at
        content = {name: short_text(one.content[name]) for name in ("membership", "displayname") if name in one.content}
        new = replace(one, position=position, content=content)
        if new != old:
            changed[new.state_key] = new
    await rooms.save_states(db, changed.values())
    return {one.state_key for one in read if rules.membership(one.content) == "join"}


async def hasten(db: Connection, room_id: RoomId, joined: set[str], now: datetime) -> None:
    """Whoever is in their direct chat now is told what waits for them."""
    user = await rooms.direct_partner(db, room_id) if joined else None
    if user in joined:
        await jobs.hasten(db, JobKind.DIRECT, f"{user}|", now)


async def refresh(db: Connection, room_id: RoomId, events: Sequence[Json], asked_at: Position, now: datetime) -> None:
    """Takes the whole of a room's current state, as the homeserver had it when the journal stood at `asked_at`:
    what was heard since is newer."""
    room = await rooms.room(db, room_id)
    if room is None or not room.joined:
        return
    if await gaps.is_walking(db, room_id, now - gaps.OVERDUE_AFTER):  # it may hold the broadcasts, and is read first
        events = [event for event in events if event.get("type") not in dialects.INFOS]
    else:
        await missed.look(db, room, events, now, as_piece, newest=asked_at)
        await gaps.forget_closed(db, room_id)
    await apply_block(db, room_id, events, asked_at, now, as_piece, newest=asked_at)


async def ask_for_all(db: Connection, now: datetime) -> None:
    """Every room's state is to be read anew, those with something live first."""
    live = {recording.room_id for recording in await archive.open_recordings(db)}
    joined = [room.room_id for room in await rooms.all_rooms(db) if room.joined]
    for room_id in sorted(joined, key=lambda room_id: (room_id not in live, room_id)):
        await jobs.add(db, NewJob(JobKind.REFRESH, room_id, {}), now)


async def is_behind(db: Connection, room_id: RoomId, event: Json) -> bool:
    """Whether a state block takes back what was heard later: homeservers do so around a join, and when
    state is resolved anew. Which of the two it is only a look at the room's state can tell."""
    kind, key, event_id = (event.get(name) for name in ("type", "state_key", "event_id"))
    if not (isinstance(kind, str) and isinstance(key, str) and isinstance(event_id, str)):
        return False
    current = await rooms.state(db, room_id, kind, key)
    if current is None or current.event_id is None or current.event_id == event_id:
        return False
    heard_at = await journal.position_of(db, EventId(event_id))
    return heard_at is not None and heard_at < current.position


def short_text(value: object) -> str | None:
    """The beginning of a text; None for anything else."""
    return value[:TEXT_CHARACTERS] if isinstance(value, str) else None


def state_of(room_id: RoomId, event: Json, at: Position) -> StateEvent | None:
    """A state event that is kept; None for any other, and for one that makes no sense."""
    kind, key, sender, content = (event.get(name) for name in ("type", "state_key", "sender", "content"))
    if kind not in KEPT_STATE or not isinstance(key, str) or not isinstance(sender, str):
        return None
    if not isinstance(content, dict) or len(key) > MAX_ID or len(sender) > MAX_ID or nesting.is_too_deep(event):
        return None
    if kind in dialects.INFOS:
        if key != sender:
            return None  # one of each user, whatever somebody thinks of
        broadcast = missed.broadcast_of(room_id, event)
        content = {missed.BROADCAST: broadcast} if broadcast else {}
    if kind in TEXTS:
        content = {TEXTS[kind]: short_text(content.get(TEXTS[kind]))}
    event_id = event.get("event_id")
    return StateEvent(
        room_id=room_id,
        type=kind,
        state_key=key,
        sender=UserId(sender),
        content=content,
        position=at,
        event_id=EventId(event_id) if isinstance(event_id, str) and len(event_id) <= MAX_ID else None,
        sent_at=sent_at(event),
    )
