"""Opt-outs: every `optout` and `optin` that a member said in a room, or for everywhere. Never pruned."""

from collections.abc import Collection
from dataclasses import replace

from sqlalchemy import ColumnElement, bindparam, exists, or_, select

from storage.database import Connection
from storage.dialect import insert
from storage.records import (
    EVERYWHERE,
    ChunkState,
    OptOut,
    Position,
    Recording,
    RecordingId,
    RecordingState,
    RoomId,
    UserId,
)
from storage.rows import columns, record
from storage.tables import chunks, optouts, recordings, transmissions

HALF_KEPT = (
    ChunkState.WAITING_FOR_KEY,
    ChunkState.WAITING_FOR_MEDIA,
    ChunkState.DAMAGED,
    ChunkState.REFUSED,
    ChunkState.CANDIDATE,
)
"""States of chunks whose sound may still come."""
_ORDERED = select(optouts).order_by(optouts.c.position, optouts.c.user_id, optouts.c.room_id)
_OF_USER = _ORDERED.where(optouts.c.user_id == bindparam("user"))


async def add(db: Connection, word: OptOut) -> None:
    """Store what a member said, once."""
    await db.execute(insert(optouts).values(**columns(word)).on_conflict_do_nothing())


async def of(db: Connection, user_id: UserId) -> tuple[OptOut, ...]:
    """Return all that a member said, the oldest first."""
    return tuple(record(OptOut, row) for row in await db.execute(_OF_USER, {"user": user_id}))


async def share(db: Connection, room_ids: Collection[RoomId], heirs: Collection[RoomId]) -> None:
    """Make all that members said in one of these rooms hold in each of the `heirs`."""
    for word in await _words(db, optouts.c.room_id.in_(list(room_ids))):
        for room_id in heirs:
            await add(db, replace(word, room_id=room_id))


async def every(db: Connection, room_ids: Collection[RoomId] | None = None) -> tuple[OptOut, ...]:
    """Return all that members said in these rooms and for everywhere, the oldest first; in all rooms when None."""
    return await _words(db, *([] if room_ids is None else [optouts.c.room_id.in_((EVERYWHERE, *room_ids))]))


async def _words(db: Connection, *conditions: ColumnElement[bool]) -> tuple[OptOut, ...]:
    return tuple(record(OptOut, row) for row in await db.execute(_ORDERED.where(*conditions)))


async def running(
    db: Connection, *, user_id: UserId | None, room_ids: Collection[RoomId] | None
) -> tuple[Recording, ...]:
    """Return the open recordings in these rooms (None: in all) in which this user may take part (None: anybody)."""
    are_open = recordings.c.state.in_([state for state in RecordingState if state.is_open])
    theirs = []
    if user_id is not None:
        speaks = exists().where(chunks.c.recording_id == recordings.c.id, chunks.c.sender == user_id)
        begins = exists().where(transmissions.c.recording_id == recordings.c.id)  # perhaps another's
        in_call = recordings.c.protocol.is_not(None)  # the same
        theirs = [or_(recordings.c.broadcaster == user_id, speaks, begins, in_call)]
    found = select(recordings).where(are_open, *theirs, *_in(room_ids)).order_by(recordings.c.position)
    return tuple(record(Recording, row) for row in await db.execute(found))


async def half_kept(
    db: Connection,
    since: Position,
    *,
    user_id: UserId | None,
    room_ids: Collection[RoomId] | None,
    given_up: Collection[str],
    after: RecordingId | None,
    limit: int,
) -> tuple[Recording, ...]:
    """Return the next recordings behind `after`, in these rooms (None: in all), that have ended and that an objection
    to the sound of this user (None: of anybody) concerns: more of it may come, or some of it came after `since`. No
    sound comes of chunks that are not there for one of the reasons `given_up`."""
    lies_in = chunks.c.recording_id == recordings.c.id
    awaited = chunks.c.state.in_(HALF_KEPT) & or_(chunks.c.reason.is_(None), chunks.c.reason.not_in(given_up))
    too_late = (chunks.c.position > since) & (chunks.c.state == ChunkState.STORED)
    if user_id is None:
        concerned = or_(exists().where(lies_in, awaited), exists().where(lies_in, too_late))
    else:  # found by the index of senders
        theirs = select(chunks.c.recording_id).where(chunks.c.sender == user_id, or_(awaited, too_late))
        concerned = recordings.c.id.in_(theirs)
    ended = [state for state in RecordingState if not state.is_open and state is not RecordingState.DELETED]
    found = select(recordings).where(
        recordings.c.id > (after or 0), recordings.c.state.in_(ended), concerned, *_in(room_ids)
    )
    return tuple(record(Recording, row) for row in await db.execute(found.order_by(recordings.c.id).limit(limit)))


def _in(room_ids: Collection[RoomId] | None) -> list[ColumnElement[bool]]:
    return [] if room_ids is None else [recordings.c.room_id.in_(list(room_ids))]
