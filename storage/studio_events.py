"""Events of studios in their rooms: rows of those that were sent, or are about to be."""

from collections.abc import Collection

from sqlalchemy import ColumnElement, delete, select, true, update

from storage.database import Connection
from storage.dialect import insert
from storage.records import SEALED, EventId, MediaSource, StudioEvent
from storage.rows import columns, find, record
from storage.tables import studio_events

AT_ONCE = 200  # names in one statement


async def add(db: Connection, event: StudioEvent) -> bool:
    """Store an event of a studio; return False if there is one of this name already."""
    values = columns(event)
    del values["id"]
    stored = insert(studio_events).values(**values).on_conflict_do_nothing(index_elements=["key", "name"])
    return bool((await db.execute(stored)).rowcount)


async def get(db: Connection, key: str, name: str) -> StudioEvent | None:
    """Return the event of this name of a studio."""
    return await find(StudioEvent, db, studio_events, key=key, name=name)


async def of(db: Connection, key: str) -> tuple[StudioEvent, ...]:
    """Return the events of a studio, in the order in which they are sent."""
    rows = await db.execute(select(studio_events).where(studio_events.c.key == key).order_by(studio_events.c.id))
    return tuple(record(StudioEvent, row) for row in rows)


async def unsent(db: Connection, key: str) -> StudioEvent | None:
    """Return the first event of a studio whose event in the room is not known."""
    wanted = select(studio_events).where(studio_events.c.key == key, studio_events.c.event_id.is_(None))
    row = (await db.execute(wanted.order_by(studio_events.c.id).limit(1))).one_or_none()
    return record(StudioEvent, row) if row else None


async def by_event(db: Connection, event_id: EventId) -> StudioEvent | None:
    """Return the event of a studio that an event of its room is."""
    wanted = select(studio_events).where(studio_events.c.event_id == event_id)
    row = (await db.execute(wanted.limit(1))).one_or_none()
    return record(StudioEvent, row) if row else None


async def begun(db: Connection, event: StudioEvent, source: MediaSource | None) -> bool:
    """Note that an event is about to be sent, and where its file is. Return False if it is not to be sent any more."""
    wanted = (studio_events.c.id == event.id) & studio_events.c.withdrawn.is_(False)
    return bool((await db.execute(update(studio_events).where(wanted).values(source=source, tried=True))).rowcount)


async def sent(db: Connection, event_row: int, event_id: EventId) -> StudioEvent | None:
    """Note an event's id in the room, forget the key of its file, and return the event, which may have been withdrawn
    meanwhile; None if it was deleted."""
    noted = update(studio_events).where(studio_events.c.id == event_row).values(event_id=event_id, source=None)
    row = (await db.execute(noted.returning(studio_events))).one_or_none()
    return record(StudioEvent, row) if row else None


async def withdraw(db: Connection, key: str, names: Collection[str] | None = None) -> tuple[StudioEvent, ...]:
    """Withdraw events of a studio, all or those of these names and the further ones of the same. Return those that are
    to be redacted now, which have no row any more; of others the event is not known yet. Events that nobody began to
    send are deleted."""
    redacted: list[StudioEvent] = []
    chosen = sorted({*names, *await _further(db, key, names)}) if names is not None else None
    for start in range(0, len(chosen), AT_ONCE) if chosen is not None else (0,):
        some: ColumnElement[bool] = true()
        if chosen is not None:
            some = studio_events.c.name.in_(chosen[start : start + AT_ONCE])
        whose = (studio_events.c.key == key) & some
        unsent_yet = studio_events.c.event_id.is_(None)
        await db.execute(delete(studio_events).where(whose, unsent_yet, studio_events.c.tried.is_(False)))
        await db.execute(update(studio_events).where(whose, unsent_yet).values(withdrawn=True))
        rows = await db.execute(
            delete(studio_events).where(whose, studio_events.c.event_id.is_not(None)).returning(studio_events)
        )
        redacted += [record(StudioEvent, row) for row in rows]
    return tuple(sorted(redacted, key=lambda event: event.id))


async def _further(db: Connection, key: str, names: Collection[str]) -> set[str]:
    """Return the names of further events of what has one of these names, and of the slices that can't be read: each may
    be such a one."""
    wanted = select(studio_events).where(studio_events.c.key == key, studio_events.c.name.contains("-"))
    held, events = {SEALED, *names}, [record(StudioEvent, row) for row in await db.execute(wanted)]
    return {event.name for event in events if event.stands_for in held}


async def drop(db: Connection, event_row: int) -> None:
    """Delete the row of an event."""
    await db.execute(delete(studio_events).where(studio_events.c.id == event_row))


async def drop_unsent(db: Connection, key: str) -> int:
    """Delete the rows of events of a studio that nobody began to send; return how many they were."""
    whose = (studio_events.c.key == key, studio_events.c.tried.is_(False), studio_events.c.event_id.is_(None))
    return int((await db.execute(delete(studio_events).where(*whose))).rowcount)


async def doubt(db: Connection) -> None:
    """Let every event that is not sent yet be looked for first: the store was restored, and they may have been sent."""
    await db.execute(update(studio_events).where(studio_events.c.event_id.is_(None)).values(tried=True))
