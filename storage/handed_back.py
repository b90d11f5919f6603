"""Voice messages that hold recordings: rows of those that were posted or are about to be."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, delete, select, update

from storage.database import Connection
from storage.records import EventId, HandedBack, MediaSource, RecordingId
from storage.rows import columns, record
from storage.tables import handed_back


def _whose(recording_id: RecordingId, part: EventId | None) -> ColumnElement[bool]:
    """Build the condition that a message holds a recording, or (`part`) one transmission of it."""
    return (handed_back.c.recording_id == recording_id) & handed_back.c.transmission.is_not_distinct_from(part)


async def of(db: Connection, recording_id: RecordingId, part: EventId | None = None) -> tuple[HandedBack, ...]:
    """Return a recording's voice messages, or those of one of its transmissions, the oldest first."""
    statement = select(handed_back).where(_whose(recording_id, part)).order_by(handed_back.c.id)
    return tuple(record(HandedBack, row) for row in await db.execute(statement))


async def add(db: Connection, values: Sequence[HandedBack]) -> tuple[HandedBack, ...]:
    """Store new ones and return them with their ids."""
    stored = []
    for value in values:
        row = columns(value)
        del row["id"]
        result = await db.execute(handed_back.insert().values(**row).returning(handed_back.c.id))
        stored.append(replace(value, id=int(result.scalar_one())))
    return tuple(stored)


async def uploaded(db: Connection, message_id: int, source: MediaSource) -> bool:
    """Note where the file of a message is. Return False if the message is not to be posted any more."""
    wanted = (handed_back.c.id == message_id) & handed_back.c.withdrawn.is_(False)
    return bool((await db.execute(update(handed_back).where(wanted).values(source=source))).rowcount)


async def posted(db: Connection, message_id: int, event_id: EventId) -> HandedBack:
    """Note the event of a message, forget the key of its file, and return the message, which may have been withdrawn
    meanwhile."""
    noted = update(handed_back).where(handed_back.c.id == message_id).values(event_id=event_id, source=None)
    return record(HandedBack, (await db.execute(noted.returning(handed_back))).one())


async def withdraw(
    db: Connection,
    recording_id: RecordingId,
    part: EventId | None = None,
    *,
    but: str | None = None,
    only: str | None = None,
) -> tuple[HandedBack, ...]:
    """Withdraw the messages of a recording, or of one of its transmissions, except those with the fingerprint `but`, or
    only those with `only`. Return the ones that are to be redacted now; of others the event is not known yet. Messages
    that nobody began to send are deleted."""
    whose = _whose(recording_id, part) & handed_back.c.withdrawn.is_(False)
    if but is not None:
        whose &= handed_back.c.fingerprint != but
    if only is not None:
        whose &= handed_back.c.fingerprint == only
    await db.execute(delete(handed_back).where(whose, handed_back.c.source.is_(None), handed_back.c.event_id.is_(None)))
    rows = await db.execute(update(handed_back).where(whose).values(withdrawn=True).returning(handed_back))
    return tuple(message for row in rows if (message := record(HandedBack, row)).event_id is not None)


async def drop(db: Connection, message_id: int) -> None:
    """Delete the row of a message that was not posted."""
    await db.execute(delete(handed_back).where(handed_back.c.id == message_id))


async def forget(db: Connection, recording_id: RecordingId, part: EventId | None = None) -> None:
    """Delete the rows of messages of a recording, or of one of its transmissions, that were withdrawn and whose event
    is known."""
    gone = handed_back.c.withdrawn & handed_back.c.event_id.is_not(None)
    await db.execute(delete(handed_back).where(_whose(recording_id, part), gone))
