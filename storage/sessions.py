"""Sessions of messages: the messages beside one in the timeline, and those that were erased."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, func, select, union_all

from storage.database import Connection
from storage.dialect import insert
from storage.records import (
    OUT_OF_TURN,
    Chunk,
    ChunkState,
    EventId,
    Position,
    Recording,
    RecordingId,
    RecordingKind,
    RecordingState,
    RoomId,
    Transmission,
    UserId,
    chunk_id_of,
)
from storage.rows import record
from storage.tables import chunks, erased_messages, recordings, room_state

NEAREST = 3
"""Sessions on each side that are looked into. They follow one another; only one that was full, or closed, may have
others inside."""

AT_ONCE = 500  # recordings; a statement may hold only so many values


async def beside(
    db: Connection, room_id: RoomId, kind: RecordingKind, thread: EventId | None, position: Position
) -> tuple[Chunk | None, Chunk | None]:
    """Return the nearest messages before and after a position, in any session of a room and thread. Two indexes lead
    there, however many messages there are."""
    place = recordings.c.position
    here = select(recordings.c.id, recordings.c.transmissions).where(
        recordings.c.room_id == room_id,
        recordings.c.kind == kind,
        recordings.c.thread.is_(None) if thread is None else recordings.c.thread == thread,
        recordings.c.state != RecordingState.DELETED,
    )
    earlier = await _nearby(db, here.where(place < position).order_by(place.desc()))
    later = await _nearby(db, here.where(place > position).order_by(place))
    # A message that was found late may stand before the one that its session is named after.
    sessions = [*earlier, *later]
    at = chunks.c.position
    before = [chunk for session in sessions if (chunk := await _nearest(db, session.id, at < position, at.desc()))]
    after = [chunk for session in sessions if (chunk := await _nearest(db, session.id, at > position, at.asc()))]
    started = [_start(session.id, each) for session in sessions for each in session.transmissions if each.in_turn]
    before += [chunk for chunk in started if chunk.position < position]
    after += [chunk for chunk in started if chunk.position > position]
    return (
        max(before, key=lambda chunk: chunk.position, default=None),
        min(after, key=lambda chunk: chunk.position, default=None),
    )


async def _nearby(db: Connection, sessions: Select[Any]) -> Sequence[Row[Any]]:
    rows: Sequence[Row[Any]] = (await db.execute(sessions.limit(NEAREST))).all()
    return rows


def _start(session: RecordingId, transmission: Transmission) -> Chunk:
    """Return the start of a broadcast that is a transmission as if it were a message: it holds no sound."""
    return Chunk(
        id=chunk_id_of(transmission.event_id),
        recording_id=session,
        event_id=transmission.event_id,
        sender=transmission.sender,
        position=transmission.position,
        state=ChunkState.STORED,
        sent_at=transmission.started_at,
    )


async def _nearest(
    db: Connection, session: RecordingId, where: ColumnElement[bool], order: ColumnElement[Position]
) -> Chunk | None:
    counts = chunks.c.reason.is_distinct_from(OUT_OF_TURN)
    theirs = select(chunks).where(chunks.c.recording_id == session, where, counts)
    row = (await db.execute(theirs.order_by(order).limit(1))).one_or_none()
    return record(Chunk, row) if row else None


async def are_divided(
    db: Connection, room_id: RoomId, earlier: Position, later: Position, types: Collection[str]
) -> bool:
    """Return whether state of these types was sent between two positions: other people may hear the later one."""
    at = room_state.c.position
    between = select(at).where(room_state.c.room_id == room_id, room_state.c.type.in_(types), at > earlier, at < later)
    return (await db.execute(between.limit(1))).first() is not None


async def is_late(db: Connection, session: Recording) -> bool:
    """Return whether a later recording of the room was numbered already."""
    later = (recordings.c.room_id == session.room_id, recordings.c.position > session.position)
    return (await db.execute(select(recordings.c.id).where(*later).limit(1))).first() is not None


async def live(db: Connection, room_id: RoomId, kind: RecordingKind) -> tuple[Recording, ...]:
    """Return the live sessions of a kind in a room, the oldest first."""
    here = (recordings.c.room_id == room_id, recordings.c.kind == kind, recordings.c.state == RecordingState.LIVE)
    rows = await db.execute(select(recordings).where(*here).order_by(recordings.c.position))
    return tuple(record(Recording, row) for row in rows)


async def erase(db: Connection, recording_id: RecordingId, events: Iterable[EventId]) -> None:
    """Note the messages of a deleted session: no search of the history finds them again."""
    rows = [{"event_id": event_id, "recording_id": recording_id} for event_id in events]
    if rows:
        await db.execute(insert(erased_messages).on_conflict_do_nothing(index_elements=["event_id"]), rows)


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
