"""Opt-outs: every `optout` and `optin` that a member said in a room, or for everywhere. Never pruned."""

from collections.abc import Collection
from dataclasses import replace

from sqlalchemy import ColumnElement, exists, or_, select

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
from storage.tables import chunks, optouts, recordings

HALF_KEPT = (
    ChunkState.WAITING_FOR_KEY,
    ChunkState.WAITING_FOR_MEDIA,
    ChunkState.DAMAGED,
    ChunkState.REFUSED,
    ChunkState.CANDIDATE,
)
"""States of chunks whose sound may still come."""


async def add(db: Connection, word: OptOut) -> None:
    """Store what a member said, once."""
    await db.execute(insert(optouts).values(**columns(word)).on_conflict_do_nothing())


async def of(db: Connection, user_id: UserId) -> tuple[OptOut, ...]:
    """Return all that a member said, the oldest first."""
    return await _words(db, optouts.c.user_id == user_id)


async def share(db: Connection, room_ids: Collection[RoomId], heirs: Collection[RoomId]) -> None:
    """Make all that members said in one of these rooms hold in each of the `heirs`."""
    for word in await _words(db, optouts.c.room_id.in_(list(room_ids))):
        for room_id in heirs:
            await add(db, replace(word, room_id=room_id))


async def every(db: Connection, room_ids: Collection[RoomId] | None = None) -> tuple[OptOut, ...]:
    """Return all that members said in these rooms and for everywhere, the oldest first; in all rooms when None."""
    return await _words(db, *([] if room_ids is None else [optouts.c.room_id.in_((EVERYWHERE, *room_ids))]))


async def _words(db: Connection, *conditions: ColumnElement[bool]) -> tuple[OptOut, ...]:
    ordered = select(optouts).where(*conditions).order_by(optouts.c.position, optouts.c.user_id, optouts.c.room_id)
    return tuple(record(OptOut, row) for row in await db.execute(ordered))


async def running(
    db: Connection, *, user_id: UserId | None, room_ids: Collection[RoomId] | None
) -> tuple[Recording, ...]:
    """Return the open recordings of this speaker and in these rooms (None: of all)."""
    are_open = recordings.c.state.in_([state for state in RecordingState if state.is_open])
    found = select(recordings).where(are_open, *_theirs(user_id, room_ids)).order_by(recordings.c.position)
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
    """Return the next recordings behind `after`, of this speaker and in these rooms (None: of all), that have ended and
    that an objection concerns: more of their sound may come, or some of it came after `since`. No sound comes of chunks
    that are not there for one of the reasons `given_up`."""
    lies_in = chunks.c.recording_id == recordings.c.id
    awaited = chunks.c.state.in_(HALF_KEPT), or_(chunks.c.reason.is_(None), chunks.c.reason.not_in(given_up))
    ended = [state for state in RecordingState if not state.is_open and state is not RecordingState.DELETED]
    concerned = or_(
        exists().where(lies_in, *awaited),
        exists().where(lies_in, chunks.c.position > since, chunks.c.state == ChunkState.STORED),
    )
    found = select(recordings).where(
        recordings.c.id > (after or 0), recordings.c.state.in_(ended), concerned, *_theirs(user_id, room_ids)
    )
    return tuple(record(Recording, row) for row in await db.execute(found.order_by(recordings.c.id).limit(limit)))


def _theirs(user_id: UserId | None, room_ids: Collection[RoomId] | None) -> list[ColumnElement[bool]]:
    of_user = [] if user_id is None else [recordings.c.broadcaster == user_id]
    return of_user if room_ids is None else [*of_user, recordings.c.room_id.in_(list(room_ids))]
