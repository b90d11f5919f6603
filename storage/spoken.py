"""Recordings by who speaks in them."""

import json
from collections.abc import Collection, Sequence

from sqlalchemy import Select, Text, and_, cast, exists, or_, select, union

from storage.database import Connection
from storage.records import ChunkState, Recording, RecordingKind, RecordingState, RoomId, UserId
from storage.rows import record
from storage.tables import chunks, recordings, rooms


async def by(
    db: Connection, user_id: UserId, room_ids: Sequence[RoomId] | None, without: Collection[str]
) -> tuple[tuple[Recording, ...], tuple[Recording, ...]]:
    """Return the recordings in these rooms (None: in all) of this speaker alone, and those with other speakers too,
    without those that were deleted, or that hold nothing of the speaker any more. A chunk holds nothing that was
    redacted, or has one of the reasons `without`; a call holds something of everybody with a stem."""
    in_it = chunks.c.recording_id == recordings.c.id
    holds = (chunks.c.state != ChunkState.REDACTED) & or_(chunks.c.reason.is_(None), chunks.c.reason.not_in(without))
    others = exists().where(in_it, chunks.c.sender != user_id, holds)
    named = chunks.c.sender_name.is_not(None)
    left = exists().where(in_it, chunks.c.sender == user_id, or_(holds, named))
    began = recordings.c.broadcaster == user_id
    # Found by indexes: an OR would read every recording.
    sent_in = select(chunks.c.recording_id).where(chunks.c.sender == user_id)
    begun = select(recordings.c.id).where(began)
    is_call = recordings.c.protocol.is_not(None)
    of_them = select(recordings, others.label("shared")).where(
        recordings.c.id.in_(union(sent_in, begun, _with_stem(user_id, room_ids))),
        recordings.c.state != RecordingState.DELETED,
        or_(~others, left, is_call, and_(began, recordings.c.broadcaster_name.is_not(None))),
    )
    if room_ids is not None:
        of_them = of_them.where(recordings.c.room_id.in_(list(room_ids)))
    alone, shared = list[Recording](), list[Recording]()
    for row in await db.execute(of_them.order_by(recordings.c.id)):
        recording = record(Recording, row)
        is_shared = _shares_call(recording, user_id) if recording.stems else row.shared
        if is_shared is not None:
            (shared if is_shared else alone).append(recording)
    return tuple(alone), tuple(shared)


def _with_stem(user_id: UserId, room_ids: Sequence[RoomId] | None) -> Select[tuple[int]]:
    """Select the calls that may have a stem of this user: it need not have a slice."""
    here = select(rooms.c.room_id) if room_ids is None else list(room_ids)  # for the index by room and kind
    named = cast(recordings.c.stems, Text).contains(json.dumps(user_id), autoescape=True)
    is_call = recordings.c.kind == RecordingKind.CALL
    return select(recordings.c.id).where(recordings.c.room_id.in_(here), is_call, named)


def _shares_call(recording: Recording, user_id: UserId) -> bool | None:
    """Return whether others are in a call beside this user; None: nothing of this user is in it. A stem counts from
    its beginning on: its first slice is kept later."""
    in_it = {stem.user_id for stem in recording.stems if not stem.removed}
    others = bool(in_it - {user_id})
    named = recording.broadcaster == user_id and (recording.broadcaster_name is not None or not others)
    return others if named or user_id in in_it else None
