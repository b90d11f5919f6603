"""Calls: their recordings, the events and the files of stems that those list, and the members who were told."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, func, select

from storage.database import Connection
from storage.dialect import insert
from storage.records import (
    UNHEARD,
    BlobKey,
    CallEvent,
    CallEventKind,
    CallProtocol,
    Recording,
    RecordingId,
    RecordingKind,
    RecordingState,
    RoomId,
    ToldCall,
    UserId,
)
from storage.rows import columns, record, records
from storage.tables import call_events, call_told, stem_blobs
from storage.tables import recordings as recording_table
from storage.tables import rooms as room_table

MOST_EVENTS = 10_000
"""Events that the recording of a call lists. More are an attempt to fill the disk: members mute themselves at will."""
MOST_EVENTS_OF_ONE = 1_000
"""Events of one user among them. Nobody takes all places."""


async def running(db: Connection, room_id: RoomId | None = None) -> tuple[Recording, ...]:
    """Return the calls that are recorded now, in a room or in all, the oldest first."""
    here = () if room_id is None else (recording_table.c.room_id == room_id,)
    is_live = (recording_table.c.kind == RecordingKind.CALL, recording_table.c.state == RecordingState.LIVE)
    rows = await db.execute(select(recording_table).where(*is_live, *here).order_by(recording_table.c.id))
    return tuple(record(Recording, row) for row in rows)


async def last(db: Connection, room_id: RoomId, protocol: CallProtocol, call_id: str | None = None) -> Recording | None:
    """Return the newest recording of a call (None: of all calls of a protocol), also a deleted one."""
    table = recording_table.c
    this = () if call_id is None else (table.call_id == call_id,)
    its = (table.room_id == room_id, table.protocol == protocol, *this)
    row = (await db.execute(select(recording_table).where(*its).order_by(table.id.desc()).limit(1))).one_or_none()
    return record(Recording, row) if row else None


async def rooms_of(db: Connection) -> frozenset[RoomId]:
    """Return the rooms whose calls are to be recorded, and those in which one is."""
    wanting = select(room_table.c.room_id).where(room_table.c.joined, room_table.c.calls_on | room_table.c.call_wanted)
    wanted = {RoomId(room_id) for room_id in (await db.execute(wanting)).scalars()}
    return frozenset(wanted | {recording.room_id for recording in await running(db)})


async def note(db: Connection, recording_id: RecordingId, events: Sequence[CallEvent]) -> None:
    """Add events to those that the recording of a call lists, as many as it may have, and each user."""
    user = call_events.c.user_id
    listed = select(user, func.count()).where(call_events.c.recording_id == recording_id).group_by(user)
    counts = Counter({UserId(user_id): int(count) for user_id, count in await db.execute(listed)})
    total, rows = counts.total(), list[dict[str, Any]]()
    for event in events:
        if total + len(rows) < MOST_EVENTS and counts[event.user_id] < MOST_EVENTS_OF_ONE:
            counts[event.user_id] += 1
            rows.append({**columns(event), "recording_id": recording_id})
    if rows:
        await db.execute(call_events.insert(), rows)


async def events(db: Connection, recording_id: RecordingId) -> tuple[CallEvent, ...]:
    """Return the events of a call in their order."""
    mine = select(call_events).where(call_events.c.recording_id == recording_id)
    return await records(CallEvent, await db.execute(mine.order_by(call_events.c.at, call_events.c.id)))


async def unheard(db: Connection, recording_id: RecordingId) -> Mapping[CallEventKind, int]:
    """Count the users some of whose sound is not in the recording of a call, though it was wanted, by the reason."""
    table = call_events.c
    which = (table.recording_id == recording_id, table.what.in_(UNHEARD))
    rows = await db.execute(select(table.what, func.count(table.user_id.distinct())).where(*which).group_by(table.what))
    return {what: int(count) for what, count in rows}


async def told(db: Connection, recording_id: RecordingId) -> frozenset[UserId]:
    """Return the members who were told that this call is recorded."""
    mine = select(call_told.c.user_id).where(call_told.c.recording_id == recording_id)
    return frozenset(UserId(user) for user in (await db.execute(mine)).scalars())


async def note_told(db: Connection, recording_id: RecordingId, users: Sequence[UserId]) -> None:
    """Note that these members were told, each once."""
    rows = [{"recording_id": recording_id, "user_id": user} for user in users]
    if rows:
        await db.execute(insert(call_told).on_conflict_do_nothing(), rows)


async def stem_files(db: Connection, recording_id: RecordingId) -> tuple[BlobKey, ...]:
    """Return the files of the stems of a call that are whole."""
    mine = select(stem_blobs.c.blob).where(stem_blobs.c.recording_id == recording_id)
    return tuple(BlobKey(key) for key in (await db.execute(mine)).scalars())


async def erase(db: Connection, recording_id: RecordingId) -> None:
    """Remove what only a recording of a call has: its events, who was told of it, and the index of its stems."""
    for table in (call_events, call_told, stem_blobs):
        await db.execute(delete(table).where(table.c.recording_id == recording_id))


async def consents(db: Connection, room_ids: Sequence[RoomId] | None = None) -> tuple[ToldCall, ...]:
    """Return the calls of these rooms (None: of all) that were not deleted, with those who were told, the oldest
    first."""
    kept = (recording_table.c.protocol.is_not(None), recording_table.c.state != RecordingState.DELETED)
    here = () if room_ids is None else (recording_table.c.room_id.in_(room_ids),)
    rows = await db.execute(select(recording_table).where(*kept, *here).order_by(recording_table.c.id))
    return tuple(
        [
            ToldCall(
                call.code,
                call.room_id,
                call.event_id,
                call.started_at,
                call.notice,
                tuple(sorted(await told(db, call.id))),
            )
            for call in await records(Recording, rows)
        ]
    )
