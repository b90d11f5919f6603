"""Events from before the journal: those that a search of the history finds are placed before all events heard."""

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
    """Store events as handled, in their order, below every position so far. Events that were heard before keep
    their position. Events that wait for a key keep their content, others do not: the caller handles them in the same
    transaction."""
    heard_before = await db.execute(
        select(journal.c.event_id, journal.c.position).where(
            journal.c.event_id.in_([heard.event_id for heard in events])
        )
    )
    places = {row.event_id: Position(row.position) for row in heard_before}
    next_position = await _lowest(db) - sum(heard.event_id not in places for heard in events)
    placed = []
    for heard in events:
        position = places.get(heard.event_id)
        if position is None:
            position, next_position = Position(next_position), next_position + 1
        placed.append(replace(heard, position=position))
        await _write(db, placed[-1], now)
    return tuple(placed)


async def below_all(db: Connection, places: int) -> Position:
    """Return the first of so many positions below every one so far."""
    return Position(await _lowest(db) - places)


async def _lowest(db: Connection) -> Position:
    """Return the lowest position so far, also of pruned rows: a recording keeps the position of its started event, the
    first of its broadcast."""
    lowest = [
        (await db.execute(select(func.min(table.c.position)))).scalar_one_or_none() for table in (journal, recordings)
    ]
    return Position(min([BEFORE_ALL, *(position for position in lowest if position is not None)]))


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
    """Give a room's recordings new numbers, from 1, in the order of their started events."""
    result = await db.execute(
        select(recordings.c.id, recordings.c.number)
        .where(recordings.c.room_id == room_id)
        .order_by(recordings.c.position)
    )
    changed = [(row.id, number) for number, row in enumerate(result, start=1) if row.number != number]
    for sign in (-1, 1):  # a number is unique in its room at every moment
        for recording_id, number in changed:
            await db.execute(update(recordings).where(recordings.c.id == recording_id).values(number=sign * number))
