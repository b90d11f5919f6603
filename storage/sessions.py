"""Sessions of messages: the messages beside one in the timeline, and those that were erased."""

from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import ColumnElement, func, select, union_all

from storage.database import Connection
from storage.dialect import insert
from storage.records import (
    Chunk,
    ChunkState,
    EventId,
    Position,
    RecordingId,
    RecordingKind,
    RecordingState,
    RoomId,
    UserId,
)
from storage.rows import record
from storage.tables import chunks, erased_messages, recordings

AT_ONCE = 500  # recordings; a statement may hold only so many values


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


async def recorded(db: Connection, events: Collection[EventId]) -> dict[EventId, Chunk]:
    """Return the chunks, of any recording, that came in these events."""
    rows = await db.execute(select(chunks).where(chunks.c.event_id.in_(events)))
    return {chunk.event_id: chunk for chunk in (record(Chunk, row) for row in rows) if chunk.event_id}


async def erased(db: Connection, events: Collection[EventId]) -> frozenset[EventId]:
    """Return the messages among these that belonged to a session that was deleted; the first is its tombstone's."""
    gone = (recordings.c.state == RecordingState.DELETED) & recordings.c.event_id.in_(events)
    statement = union_all(
        select(erased_messages.c.event_id).where(erased_messages.c.event_id.in_(events)),
        select(recordings.c.event_id).where(gone),
    )
    return frozenset((await db.execute(statement)).scalars())


async def speakers(db: Connection, recording_ids: Sequence[RecordingId]) -> tuple[tuple[UserId, ...], int]:
    """Return the senders of the messages in these recordings, by their first ones, and the number of the messages,
    without those that were removed or refused."""
    first, count = dict[UserId, Position](), 0
    for start in range(0, len(recording_ids), AT_ONCE):
        theirs = chunks.c.recording_id.in_(recording_ids[start : start + AT_ONCE])
        kept = chunks.c.state.not_in([ChunkState.REDACTED, ChunkState.REFUSED])
        counted = select(chunks.c.sender, func.min(chunks.c.position).label("first"), func.count().label("messages"))
        for row in await db.execute(counted.where(theirs, kept).group_by(chunks.c.sender)):
            count += row.messages
            first[UserId(row.sender)] = min(first.get(row.sender, row.first), row.first)
    return tuple(sorted(first, key=lambda sender: first[sender])), count
