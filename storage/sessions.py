"""Sessions of messages: the messages beside one in the timeline, and those that were erased."""

from collections.abc import Iterable

from sqlalchemy import ColumnElement, select

from storage.database import Connection
from storage.dialect import insert
from storage.records import Chunk, EventId, Position, RecordingId, RecordingKind, RoomId
from storage.rows import record
from storage.tables import chunks, erased_messages, recordings


async def beside(
    db: Connection, room_id: RoomId, kind: RecordingKind, thread: EventId | None, position: Position
) -> tuple[Chunk | None, Chunk | None]:
    """Return the nearest messages before and after a position, in any session of a room and thread."""
    before = chunks.c.position < position, chunks.c.position.desc()
    after = chunks.c.position > position, chunks.c.position.asc()
    return (
        await _nearest(db, room_id, kind, thread, *before),
        await _nearest(db, room_id, kind, thread, *after),
    )


async def _nearest(
    db: Connection,
    room_id: RoomId,
    kind: RecordingKind,
    thread: EventId | None,
    where: ColumnElement[bool],
    order: ColumnElement[Position],
) -> Chunk | None:
    here = (
        recordings.c.room_id == room_id,
        recordings.c.kind == kind,
        recordings.c.thread.is_not_distinct_from(thread),
    )
    theirs = select(chunks).join(recordings, recordings.c.id == chunks.c.recording_id).where(*here, where)
    row = (await db.execute(theirs.order_by(order).limit(1))).one_or_none()
    return record(Chunk, row) if row else None


async def erase(db: Connection, recording_id: RecordingId, events: Iterable[EventId]) -> None:
    """Note the messages of a deleted session: no search of the history finds them again."""
    rows = [{"event_id": event_id, "recording_id": recording_id} for event_id in events]
    if rows:
        await db.execute(insert(erased_messages).values(rows).on_conflict_do_nothing(index_elements=["event_id"]))


async def is_erased(db: Connection, event_id: EventId) -> bool:
    """Return whether a message belonged to a session that was deleted."""
    found = select(erased_messages.c.event_id).where(erased_messages.c.event_id == event_id)
    return (await db.execute(found)).first() is not None
