"""What was said before the journal began: events that are found later stand in front of all that were heard."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import func, select, update

from storage.database import Connection
from storage.dialect import insert
from storage.records import HeardEvent, Position, RoomId
from storage.tables import journal, recordings

BEFORE_ALL = Position(0)


async def add(db: Connection, events: Sequence[HeardEvent], now: datetime) -> tuple[HeardEvent, ...]:
    """Writes events down as handled, in their order, below every position so far; those that were heard before
    keep their place. What waits for its key keeps its content, the rest does not: the caller deals with it in the
    same transaction.
    """
    heard_before = await db.execute(
        select(journal.c.event_id, journal.c.position).where(
            journal.c.event_id.in_([heard.event_id for heard in events])
        )
    )
    places = {row.event_id: Position(row.position) for row in heard_before}
    following = await _lowest(db) - sum(heard.event_id not in places for heard in events)
    placed = []
    for heard in events:
        position = places.get(heard.event_id)
        if position is None:
            position, following = Position(following), following + 1
        placed.append(replace(heard, position=position))
        await _write(db, placed[-1], now)
    return tuple(placed)


async def _lowest(db: Connection) -> Position:
    """Below everything that was placed so far, also where the journal was pruned: a recording's started event is the
    first of its broadcast."""
    found = [
        (await db.execute(select(func.min(table.c.position)))).scalar_one_or_none() for table in (journal, recordings)
    ]
    return Position(min([BEFORE_ALL, *(position for position in found if position is not None)]))


async def _write(db: Connection, heard: HeardEvent, now: datetime) -> None:
    sealed = heard.session_id is not None
    content = {
        "event": dict(heard.event) if sealed else None,
        "clear_relation": heard.clear_relation if sealed else None,
        "session_id": heard.session_id,
        "handled": True,
    }
    statement = insert(journal).values(
        position=heard.position,
        event_id=heard.event_id,
        room_id=heard.room_id,
        encrypted=heard.encrypted,
        history=True,
        received_at=now,
        **content,
    )
    await db.execute(statement.on_conflict_do_update(index_elements=["event_id"], set_=content))


async def renumber(db: Connection, room_id: RoomId) -> None:
    """Numbers a room's recordings from 1 in the order of their started events."""
    found = await db.execute(
        select(recordings.c.id, recordings.c.number)
        .where(recordings.c.room_id == room_id)
        .order_by(recordings.c.position)
    )
    changed = [(row.id, number) for number, row in enumerate(found, start=1) if row.number != number]
    for sign in (-1, 1):  # a number is unique in its room at every moment
        for recording_id, number in changed:
            await db.execute(update(recordings).where(recordings.c.id == recording_id).values(number=sign * number))
