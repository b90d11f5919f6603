"""Recordings by who speaks in them."""

from collections.abc import Sequence

from sqlalchemy import and_, exists, or_, select

from storage.database import Connection
from storage.records import ChunkState, Recording, RecordingState, RoomId, UserId
from storage.rows import record
from storage.tables import chunks, recordings


async def by(
    db: Connection, user_id: UserId, room_ids: Sequence[RoomId] | None
) -> tuple[tuple[Recording, ...], tuple[Recording, ...]]:
    """Return the recordings in these rooms (None: in all) of this speaker alone, and those with other speakers too,
    without those that were deleted, or that hold nothing of the speaker any more."""
    in_it = chunks.c.recording_id == recordings.c.id
    theirs, others = (
        exists().where(in_it, chunks.c.sender == user_id),
        exists().where(in_it, chunks.c.sender != user_id),
    )
    left = exists().where(in_it, chunks.c.sender == user_id, chunks.c.state != ChunkState.REDACTED)
    began = recordings.c.broadcaster == user_id
    alone = or_(began, theirs) & ~others
    shared = others & or_(left, and_(began, recordings.c.broadcaster_name.is_not(None)))
    there = recordings.c.state != RecordingState.DELETED
    if room_ids is not None:
        there &= recordings.c.room_id.in_(list(room_ids))
    of_alone = await db.execute(select(recordings).where(there, alone).order_by(recordings.c.id))
    of_shared = await db.execute(select(recordings).where(there, shared).order_by(recordings.c.id))
    return tuple(record(Recording, row) for row in of_alone), tuple(record(Recording, row) for row in of_shared)
