"""Traces that the bot itself left in rooms since the backup that a store was restored from, until they are used.

Single values of ids, in the table of the bot's own values: which of its messages it edited, which events they answered,
and which hold a recording. Names are hashes of bounded length.
"""

import json
from enum import StrEnum
from hashlib import sha256

from sqlalchemy import delete, select

from storage import journal
from storage.database import Connection
from storage.records import EventId, RoomId
from storage.tables import meta

MOST_PARTS = 100
"""Voice messages of one recording."""


class Trace(StrEnum):
    """A kind of trace, by the event that it is about."""

    EDITED = "e"  # a message of ours that we edited
    ANSWERS = "n"  # a message of ours; the value is the event that it answers
    ANSWERED = "a"  # an event; the value is our answer
    HELD = "h"  # an event whose recording waits for approval
    HANDED_BACK = "v"  # an event; the value lists our voice messages about it


def _hash(name: str, letters: int) -> str:
    return sha256(name.encode()).hexdigest()[:letters]


def _of_room(room_id: RoomId) -> str:
    return f"again:{_hash(room_id, 12)}:"


def _key(room_id: RoomId, trace: Trace, event_id: EventId) -> str:
    return f"{_of_room(room_id)}{trace}:{_hash(event_id, 40)}"


async def note(db: Connection, room_id: RoomId, trace: Trace, event_id: EventId, value: str = "") -> None:
    await journal.put(db, _key(room_id, trace, event_id), value)


async def get(db: Connection, room_id: RoomId, trace: Trace, event_id: EventId) -> str | None:
    """Return the value of a trace; None where there is no such trace."""
    return await journal.get(db, _key(room_id, trace, event_id))


async def add_handed_back(db: Connection, room_id: RoomId, event_id: EventId, message: EventId) -> None:
    """Note that a voice message of ours holds the recording of an event."""
    known = await handed_back(db, room_id, event_id)
    if message not in known and len(known) < MOST_PARTS:
        await note(db, room_id, Trace.HANDED_BACK, event_id, json.dumps([*known, message]))


async def handed_back(db: Connection, room_id: RoomId, event_id: EventId) -> tuple[EventId, ...]:
    """Return our voice messages that hold the recording of an event."""
    return tuple(map(EventId, json.loads(await get(db, room_id, Trace.HANDED_BACK, event_id) or "[]")))


async def forget(db: Connection, room_id: RoomId, event_id: EventId) -> None:
    """Forget what is known about an event: it was used, or its recording is deleted."""
    await db.execute(delete(meta).where(meta.c.key.in_([_key(room_id, trace, event_id) for trace in Trace])))


async def forget_messages(db: Connection, room_id: RoomId) -> None:
    """Forget what is known by our own messages: the history of the room is read. What is about recordings stays until
    they are published."""
    here = _of_room(room_id)
    keys = await db.execute(select(meta.c.key).where(meta.c.key.startswith(here, autoescape=True)))
    of_messages = (f"{here}{Trace.EDITED}:", f"{here}{Trace.ANSWERS}:")
    for key in keys.scalars().all():
        if key.startswith(of_messages):
            await db.execute(delete(meta).where(meta.c.key == key))
