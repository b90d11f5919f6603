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
    redacted, or has one of the reasons `without`; a call holds something of everybody with a stem, and of everybody
    of whom it lists when they were not heard."""
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
        recordings.c.id.in_(union(sent_in, begun, _named_in_call(user_id, room_ids))),
        recordings.c.state != RecordingState.DELETED,
        or_(~others, left, is_call, and_(began, recordings.c.broadcaster_name.is_not(None))),
    )
    if room_ids is not None:
        of_them = of_them.where(recordings.c.room_id.in_(list(room_ids)))
    alone, shared = list[Recording](), list[Recording]()
    for row in await db.execute(of_them.order_by(recordings.c.id)):
        recording = record(Recording, row)
        is_shared = _shares_call(recording, user_id) if recording.stems or recording.unheard else row.shared
        if is_shared is not None:
            (shared if is_shared else alone).append(recording)
    return tuple(alone), tuple(shared)


async def speaks_in(db: Connection, room_id: RoomId, user_id: UserId) -> bool:
    """Return whether a recording of this room that was not deleted is this user's, or has sound of them."""
    sent = exists().where(
        chunks.c.recording_id == recordings.c.id, chunks.c.sender == user_id, chunks.c.state == ChunkState.STORED
    )
    theirs = or_(recordings.c.broadcaster == user_id, sent)
    here = (recordings.c.room_id == room_id) & (recordings.c.state != RecordingState.DELETED)
    return (await db.execute(select(recordings.c.id).where(here, theirs).limit(1))).first() is not None


async def in_public(db: Connection, room_id: RoomId, user_id: UserId) -> bool:
    """Return whether a public recording of this room that has sound names this user as a speaker."""
    named = cast(recordings.c.speakers, Text).contains(json.dumps(user_id), autoescape=True)
    has_sound = recordings.c.state.in_([state for state in RecordingState if state.may_have_audio])
    public = recordings.c.public & ~recordings.c.unreviewed & has_sound & (recordings.c.room_id == room_id)
    theirs = or_(recordings.c.broadcaster == user_id, named)
    return (await db.execute(select(recordings.c.id).where(public, theirs).limit(1))).first() is not None


def _named_in_call(user_id: UserId, room_ids: Sequence[RoomId] | None) -> Select[tuple[int]]:
    """Select the calls that may have a stem of this user, which need not have a slice, or a time in which they were not
    heard."""
    here = select(rooms.c.room_id) if room_ids is None else list(room_ids)  # for the index by room and kind
    lists = (recordings.c.stems, recordings.c.unheard)
    named = or_(*(cast(each, Text).contains(json.dumps(user_id), autoescape=True) for each in lists))
    is_call = recordings.c.kind == RecordingKind.CALL
    return select(recordings.c.id).where(recordings.c.room_id.in_(here), is_call, named)


def _shares_call(recording: Recording, user_id: UserId) -> bool | None:
    """Return whether others are in a call beside this user; None: nothing of this user is in it. A stem counts from
    its beginning on: its first slice is kept later."""
    in_it = {stem.user_id for stem in recording.stems if not stem.removed}
    others = bool(in_it - {user_id})
    named = recording.broadcaster == user_id and (recording.broadcaster_name is not None or not others)
    if named or user_id in in_it:
        return others
    unheard = {each.user_id for each in recording.unheard}
    return bool((in_it | unheard) - {user_id}) if user_id in unheard else None
