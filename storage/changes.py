"""The audit log: who changed what, when, and what it was before. Never pruned, and without anything that was said."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import func, or_, select

from storage.database import Connection
from storage.records import Change, RoomId, UserId
from storage.rows import columns, record
from storage.tables import changes


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
