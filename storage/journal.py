"""What was heard, before anything is done about it. Its row numbers are the order of everything."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, select, union_all, update

from storage import gaps
from storage.database import Connection
from storage.dialect import insert
from storage.records import EventId, HeardEvent, Position, RoomId, SessionId
from storage.tables import journal, meta, room_state, rooms

SYNC_TOKEN = "sync_token"  # noqa: S105  a key of ours, not a secret
NEWEST = "newest_position"  # when rows were last removed: positions never begin anew


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


async def get(db: Connection, key: str) -> str | None:
    """A value of our own (the sync token, …)."""
    return (await db.execute(select(meta.c.value).where(meta.c.key == key))).scalar_one_or_none()


async def put(db: Connection, key: str, value: str) -> None:
    statement = insert(meta).values(key=key, value=value)
    await db.execute(statement.on_conflict_do_update(index_elements=["key"], set_={"value": value}))


async def position(db: Connection) -> Position:
    """The newest position given so far; 0 at the very beginning."""
    newest = (await db.execute(select(func.max(journal.c.position)))).scalar_one_or_none()
    # What stands before all that was heard (storage.backfill) has positions below 0 and is never the newest.
    return Position(max(newest or 0, int(await get(db, NEWEST) or 0)))


async def position_of(db: Connection, event_id: EventId) -> Position | None:
    """Where an event stands; None when it was never heard, or long ago."""
    found = (await db.execute(select(journal.c.position).where(journal.c.event_id == event_id))).scalar_one_or_none()
    return None if found is None else Position(found)


async def received_at(db: Connection, position: Position) -> datetime | None:
    """When the event at a position was heard; None when that is long ago."""
    found = await db.execute(select(journal.c.received_at).where(journal.c.position == position))
    heard_at: datetime | None = found.scalar_one_or_none()
    return heard_at


async def positions_of(db: Connection, events: Iterable[EventId]) -> dict[EventId, Position]:
    """Where these events stand, as far as they were heard."""
    statement = select(journal.c.event_id, journal.c.position).where(journal.c.event_id.in_(list(events)))
    return {EventId(row.event_id): Position(row.position) for row in await db.execute(statement)}


async def add(
    db: Connection, heard: HeardEvent, now: datetime, *, keep: bool = True, position: Position | None = None
) -> Position | None:
    """Writes an event down once; None when it is there already. Not to `keep` it gives it its position only: the
    next one, or the one that is given."""
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
    found = (await db.execute(statement)).scalar_one_or_none()
    return None if found is None else Position(found)


async def retell(db: Connection, heard: HeardEvent, now: datetime, *, behind_all: bool = False) -> None:
    """It is to be dealt with (again), in its place where it has one, or `behind_all` that was heard. What waits to be
    dealt with, or for its key, stays as it is."""
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


async def is_before_somebody(db: Connection, room_id: RoomId, at: datetime | None) -> bool:
    """Whether somebody came into a room, or it was made public, after this time, which is not known where it is None:
    whose order is not known then."""
    if at is None:
        return True
    marks = union_all(
        select(room_state.c.position).where(room_state.c.room_id == room_id),
        select(rooms.c.public_since).where(rooms.c.room_id == room_id, rooms.c.public_since.is_not(None)),
    )
    later = select(journal.c.position).where(journal.c.position.in_(marks), journal.c.received_at > at)
    return (await db.execute(later.limit(1))).first() is not None


async def pending(db: Connection, event_id: EventId) -> HeardEvent | None:
    """This event, if it was heard and is not dealt with yet."""
    found = await db.execute(select(journal).where(journal.c.event_id == event_id, journal.c.handled.is_(False)))
    row = found.one_or_none()
    return _heard(row) if row else None


async def unhandled(db: Connection, limit: int, now: datetime | None = None) -> tuple[HeardEvent, ...]:
    """What is still to be dealt with, in order; with `now`, without what a gap in its room holds up."""
    waiting = select(journal).where(journal.c.handled.is_(False))
    if now is not None:
        waiting = waiting.where(~gaps.held(now))
    found = await db.execute(waiting.order_by(journal.c.position).limit(limit))
    return tuple(_heard(row) for row in found)


async def waits_in(db: Connection, room_id: RoomId) -> bool:
    """Whether something of a room was heard and is not dealt with yet."""
    waiting = select(journal.c.position).where(journal.c.room_id == room_id, journal.c.handled.is_(False)).limit(1)
    return (await db.execute(waiting)).one_or_none() is not None


async def waiting_at(db: Connection, position: Position) -> HeardEvent | None:
    """The event at a position as it is now; None when it was dealt with."""
    found = await db.execute(select(journal).where(journal.c.position == position, journal.c.handled.is_(False)))
    row = found.one_or_none()
    return _heard(row) if row else None


async def handled(db: Connection, heard: HeardEvent, *, keep: bool = False) -> None:
    """It is dealt with; what it said is kept only while a key is waited for, or it has to be tried again."""
    values: dict[str, Any] = {"handled": True} if keep else {"handled": True, "event": None, "clear_relation": None}
    await db.execute(update(journal).where(journal.c.position == heard.position).values(**values))


async def try_again(db: Connection) -> int:
    """What could not be handled because of a mistake of ours is dealt with anew; how many."""
    failed = (journal.c.handled, journal.c.event.is_not(None), journal.c.session_id.is_(None))
    return int((await db.execute(update(journal).where(*failed).values(handled=False))).rowcount)


async def sealed(db: Connection, sessions: Iterable[SessionId] | None = None) -> tuple[HeardEvent, ...]:
    """Events that wait for their key: of these sessions, or all."""
    statement = select(journal).where(journal.c.session_id.is_not(None), journal.c.event.is_not(None))
    if sessions is not None:
        statement = statement.where(journal.c.session_id.in_(list(sessions)))
    return tuple(_heard(row) for row in await db.execute(statement.order_by(journal.c.position)))


async def unseal(db: Connection, opened: HeardEvent) -> None:
    """It can be read now: it is dealt with again, in its old place; unless it was forgotten meanwhile."""
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
    """What is kept of these events goes (a recording was deleted); that they were seen stays known."""
    await db.execute(
        update(journal)
        .where(journal.c.event_id.in_(list(events)))
        .values(event=None, clear_relation=None, session_id=None, handled=True)
    )


async def prune(db: Connection, before: datetime) -> int:
    """Removes handled rows that are older, but those that wait for a key; how many."""
    await put(db, NEWEST, str(await position(db)))
    of_no_use = journal.c.event.is_(None) | journal.c.session_id.is_(None)
    result = await db.execute(delete(journal).where(journal.c.handled, of_no_use, journal.c.received_at < before))
    return int(result.rowcount)
