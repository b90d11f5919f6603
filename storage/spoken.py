"""Recordings by who speaks in them."""

from collections.abc import Collection, Sequence

from sqlalchemy import and_, exists, or_, select, union

from storage.database import Connection
from storage.records import ChunkState, Recording, RecordingState, RoomId, UserId
from storage.rows import record
from storage.tables import chunks, recordings


async def by(
    db: Connection, user_id: UserId, room_ids: Sequence[RoomId] | None, without: Collection[str]
) -> tuple[tuple[Recording, ...], tuple[Recording, ...]]:
    """Return the recordings in these rooms (None: in all) of this speaker alone, and those with other speakers too,
    without those that were deleted, or that hold nothing of the speaker any more. A chunk holds nothing that was
    redacted, or has one of the reasons `without`."""
    in_it = chunks.c.recording_id == recordings.c.id
    holds = (chunks.c.state != ChunkState.REDACTED) & or_(chunks.c.reason.is_(None), chunks.c.reason.not_in(without))
    others = exists().where(in_it, chunks.c.sender != user_id, holds)
    named = chunks.c.sender_name.is_not(None)
    left = exists().where(in_it, chunks.c.sender == user_id, or_(holds, named))
    began = recordings.c.broadcaster == user_id
    # Found by two indexes: an OR would read every recording.
    sent_in = select(chunks.c.recording_id).where(chunks.c.sender == user_id)
    begun = select(recordings.c.id).where(began)
    of_them = select(recordings, others.label("shared")).where(
        recordings.c.id.in_(union(sent_in, begun)),
        recordings.c.state != RecordingState.DELETED,
        or_(~others, left, and_(began, recordings.c.broadcaster_name.is_not(None))),
    )
    if room_ids is not None:
        of_them = of_them.where(recordings.c.room_id.in_(list(room_ids)))
    rows = (await db.execute(of_them.order_by(recordings.c.id))).all()
    alone, shared = ([record(Recording, row) for row in rows if row.shared == is_shared] for is_shared in (False, True))
    return tuple(alone), tuple(shared)
