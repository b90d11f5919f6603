"""The audit log: who changed what, when, and what it was before. Never pruned, and without anything that was said."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import func, or_, select

from storage.database import Connection
from storage.records import Change, EventId, RoomId, UserId
from storage.rows import columns, record
from storage.tables import changes, recordings


async def add(db: Connection, change: Change) -> Change:
    """Store a change and return it with its id."""
    values = columns(change)
    del values["id"]
    result = await db.execute(changes.insert().values(**values).returning(changes.c.id))
    return replace(change, id=int(result.scalar_one()))


async def of_rooms(
    db: Connection, room_ids: Sequence[RoomId], limit: int | None = None, offset: int = 0
) -> tuple[Change, ...]:
    """Return the changes of these rooms, the newest first, without the first `offset`."""
    here = select(changes).where(changes.c.room_id.in_(room_ids))
    statement = here.order_by(changes.c.id.desc()).limit(limit).offset(offset)
    return tuple(record(Change, row) for row in await db.execute(statement))


async def newest_of_each(db: Connection, room_id: RoomId, *, by_rules: bool = True) -> dict[str, Change]:
    """Return the newest change of each policy of a room, by `what`; changes about a subject are left out, and those by
    the bot's own rules too unless `by_rules`."""
    here = (changes.c.room_id == room_id) & changes.c.subject.is_(None)
    if not by_rules:
        here &= changes.c.by.is_not(None)
    newest = select(func.max(changes.c.id)).where(here).group_by(changes.c.what)
    rows = await db.execute(select(changes).where(changes.c.id.in_(newest)))
    return {change.what: change for change in (record(Change, row) for row in rows)}


async def newest_about(
    db: Connection, room_id: RoomId, what: Sequence[str], limit: int = 1000
) -> tuple[tuple[EventId, Change], ...]:
    """Return the newest of these changes about each recording, the newest first, with the event that began it."""
    here = (changes.c.room_id == room_id) & changes.c.what.in_(what)
    newest = select(func.max(changes.c.id)).where(here).group_by(changes.c.subject)
    found = (
        select(changes, recordings.c.event_id.label("began"))
        .join(recordings, recordings.c.code == changes.c.subject)
        .where(changes.c.id.in_(newest))
        .order_by(changes.c.id.desc())
        .limit(limit)
    )
    return tuple((EventId(row.began), record(Change, row)) for row in await db.execute(found))


async def newest_by(db: Connection, room_id: RoomId | None, what: str) -> dict[UserId, datetime]:
    """Return when each user made this change last, the newest first; `room_id` None: everywhere."""
    here = changes.c.room_id.is_(None) if room_id is None else changes.c.room_id == room_id
    last = func.max(changes.c.at).label("last")
    found = select(changes.c.by, last).where(here, changes.c.what == what, changes.c.by.is_not(None))
    return {UserId(row.by): row.last for row in await db.execute(found.group_by(changes.c.by).order_by(last.desc()))}


async def every(db: Connection, room_ids: Sequence[RoomId] | None = None) -> tuple[Change, ...]:
    """Return all changes of these rooms and those that hold everywhere, the oldest first; of all rooms when None."""
    statement = select(changes).order_by(changes.c.id)
    if room_ids is not None:
        statement = statement.where(or_(changes.c.room_id.in_(room_ids), changes.c.room_id.is_(None)))
    return tuple(record(Change, row) for row in await db.execute(statement))


async def count(db: Connection, what: str, *, by: UserId, since: datetime) -> int:
    """Return how often a user made this change since then."""
    theirs = (changes.c.what == what) & (changes.c.by == by) & (changes.c.at >= since)
    return int((await db.execute(select(func.count()).select_from(changes).where(theirs))).scalar_one())
