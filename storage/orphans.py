"""Candidates: voice messages of a speaker that may be lost chunks of a broadcast (`bot.recording.broadcast.orphans`),
kept for a while as rows beside the chunks.

Each is stored with one recording, and is a candidate of every open recording of that speaker in the room: a user can
broadcast from two devices at once.
"""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, bindparam, delete, exists, select, text

from storage import archive
from storage.database import Connection
from storage.journal import WAITS
from storage.records import Chunk, Recording, RecordingId, RecordingState, RoomId, UserId
from storage.rows import record
from storage.tables import chunks, journal, recordings

IS_CANDIDATE = text("chunks.state = 'candidate'")
"""The condition of the index of candidates, written in the same way so that the index is used."""

_ELSEWHERE = (
    select(chunks)
    .where(
        IS_CANDIDATE,
        exists().where(
            recordings.c.id == chunks.c.recording_id,
            recordings.c.room_id == bindparam("room"),
            recordings.c.broadcaster == bindparam("speaker"),
            recordings.c.id != bindparam("of"),
        ),
    )
    .order_by(chunks.c.position)
)
"""A statement that each chunk needs, made once: to make one takes as long as to execute it."""


async def wanted(db: Connection, room_id: RoomId, sender: UserId, infos: Collection[str]) -> bool:
    """Tell whether a broadcast of this speaker is open in the room, or its start was heard and is not handled yet.
    `infos`: the types of events that start one."""
    if await archive.open_broadcasts(db, room_id, sender):
        return True
    starts = select(journal.c.position).where(
        WAITS,
        journal.c.room_id == room_id,
        journal.c.event["type"].as_string().in_(infos),
        journal.c.event["sender"].as_string() == sender,
    )
    return (await db.execute(starts.limit(1))).first() is not None


async def of(db: Connection, recording_id: RecordingId) -> tuple[Chunk, ...]:
    """Return the candidates that are stored with this recording, in the room's order."""
    mine = select(chunks).where(IS_CANDIDATE, chunks.c.recording_id == recording_id)
    return tuple(record(Chunk, row) for row in await db.execute(mine.order_by(chunks.c.position)))


async def elsewhere(db: Connection, recording: Recording) -> tuple[Chunk, ...]:
    """Return the candidates of the recording's speaker and room that are stored with another recording."""
    its = {"room": recording.room_id, "speaker": recording.broadcaster, "of": recording.id}
    return tuple(record(Chunk, row) for row in await db.execute(_ELSEWHERE, its))


async def settle(db: Connection, recording: Recording) -> tuple[Chunk, ...]:
    """Delete the candidates of complete recordings, which lack nothing, once no recording of the speaker in the room is
    open. Return them."""
    if await archive.open_broadcasts(db, recording.room_id, recording.broadcaster):
        return ()
    return await _remove(db, *_of_its_speaker(recording), recordings.c.state == RecordingState.COMPLETE)


async def forget(db: Connection, recording_id: RecordingId) -> None:
    """Delete the candidates that are stored with this recording."""
    await _remove(db, recordings.c.id == recording_id)


async def prune(db: Connection, before: datetime) -> None:
    """Delete the candidates of recordings that ended before a time: their sources hold keys of media that were not
    meant for the bot."""
    await _remove(db, recordings.c.ended_at < before)


async def _remove(db: Connection, *conditions: ColumnElement[bool]) -> tuple[Chunk, ...]:
    """Delete the candidates of recordings that meet these conditions, and return them."""
    found = await db.execute(select(chunks).where(IS_CANDIDATE, _lies_with(*conditions)).order_by(chunks.c.position))
    removed = tuple(record(Chunk, row) for row in found)
    theirs = select(chunks.c.recording_id).where(IS_CANDIDATE, _lies_with(*conditions))
    await archive.chunks_change(db, recordings.c.id.in_(theirs))
    await db.execute(delete(chunks).where(IS_CANDIDATE, _lies_with(*conditions)))
    return removed


def _of_its_speaker(recording: Recording) -> tuple[ColumnElement[bool], ...]:
    return recordings.c.room_id == recording.room_id, recordings.c.broadcaster == recording.broadcaster


def _lies_with(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(recordings.c.id == chunks.c.recording_id, *conditions)
