"""Messages that wait for their room key, in rooms that record voice messages: any of them may be one.

The journal holds their wrappers. What is known here is no more than who sent them, so that they can be forgotten with
their sender, their room, or after a while. A room whose keys never come costs its newest messages, no more.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, delete, select, update

from storage.database import Connection
from storage.dialect import insert
from storage.records import EventId, HeardEvent, RoomId, UserId
from storage.tables import journal, sealed_messages

MOST_OF_A_ROOM = 500
MOST_OF_A_SENDER = 100
"""Bound of one member's messages in a room: whoever withholds their keys pushes nobody else's out."""
LONGEST = 16_384
"""Characters of a wrapper that is kept. A voice message with its waveform takes 5,000."""


async def note(db: Connection, heard: HeardEvent, sender: UserId, now: datetime) -> None:
    """Note that a message waits for its key. Of each room, and of each sender in it, the newest wait."""
    row = {"event_id": heard.event_id, "room_id": heard.room_id, "sender": sender, "heard_at": now}
    await db.execute(insert(sealed_messages).values(row).on_conflict_do_nothing(index_elements=["event_id"]))
    here = sealed_messages.c.room_id == heard.room_id
    await _keep_newest(db, MOST_OF_A_SENDER, here, sealed_messages.c.sender == sender)
    await _keep_newest(db, MOST_OF_A_ROOM, here)


async def _keep_newest(db: Connection, most: int, *of: ColumnElement[bool]) -> None:
    newest_first = select(sealed_messages.c.id).where(*of).order_by(sealed_messages.c.id.desc())
    beyond = (await db.execute(newest_first.offset(most).limit(1))).scalar_one_or_none()
    if beyond is not None:
        await _forget(db, *of, sealed_messages.c.id <= beyond)


async def sender_of(db: Connection, room_id: RoomId, event_id: EventId) -> UserId | None:
    """Return who sent a message of this room that waits for its key."""
    waiting = sealed_messages.c.event_id == event_id, sealed_messages.c.room_id == room_id
    sender = (await db.execute(select(sealed_messages.c.sender).where(*waiting))).scalar_one_or_none()
    return None if sender is None else UserId(sender)


async def opened(db: Connection, event_id: EventId) -> None:
    """Note that a message waits no more: its key has come, and it was handled."""
    await db.execute(delete(sealed_messages).where(sealed_messages.c.event_id == event_id))


async def forget(db: Connection, event_id: EventId) -> None:
    """Delete a message that nobody may hear."""
    await _forget(db, sealed_messages.c.event_id == event_id)


async def forget_room(db: Connection, room_id: RoomId) -> None:
    """Delete the messages of a room that records none any more."""
    await _forget(db, sealed_messages.c.room_id == room_id)


async def forget_sender(db: Connection, sender: UserId, room_ids: Sequence[RoomId] | None) -> None:
    """Delete a member's messages in these rooms, or everywhere."""
    where = () if room_ids is None else (sealed_messages.c.room_id.in_(room_ids),)
    await _forget(db, sealed_messages.c.sender == sender, *where)


async def prune(db: Connection, before: datetime) -> None:
    """Delete the messages that were heard before a time: their keys come no more."""
    await _forget(db, sealed_messages.c.heard_at < before)


async def _forget(db: Connection, *conditions: ColumnElement[bool]) -> None:
    """Delete messages and their wrappers. The rows of the journal stay, so that none is handled again."""
    these = select(sealed_messages.c.event_id).where(*conditions)
    gone = {"event": None, "clear_relation": None, "session_id": None, "handled": True}
    await db.execute(update(journal).where(journal.c.event_id.in_(these)).values(**gone))
    await db.execute(delete(sealed_messages).where(*conditions))
