"""Rooms, their current state, and their listeners: stored from sync, and read for every check of permissions."""

import secrets
from collections.abc import Collection, Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, Select, bindparam, delete, func, or_, select, union_all, update

from storage import ended_addresses
from storage.database import Connection
from storage.dialect import after
from storage.records import EventId, Listener, Position, Room, RoomId, RoomPower, StateEvent, UserId, Visibility
from storage.rows import columns, find, put, put_all, record, records
from storage.tables import directs, listener_uses, listeners, room_state, rooms

_STANDING = union_all(
    *(
        select(room_state).where(
            room_state.c.room_id == bindparam("room"), room_state.c.type == kind, room_state.c.state_key == key
        )
        for kind, key in (("m.room.member", bindparam("user")), ("m.room.create", ""), ("m.room.power_levels", ""))
    )
)
"""The state that tells what a member may do in a room, by the key of each part of it."""


def new_room(room_id: RoomId, now: datetime, *, inviter: UserId | None = None, direct: bool = False) -> Room:
    """Return a room that records nothing yet, with a random key for its public addresses."""
    return Room(
        room_id=room_id,
        key=secrets.token_hex(8),
        podcast_guid="",
        joined=False,
        recording_on=False,
        visibility=Visibility.PRIVATE,
        public_since=None,
        encrypted=False,
        direct=direct,
        inviter=inviter,
        revision=0,
        changed_at=now,
    )


async def room(db: Connection, room_id: RoomId) -> Room | None:
    return await find(Room, db, rooms, room_id=room_id)


async def language(db: Connection, room_id: RoomId) -> str | None:
    """Return the language in which the bot speaks in a room; None: the default, also in an unknown room."""
    return (await db.execute(select(rooms.c.language).where(rooms.c.room_id == room_id))).scalar_one_or_none()


async def room_by_key(db: Connection, key: str) -> Room | None:
    return await find(Room, db, rooms, key=key)


async def all_rooms(db: Connection) -> tuple[Room, ...]:
    """Return every room that was ever joined, in a stable order."""
    return tuple(record(Room, row) for row in await db.execute(select(rooms).order_by(rooms.c.room_id)))


async def public(db: Connection) -> tuple[RoomId, ...]:
    """Return all rooms that are public, in a stable order."""
    chosen = select(rooms.c.room_id).where(rooms.c.visibility == Visibility.PUBLIC)
    return tuple(RoomId(room_id) for room_id in (await db.execute(chosen.order_by(rooms.c.room_id))).scalars())


async def public_or_in(db: Connection, *ids: Select[tuple[str]]) -> tuple[Room, ...]:
    """Return all rooms that are public, and those of these ids, in no order."""
    chosen = or_(rooms.c.visibility == Visibility.PUBLIC, *(rooms.c.room_id.in_(each) for each in ids))
    return await records(Room, await db.execute(select(rooms).where(chosen)))


async def revisions(db: Connection) -> int:
    """Return a number that rises with every change of any room that feeds or pages show."""
    return int((await db.execute(select(func.sum(rooms.c.revision)))).scalar_one() or 0)


async def covered_by(db: Connection, room_id: RoomId, event_id: EventId) -> tuple[Room, ...]:
    """Return the rooms whose podcast's own cover was posted in this message."""
    its = (rooms.c.own_cover_event == event_id, rooms.c.own_cover_room == room_id)
    return tuple(record(Room, row) for row in await db.execute(select(rooms).where(*its).order_by(rooms.c.room_id)))


async def save_room(db: Connection, value: Room) -> None:
    await put(db, rooms, columns(value))


async def name_podcast(db: Connection, room_id: RoomId, guid: str) -> None:
    """Give a room this `podcast:guid`, unless it has one."""
    nameless = (rooms.c.room_id == room_id) & (rooms.c.podcast_guid == "")
    await db.execute(update(rooms).where(nameless).values(podcast_guid=guid))


async def touch(db: Connection, room_id: RoomId, now: datetime) -> None:
    """Raise a room's revision after a change that its feed or pages show."""
    statement = update(rooms).where(rooms.c.room_id == room_id)
    await db.execute(statement.values(revision=rooms.c.revision + 1, changed_at=now))


async def state(db: Connection, room_id: RoomId, kind: str, state_key: str = "") -> StateEvent | None:
    """Return the room's current state event of a type; None when unknown or not set."""
    return await find(StateEvent, db, room_state, room_id=room_id, type=kind, state_key=state_key)


async def states_by_event(
    db: Connection, room_id: RoomId, kinds: Collection[str], event_id: EventId
) -> tuple[StateEvent, ...]:
    """Return a room's current state of these types that this event set."""
    theirs = (room_state.c.room_id == room_id, room_state.c.type.in_(list(kinds)), room_state.c.event_id == event_id)
    return tuple(record(StateEvent, row) for row in await db.execute(select(room_state).where(*theirs)))


async def states_in(db: Connection, room_id: RoomId, kinds: Collection[str]) -> tuple[StateEvent, ...]:
    """Return a room's current state of these types, under all state keys."""
    theirs = select(room_state).where(room_state.c.room_id == room_id, room_state.c.type.in_(list(kinds)))
    return await records(StateEvent, await db.execute(theirs.order_by(room_state.c.position, room_state.c.state_key)))


async def states_until(
    db: Connection, room_id: RoomId, kinds: Collection[str], position: Position
) -> tuple[StateEvent, ...]:
    """Return a room's current state of these types whose position is at most this one."""
    theirs = select(room_state).where(room_state.c.room_id == room_id, room_state.c.type.in_(sorted(kinds)))
    return await records(StateEvent, await db.execute(theirs.where(room_state.c.position <= position)))


async def power(db: Connection, room_id: RoomId) -> RoomPower:
    """Return the state that `bot.rules` needs to decide on permissions in a room now."""
    create = await state(db, room_id, "m.room.create")
    return RoomPower(create, await state(db, room_id, "m.room.power_levels"))


async def standing(db: Connection, room_id: RoomId, user_id: UserId) -> tuple[StateEvent | None, RoomPower]:
    """Return the m.room.member event of a user, and `power`, in one statement."""
    rows = await db.execute(_STANDING, {"room": room_id, "user": user_id})
    found = {row.type: record(StateEvent, row) for row in rows}
    return found.get("m.room.member"), RoomPower(found.get("m.room.create"), found.get("m.room.power_levels"))


async def save_state(db: Connection, event: StateEvent) -> None:
    await put(db, room_state, columns(event))


async def member_states(db: Connection, room_id: RoomId, users: Collection[str]) -> dict[str, StateEvent]:
    """Return the m.room.member events of these users, by user."""
    rows = await db.execute(
        select(room_state).where(
            room_state.c.room_id == room_id,
            room_state.c.type == "m.room.member",
            room_state.c.state_key.in_(list(users)),
        )
    )
    return {event.state_key: event for event in await records(StateEvent, rows)}


async def states_of(db: Connection, kinds: Collection[str], state_key: str) -> tuple[StateEvent, ...]:
    """Return the current state events of these types under this key, of all rooms."""
    theirs = select(room_state).where(room_state.c.type.in_(list(kinds)), room_state.c.state_key == state_key)
    return tuple(record(StateEvent, row) for row in await db.execute(theirs.order_by(room_state.c.position)))


async def states_anywhere(db: Connection, kinds: Collection[str]) -> tuple[StateEvent, ...]:
    """Return the current state events of these types of all rooms. Reads the state of all rooms."""
    theirs = select(room_state).where(room_state.c.type.in_(list(kinds)))
    return await records(StateEvent, await db.execute(theirs.order_by(room_state.c.room_id, room_state.c.state_key)))


async def states_sent(
    db: Connection, sender: UserId, kinds: Collection[str], room_id: RoomId | None = None
) -> tuple[StateEvent, ...]:
    """Return the current state events of these types that a user sent, of a room or (None) of all rooms."""
    theirs = select(room_state).where(room_state.c.type.in_(list(kinds)), room_state.c.sender == sender)
    if room_id is not None:
        theirs = theirs.where(room_state.c.room_id == room_id)
    return await records(StateEvent, await db.execute(theirs.order_by(room_state.c.position, room_state.c.state_key)))


async def save_states(db: Connection, events: Collection[StateEvent]) -> None:
    """Save many state events, no two of them with the same type and state key."""
    await put_all(db, room_state, [columns(event) for event in events])


async def delete_states(db: Connection, events: Iterable[StateEvent]) -> None:
    """Delete entries of a room's state."""
    for event in events:
        theirs = (room_state.c.room_id == event.room_id, room_state.c.type == event.type)
        await db.execute(delete(room_state).where(*theirs, room_state.c.state_key == event.state_key))


async def forget_state(db: Connection, room_id: RoomId) -> None:
    """Delete a room's state, which is no longer current once the bot has left."""
    await db.execute(delete(room_state).where(room_state.c.room_id == room_id))


async def members(db: Connection, room_id: RoomId) -> tuple[StateEvent, ...]:
    """Return all m.room.member events of the current state."""
    rows = await db.execute(
        select(room_state).where(room_state.c.room_id == room_id, room_state.c.type == "m.room.member")
    )
    return await records(StateEvent, rows)


async def present_members(db: Connection, room_id: RoomId, most: int) -> tuple[StateEvent, ...]:
    """Return the m.room.member events of whoever is joined, invited or knocking, but no more than `most`."""
    is_present = room_state.c.content["membership"].as_string().in_(("join", "invite", "knock"))
    of_room = (room_state.c.room_id == room_id) & (room_state.c.type == "m.room.member")
    rows = await db.execute(select(room_state).where(of_room, is_present).limit(most))
    return tuple(record(StateEvent, row) for row in rows)


async def joined_with(db: Connection, user_id: UserId) -> tuple[Room, ...]:
    """Return the rooms that a user and the bot are both in, the one that changed last first."""
    member = select(room_state.c.room_id, room_state.c.content).where(
        room_state.c.room_id.in_(select(rooms.c.room_id).where(rooms.c.joined)),
        room_state.c.type == "m.room.member",
        room_state.c.state_key == user_id,
    )
    joined = [row.room_id for row in await db.execute(member) if row.content.get("membership") == "join"]
    rows = await db.execute(select(rooms).where(rooms.c.room_id.in_(joined)).order_by(rooms.c.changed_at.desc()))
    return tuple(record(Room, row) for row in rows)


async def states(db: Connection, kind: str, room_ids: Collection[RoomId]) -> dict[RoomId, StateEvent]:
    """Return the state events of a type, without a state key, of these rooms, by room."""
    rows = await db.execute(
        select(room_state).where(
            room_state.c.room_id.in_(list(room_ids)), room_state.c.type == kind, room_state.c.state_key == ""
        )
    )
    return {RoomId(row.room_id): record(StateEvent, row) for row in rows}


async def servers(db: Connection, where: Collection[RoomId]) -> frozenset[str]:
    """Return the server names, in small letters, of the present and former members of these rooms and of the senders of
    their state."""
    there = room_state.c.room_id.in_(list(where))
    members = select(_server(room_state.c.state_key)).where(there, room_state.c.type == "m.room.member")
    result = await db.execute(members.union(select(_server(room_state.c.sender)).where(there)))
    return frozenset(result.scalars())


def _server(user: ColumnElement[str]) -> ColumnElement[str]:
    return func.lower(after(user, ":"))


async def encrypted_rooms(db: Connection) -> frozenset[RoomId]:
    rows = await db.execute(select(rooms.c.room_id).where(rooms.c.encrypted))
    return frozenset(RoomId(room_id) for room_id in rows.scalars())


async def listener(db: Connection, room_id: RoomId, user_id: UserId) -> Listener | None:
    result = await db.execute(select(listeners).where(listeners.c.room_id == room_id, listeners.c.user_id == user_id))
    row = result.one_or_none()
    return record(Listener, row) if row else None


async def listener_by_hash(db: Connection, token_sha256: str) -> Listener | None:
    """Return the listener whose address has this token: the valid one, or the one that will replace it."""
    either = (listeners.c.token_sha256 == token_sha256) | (listeners.c.next_sha256 == token_sha256)
    row = (await db.execute(select(listeners).where(either))).one_or_none()
    return record(Listener, row) if row else None


async def save_listener(db: Connection, value: Listener) -> None:
    await put(db, listeners, columns(value))


async def any_listener(db: Connection) -> Listener | None:
    """Return one of the listeners."""
    row = (await db.execute(select(listeners).limit(1))).one_or_none()
    return record(Listener, row) if row else None


async def renewed_listeners(db: Connection) -> tuple[Listener, ...]:
    """Return the listeners who have renewed an address."""
    return await records(Listener, await db.execute(select(listeners).where(listeners.c.generation > 1)))


async def forget_listeners(db: Connection, now: datetime) -> None:
    """Delete all listeners, which ends every personal address that was given out, and when each was used."""
    given = await db.execute(select(listeners.c.token_sha256, listeners.c.next_sha256))
    await ended_addresses.note(db, {each for row in given for each in row if each is not None}, now)
    await db.execute(delete(listeners))
    await db.execute(delete(listener_uses))


async def end_old_address(db: Connection, room_id: RoomId, user_id: UserId, now: datetime) -> None:
    """Replace a listener's address by the next one, which they have received."""
    known = await listener(db, room_id, user_id)
    if known is None or known.next_generation is None:
        return
    await ended_addresses.note(db, [known.token_sha256], now)
    theirs = (listeners.c.room_id == room_id) & (listeners.c.user_id == user_id)
    replaced = {
        "generation": listeners.c.next_generation,
        "token_sha256": listeners.c.next_sha256,
        "next_generation": None,
        "next_sha256": None,
    }
    await db.execute(update(listeners).where(theirs).values(**replaced))


async def direct_chats(db: Connection, user_id: UserId) -> tuple[RoomId, ...]:
    """Return the rooms in which the bot may be alone with a user: the chat that it made for them, then those to which
    they invited it as direct, the newest first."""
    made = await direct_room(db, user_id)
    opened = select(rooms.c.room_id).where(rooms.c.joined, rooms.c.direct, rooms.c.inviter == user_id)
    invited = [RoomId(row) for row in (await db.execute(opened.order_by(rooms.c.changed_at.desc()))).scalars()]
    return tuple(dict.fromkeys([*([made[0]] if made else []), *invited]))


async def direct_partner(db: Connection, room_id: RoomId) -> UserId | None:
    """Return the user for whom a direct chat was made, or who opened it; None for any other room."""
    chat = await room(db, room_id)
    return await direct_user(db, room_id) or (chat.inviter if chat and chat.direct else None)


async def direct_room(db: Connection, user_id: UserId) -> tuple[RoomId, datetime] | None:
    """Return the direct chat that was made for a user, and when they were invited to it."""
    row = (await db.execute(select(directs).where(directs.c.user_id == user_id))).one_or_none()
    return (RoomId(row.room_id), row.invited_at) if row else None


async def direct_user(db: Connection, room_id: RoomId) -> UserId | None:
    """Return the user for whom a direct chat was made."""
    user_id = (await db.execute(select(directs.c.user_id).where(directs.c.room_id == room_id))).scalar_one_or_none()
    return UserId(user_id) if user_id else None


async def save_direct(db: Connection, user_id: UserId, room_id: RoomId, now: datetime) -> None:
    await put(db, directs, {"user_id": user_id, "room_id": room_id, "invited_at": now})
