"""The journal: events as they were heard, before they are handled. Its positions give the order of all events."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, delete, exists, func, select, text, union_all, update

from storage import gaps
from storage.database import Connection
from storage.dialect import insert
from storage.records import STUDIO_EVENTS, EventId, HeardEvent, JobId, Position, RoomId, SessionId, UserId
from storage.tables import chunks, journal, meta, room_state, rooms

SYNC_TOKEN = "sync_token"  # noqa: S105  a key of ours, not a secret
AT_ONCE = 100  # rows are read in one turn of the event loop
MEDIA_STORE = "media_store"
"""The key of the name by which media elsewhere are held (`storage.blobs.held`); a restored store has a new one."""
WAITS = text("NOT journal.handled")
"""The condition of the indexes of events that are not handled yet, written in the same way so that they are used: the
journal may have a million rows, and of these few wait."""
SEALED = text("NOT (journal.session_id IS NULL OR journal.event IS NULL)")
"""The same of encrypted events that wait for their keys."""
NEWEST = "newest_position"  # the newest position when rows were last removed: positions are never used again

# ---- statements that each event needs, made once: to make one takes as long as to execute it

_WAITING = select(journal).where(WAITS).order_by(journal.c.position)
_WAITING_FOR_NO_GAP = _WAITING.where(~gaps.HELD).limit(bindparam("most"))
_WAITING_AT = select(journal).where(journal.c.position == bindparam("place"), WAITS)
_HANDLED_AND_KEPT = update(journal).where(journal.c.position == bindparam("place")).values(handled=True)
_HANDLED = _HANDLED_AND_KEPT.values(event=None, clear_relation=None)


def _heard(row: Row[Any]) -> HeardEvent:
    return HeardEvent(
        room_id=RoomId(row.room_id),
        event_id=EventId(row.event_id),
        event=row.event,
        position=Position(row.position),
        encrypted=row.encrypted,
        clear_relation=row.clear_relation,
        session_id=SessionId(row.session_id) if row.session_id else None,
        history=row.history,
        received_at=row.received_at,
    )


def report_of(job_id: JobId) -> str:
    """Name the value that holds the report of a job."""
    return f"report:{job_id}"


async def get(db: Connection, key: str) -> str | None:
    """Return a value of the bot's own, such as the sync token."""
    return (await db.execute(select(meta.c.value).where(meta.c.key == key))).scalar_one_or_none()


async def put(db: Connection, key: str, value: str) -> None:
    statement = insert(meta).values(key=key, value=value)
    await db.execute(statement.on_conflict_do_update(index_elements=["key"], set_={"value": value}))


async def position(db: Connection) -> Position:
    """Return the newest position given so far; 0 when the journal was never written."""
    newest = (await db.execute(select(func.max(journal.c.position)))).scalar_one_or_none()
    # Events from before the journal (storage.backfill) have positions below 0 and are never the newest.
    return Position(max(newest or 0, int(await get(db, NEWEST) or 0)))


async def next_position(db: Connection) -> Position:
    """Return the position of the next event, whatever it will be: the place of what begins now and is no event."""
    return Position(await position(db) + 1)


async def position_of(db: Connection, event_id: EventId) -> Position | None:
    """Return an event's position; None when it was never heard, or its row was pruned."""
    position = (await db.execute(select(journal.c.position).where(journal.c.event_id == event_id))).scalar_one_or_none()
    return None if position is None else Position(position)


async def received_at(db: Connection, position: Position) -> datetime | None:
    """Return when the event at a position was heard; None when its row was pruned."""
    result = await db.execute(select(journal.c.received_at).where(journal.c.position == position))
    heard_at: datetime | None = result.scalar_one_or_none()
    return heard_at


async def positions_of(db: Connection, events: Iterable[EventId]) -> dict[EventId, Position]:
    """Return the positions of the events among these that were heard."""
    statement = select(journal.c.event_id, journal.c.position).where(journal.c.event_id.in_(list(events)))
    return {EventId(row.event_id): Position(row.position) for row in await db.execute(statement)}


async def add(
    db: Connection, heard: HeardEvent, now: datetime, *, keep: bool = True, position: Position | None = None
) -> Position | None:
    """Store an event once; return its position, or None if it is stored already. Without `keep` only its position is
    kept. `position`: the position to use; by default the next one."""
    statement = (
        insert(journal)
        .values(
            **({} if position is None else {"position": position}),
            event_id=heard.event_id,
            room_id=heard.room_id,
            event=dict(heard.event) if keep else None,
            encrypted=heard.encrypted,
            clear_relation=heard.clear_relation,
            session_id=heard.session_id,
            history=heard.history,
            received_at=now,
            handled=not keep,
        )
        .on_conflict_do_nothing(index_elements=["event_id"])
        .returning(journal.c.position)
    )
    new_position = (await db.execute(statement)).scalar_one_or_none()
    return None if new_position is None else Position(new_position)


async def requeue(db: Connection, heard: HeardEvent, now: datetime, *, behind_all: bool = False) -> None:
    """Queue an event for handling again, at its original position if it has one, or after all others with `behind_all`.
    An event that still waits for handling, or for its key, stays as it is."""
    content = {
        "event": dict(heard.event),
        "encrypted": heard.encrypted,
        "clear_relation": heard.clear_relation,
        "session_id": heard.session_id,
        "history": heard.history,
        "received_at": now,
        "handled": False,
    }
    statement = insert(journal).values(event_id=heard.event_id, room_id=heard.room_id, **content)
    only_its_place = journal.c.handled & journal.c.event.is_(None)
    if behind_all:
        await db.execute(delete(journal).where(journal.c.event_id == heard.event_id, only_its_place))
    await db.execute(statement.on_conflict_do_update(index_elements=["event_id"], set_=content, where=only_its_place))


OURS = "org.aircheck.room"
"""The type of state that the bot writes itself, which says nothing of who is in the room."""


async def only_places(
    db: Connection, room_ids: Sequence[RoomId] | None, since: Position, limit: int
) -> tuple[HeardEvent, ...]:
    """Return the first events behind a position in these rooms (None: in all) of which only the place is kept, in
    order: without those of recordings, and those that a search of the history found."""
    kept = exists().where(chunks.c.event_id == journal.c.event_id)
    places = select(journal).where(
        journal.c.position > since, journal.c.handled, journal.c.event.is_(None), ~journal.c.history, ~kept
    )
    if room_ids is not None:
        places = places.where(journal.c.room_id.in_(list(room_ids)))
    return tuple(_heard(row) for row in await db.execute(places.order_by(journal.c.position).limit(limit)))


async def is_before_somebody(db: Connection, room_id: RoomId, at: datetime | None) -> bool:
    """Tell whether a member joined a room, or the room was made public, after a time. Return True when the time is not
    known (None): then the order is not known either."""
    if at is None:
        return True
    marks = union_all(
        select(room_state.c.position).where(room_state.c.room_id == room_id, room_state.c.type != OURS),
        select(rooms.c.public_since).where(rooms.c.room_id == room_id, rooms.c.public_since.is_not(None)),
    )
    later = select(journal.c.position).where(journal.c.position.in_(marks), journal.c.received_at > at)
    return (await db.execute(later.limit(1))).first() is not None


async def pending(db: Connection, event_id: EventId) -> HeardEvent | None:
    """Return a heard event that is not handled yet."""
    result = await db.execute(select(journal).where(journal.c.event_id == event_id, WAITS))
    row = result.one_or_none()
    return _heard(row) if row else None


async def unhandled(db: Connection, limit: int, now: datetime | None = None) -> tuple[HeardEvent, ...]:
    """Return the oldest events that are not handled yet, in order; with `now`, without events that a gap in their room
    holds back."""
    if now is None:
        rows = await db.execute(_WAITING.limit(limit))
    else:
        rows = await db.execute(_WAITING_FOR_NO_GAP, {**gaps.at(now), "most": limit})
    return tuple(_heard(row) for row in rows)


async def waits_in(db: Connection, room_id: RoomId) -> bool:
    """Tell whether an event of a room is not handled yet."""
    waiting = select(journal.c.position).where(journal.c.room_id == room_id, WAITS).limit(1)
    return (await db.execute(waiting)).one_or_none() is not None


async def waits(db: Connection, room_id: RoomId, sender: UserId) -> bool:
    """Tell whether an event of a room, or of this sender, is not handled yet."""
    theirs = journal.c.event["sender"].as_string() == sender
    waiting = select(journal.c.position).where(WAITS, (journal.c.room_id == room_id) | theirs)
    return (await db.execute(waiting.limit(1))).first() is not None


async def waiting_at(db: Connection, position: Position) -> HeardEvent | None:
    """Return the event at a position as it is now; None when it was handled."""
    row = (await db.execute(_WAITING_AT, {"place": position})).one_or_none()
    return _heard(row) if row else None


async def handled(db: Connection, heard: HeardEvent, *, keep: bool = False) -> None:
    """Mark an event as handled. Its content is deleted, unless `keep` is set: for a key that may come, or another
    try."""
    await db.execute(_HANDLED_AND_KEPT if keep else _HANDLED, {"place": heard.position})


async def try_again(db: Connection) -> int:
    """Queue the events again whose handling failed because of a bug of ours; return how many."""
    failed = (journal.c.handled, journal.c.event.is_not(None), journal.c.session_id.is_(None))
    return int((await db.execute(update(journal).where(*failed).values(handled=False))).rowcount)


async def failed(db: Connection, events: Iterable[EventId]) -> bool:
    """Tell whether the handling of one of these events failed because of a bug of ours, so that it is tried again."""
    names = list(events)
    for start in range(0, len(names), AT_ONCE):
        some = names[start : start + AT_ONCE]
        waits_on = (journal.c.handled, journal.c.event.is_not(None), journal.c.session_id.is_(None))
        found = select(journal.c.position).where(journal.c.event_id.in_(some), *waits_on).limit(1)
        if (await db.execute(found)).first() is not None:
            return True
    return False


async def sealed(db: Connection, sessions: Iterable[SessionId] | None = None) -> tuple[HeardEvent, ...]:
    """Return the events that wait for their room key: of these sessions, or all."""
    statement = select(journal).where(journal.c.session_id.is_not(None), journal.c.event.is_not(None))
    if sessions is not None:
        statement = statement.where(journal.c.session_id.in_(list(sessions)))
    found: list[HeardEvent] = []
    for some in (await db.execute(statement.order_by(journal.c.position))).partitions(AT_ONCE):
        found += map(_heard, some)
        await asyncio.sleep(0)
    return tuple(found)


async def unseal(db: Connection, opened: HeardEvent) -> None:
    """Queue a decrypted event for handling at its original position, unless it was forgotten meanwhile."""
    await db.execute(
        update(journal)
        .where(journal.c.event_id == opened.event_id, journal.c.session_id.is_not(None))
        .values(
            event=dict(opened.event),
            clear_relation=opened.clear_relation,
            encrypted=True,
            session_id=None,
            handled=False,
        )
    )


async def forget(db: Connection, events: Iterable[EventId]) -> None:
    """Delete the content of events (their recording was deleted). The rows stay, so that none is handled again."""
    await db.execute(
        update(journal)
        .where(journal.c.event_id.in_(list(events)))
        .values(event=None, clear_relation=None, session_id=None, handled=True)
    )


async def prune(db: Connection, before: datetime) -> int:
    """Delete handled rows older than `before`; return how many. Rows that wait for a key stay, and those of studios
    whose handling failed: nobody else has their sound."""
    await put(db, NEWEST, str(await position(db)))
    elsewhere = ~journal.c.event_id.startswith(STUDIO_EVENTS, autoescape=True)
    of_no_use = journal.c.event.is_(None) | (journal.c.session_id.is_(None) & elsewhere)
    result = await db.execute(delete(journal).where(journal.c.handled, of_no_use, journal.c.received_at < before))
    return int(result.rowcount)
