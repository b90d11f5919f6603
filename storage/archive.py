"""Recordings, their chunks and episodes."""

import secrets
import string
from dataclasses import replace
from datetime import datetime

from sqlalchemy import delete, func, or_, select, union_all

from storage.database import Connection
from storage.records import (
    BlobKey,
    Chunk,
    Episode,
    EventId,
    Recording,
    RecordingId,
    RecordingState,
    RoomId,
    UserId,
)
from storage.rows import columns, put, record
from storage.tables import chunks as chunk_table
from storage.tables import episodes, extents
from storage.tables import recordings as recording_table
from storage.tables import rooms as room_table

OPEN = (RecordingState.LIVE, RecordingState.FINISHING)
CODE_LETTERS = 6


def new_code() -> str:
    """Six letters that people can say; the unique column catches the one in 300 million."""
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(CODE_LETTERS))


async def recording(db: Connection, recording_id: RecordingId) -> Recording | None:
    row = (await db.execute(select(recording_table).where(recording_table.c.id == recording_id))).one_or_none()
    return record(Recording, row) if row else None


async def recording_by_event(db: Connection, event_id: EventId) -> Recording | None:
    """By the event id of its started event."""
    row = (await db.execute(select(recording_table).where(recording_table.c.event_id == event_id))).one_or_none()
    return record(Recording, row) if row else None


async def recording_by_code(db: Connection, code: str) -> Recording | None:
    row = (await db.execute(select(recording_table).where(recording_table.c.code == code.lower()))).one_or_none()
    return record(Recording, row) if row else None


async def recordings(db: Connection, room_id: RoomId | None = None, limit: int | None = None) -> tuple[Recording, ...]:
    """Newest first by `started_at`, then by number; of all rooms when `room_id` is None."""
    statement = select(recording_table).order_by(recording_table.c.started_at.desc(), recording_table.c.id.desc())
    if room_id is not None:
        statement = statement.where(recording_table.c.room_id == room_id)
    found = await db.execute(statement.limit(limit) if limit is not None else statement)
    return tuple(record(Recording, row) for row in found)


async def open_recordings(
    db: Connection, room_id: RoomId | None = None, broadcaster: UserId | None = None
) -> tuple[Recording, ...]:
    """Those that are live or finishing, oldest first."""
    statement = select(recording_table).where(recording_table.c.state.in_(OPEN)).order_by(recording_table.c.position)
    if room_id is not None:
        statement = statement.where(recording_table.c.room_id == room_id)
    if broadcaster is not None:
        statement = statement.where(recording_table.c.broadcaster == broadcaster)
    return tuple(record(Recording, row) for row in await db.execute(statement))


async def add_recording(db: Connection, value: Recording) -> Recording:
    """Stores a new recording and gives it back with its id, code and number."""
    found = await db.execute(
        select(func.max(recording_table.c.number)).where(recording_table.c.room_id == value.room_id)
    )
    numbered = replace(value, number=(found.scalar_one_or_none() or 0) + 1, code=value.code or new_code())
    values = columns(numbered)
    del values["id"]
    result = await db.execute(recording_table.insert().values(**values).returning(recording_table.c.id))
    return replace(numbered, id=RecordingId(result.scalar_one()))


async def save_recording(db: Connection, value: Recording) -> None:
    await put(db, recording_table, columns(value))


async def chunks(db: Connection, recording_id: RecordingId) -> tuple[Chunk, ...]:
    """A recording's chunks in the room's order."""
    statement = select(chunk_table).where(chunk_table.c.recording_id == recording_id).order_by(chunk_table.c.position)
    return tuple(record(Chunk, row) for row in await db.execute(statement))


async def chunk(db: Connection, event_id: EventId) -> Chunk | None:
    row = (await db.execute(select(chunk_table).where(chunk_table.c.event_id == event_id))).one_or_none()
    return record(Chunk, row) if row else None


async def save_chunk(db: Connection, value: Chunk) -> None:
    await put(db, chunk_table, columns(value))


async def delete_chunks(db: Connection, recording_id: RecordingId, events: list[EventId] | None = None) -> None:
    """These of a recording's chunks, or all."""
    statement = delete(chunk_table).where(chunk_table.c.recording_id == recording_id)
    await db.execute(statement if events is None else statement.where(chunk_table.c.event_id.in_(events)))


async def episode(db: Connection, recording_id: RecordingId) -> Episode | None:
    row = (await db.execute(select(episodes).where(episodes.c.recording_id == recording_id))).one_or_none()
    return record(Episode, row) if row else None


async def save_episode(db: Connection, value: Episode) -> None:
    await put(db, episodes, columns(value))


async def delete_episode(db: Connection, recording_id: RecordingId) -> None:
    await db.execute(delete(episodes).where(episodes.c.recording_id == recording_id))


async def published(
    db: Connection, room_id: RoomId, limit: int | None = None, offset: int = 0
) -> tuple[tuple[Recording, Episode], ...]:
    """What a room's feeds may list, newest first: audio is there, and it is whole or no longer held."""
    listed = (recording_table.c.room_id == room_id) & (recording_table.c.state != RecordingState.DELETED)
    statement = (
        select(recording_table)
        .join(episodes, episodes.c.recording_id == recording_table.c.id)
        .where(listed, episodes.c.published_at.is_not(None))
        .order_by(recording_table.c.started_at.desc(), recording_table.c.id.desc())
        .offset(offset)
    )
    rows = await db.execute(statement if limit is None else statement.limit(limit))
    found = [record(Recording, row) for row in rows]
    wanted = select(episodes).where(episodes.c.recording_id.in_([one.id for one in found]))
    by_id = {row.recording_id: record(Episode, row) for row in await db.execute(wanted)}
    return tuple((one, by_id[one.id]) for one in found)


async def referenced(db: Connection, blobs: list[BlobKey]) -> frozenset[BlobKey]:
    """Which of these blobs some chunk, track, episode or room still needs."""
    statement = union_all(
        select(chunk_table.c.blob).where(chunk_table.c.blob.in_(blobs)),
        select(episodes.c.blob).where(episodes.c.blob.in_(blobs)),
        select(extents.c.blob).where(extents.c.blob.in_(blobs)),
        select(room_table.c.cover).where(room_table.c.cover.in_(blobs)),
    )
    return frozenset(BlobKey(key) for key in (await db.execute(statement)).scalars())


async def bytes_of_room(db: Connection, room_id: RoomId) -> int:
    """What a room's chunks and episodes take on the disk, in bytes."""
    of_room = select(recording_table.c.id).where(recording_table.c.room_id == room_id)
    total = 0
    for table in (chunk_table, episodes):
        found = await db.execute(select(func.sum(table.c.bytes)).where(table.c.recording_id.in_(of_room)))
        total += int(found.scalar_one_or_none() or 0)
    return total


async def expects_keys(db: Connection, room_id: RoomId, sender: UserId, broadcast: EventId, since: datetime) -> bool:
    """Whether an unreadable event of `sender` may belong to that broadcast: it is open, or ended after `since`."""
    found = await db.execute(
        select(recording_table.c.id).where(
            recording_table.c.room_id == room_id,
            recording_table.c.event_id == broadcast,
            recording_table.c.broadcaster == sender,
            recording_table.c.state != RecordingState.DELETED,
            or_(recording_table.c.ended_at.is_(None), recording_table.c.ended_at > since),
        )
    )
    return found.first() is not None
