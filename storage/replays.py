"""Replays: each decrypted message is recorded by session and index, so that no message counts twice, or long after it
was sent.

A homeserver can deliver an old ciphertext again under a new event id and time. Nothing inside a Megolm message says
when it was encrypted, but a sender never uses an index twice and counts it up. So the first event read under an index
is the message, and every other one is a copy; and a message is older than any message heard under a later index.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, func, select

from storage.database import Connection
from storage.dialect import insert
from storage.records import EventId, HeardEvent
from storage.tables import chunks, messages

AT_ONCE = 100  # events; a statement may hold only so many values


async def originals(db: Connection, events: Sequence[HeardEvent], now: datetime) -> tuple[HeardEvent, ...]:
    """Return the events without copies, whose message was read under another event id. Events sent in clear, or not
    decrypted yet, are kept. Records the messages that are read for the first time."""
    # A lone surrogate, which JSON can hold and no database, is not printable: no homeserver gives such an id.
    copies = {heard.event_id for heard in events if heard.message is not None and not heard.event_id.isprintable()}
    encrypted = [heard for heard in events if heard.message is not None and heard.event_id not in copies]
    for start in range(0, len(encrypted), AT_ONCE):
        copies |= await _copies(db, encrypted[start : start + AT_ONCE], now)
    return tuple(heard for heard in events if heard.event_id not in copies) if copies else tuple(events)


async def _copies(db: Connection, events: Sequence[HeardEvent], now: datetime) -> set[EventId]:
    places = {
        heard.event_id: (message.session_id, message.index)
        for heard in events
        if (message := heard.message) is not None
    }
    rows = [
        {"session_id": session_id, "message_index": index, "event_id": event_id, "heard_at": now}
        for event_id, (session_id, index) in places.items()
    ]
    await db.execute(insert(messages).on_conflict_do_nothing(), rows)
    sessions, indices = (set(column) for column in zip(*places.values(), strict=True))
    known = select(messages).where(messages.c.session_id.in_(sessions), messages.c.message_index.in_(indices))
    first = {(row.session_id, row.message_index): row.event_id for row in await db.execute(known)}
    return {event_id for event_id, place in places.items() if first[place] != event_id}


async def later_heard_at(db: Connection, event_id: EventId) -> datetime | None:
    """Return when a message was first heard that its sender encrypted after this one; None when there was none, or this
    event came in clear."""
    own = messages.alias("own")
    later = (
        select(func.min(messages.c.heard_at))
        .join(own, messages.c.session_id == own.c.session_id)
        .where(own.c.event_id == event_id, messages.c.message_index > own.c.message_index)
    )
    heard_at: datetime | None = (await db.execute(later)).scalar_one_or_none()
    return heard_at


async def prune(db: Connection, before: datetime) -> int:
    """Delete notes older than `before`; return how many. The newest note of each session stays, since it shows that
    earlier messages are old, and so do the notes of recordings' chunks."""
    newer = messages.alias("newer")
    has_newer = select(newer.c.message_index).where(
        newer.c.session_id == messages.c.session_id, newer.c.message_index > messages.c.message_index
    )
    of_no_use = (
        messages.c.heard_at < before,
        has_newer.exists(),
        messages.c.event_id.not_in(select(chunks.c.event_id).where(chunks.c.event_id.is_not(None))),
    )
    return int((await db.execute(delete(messages).where(*of_no_use))).rowcount)
