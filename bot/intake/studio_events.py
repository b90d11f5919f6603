"""The bot's own events of MSC3888, by which a room hears what is said in a studio: known again as they come back, and
taken back when the archive no longer has their sound.

They are recorded already: as a broadcast they are one only for others, such as another bot in the room.
"""

import hashlib
import logging
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from bot import orders
from bot.dialects import studio as our_events
from bot.dialects import studio_in_room as in_room
from bot.dialects.studio_in_room import Mark
from bot.recording.chunks import is_removed
from storage import archive, jobs, studio_events, studios
from storage.database import Connection
from storage.records import (
    SEALED,
    STARTED,
    EventId,
    HeardEvent,
    Recording,
    RecordingState,
    RoomId,
    StudioEvent,
    UserId,
)

log = logging.getLogger(__name__)


async def is_own(db: Connection, us: UserId, heard: HeardEvent) -> bool:
    """Return whether an event is one by which the bot sent what was said in a studio. Its mark tells; one that can't be
    read refers to the beginning of such a broadcast."""
    if in_room.mark_of(us, heard) is not None:
        return True
    refers_to = in_room.sealed_reference(us, heard)
    event = await studio_events.by_event(db, refers_to) if refers_to is not None else None
    return event is not None and event.room_id == heard.room_id


async def came_back(db: Connection, us: UserId, heard: HeardEvent, now: datetime) -> None:
    """Note which event of the room an event of a studio became: the answer to its request may be lost, or the store may
    be older than the event. One whose sound the archive no longer has is redacted."""
    mark = in_room.mark_of(us, heard) or await _sealed_mark(db, us, heard)
    if mark is None or await studio_events.by_event(db, heard.event_id) is not None:
        return
    row = await studio_events.get(db, mark.key, mark.name)
    if row is not None and row.room_id != heard.room_id:
        return
    if row is None and not await _is_known(db, mark, heard.room_id):
        return  # of a store that is newer than this one
    if row is None or row.event_id is not None or row.state != mark.state:
        # A restored store gives the numbers of the changes that it does not know to others.
        name = mark.name if row is None else _further(mark.name, heard)
        row = StudioEvent(0, mark.key, name, heard.room_id, now, state=mark.state, tried=True)
        if await is_gone(db, replace(row, name=mark.name)):
            await jobs.add(db, orders.Unsend(heard.event_id, heard.room_id).job(), now)
            return
        await studio_events.add(db, row)
        row = await studio_events.get(db, mark.key, name)
        assert row is not None
    await note(db, row, heard.event_id, now)


def _further(name: str, heard: HeardEvent) -> str:
    """Name the row of a further event of the room, beside that of this name."""
    return f"{name}-{hashlib.sha256(heard.event_id.encode()).hexdigest()[:12]}"


async def _sealed_mark(db: Connection, us: UserId, heard: HeardEvent) -> Mark | None:
    """Return a mark for a slice that can't be decrypted, as its key is not in a restored store. The beginning that it
    refers to tells of which studio it is; its number nobody knows."""
    refers_to = in_room.sealed_reference(us, heard)
    began = await studio_events.by_event(db, refers_to) if refers_to is not None else None
    if began is None or began.name != STARTED or began.room_id != heard.room_id:
        return None
    return Mark(began.key, _further(SEALED, heard), None)


async def _is_known(db: Connection, mark: Mark, room_id: RoomId) -> bool:
    """Return whether the broadcast of an event is one of this room's, also where only its recording is left."""
    studio = await studios.by_key(db, mark.key)
    recording = await archive.recording_by_event(db, our_events.started_name(mark.key))
    return room_id in {known.room_id for known in (studio, recording) if known is not None}


async def is_gone(db: Connection, event: StudioEvent) -> bool:
    """Return whether the archive no longer has the sound of an event: its recording is deleted, or its chunk's sound
    was taken out."""
    recording = await archive.recording_by_event(db, our_events.started_name(event.key))
    if recording is not None and recording.state is RecordingState.DELETED:
        return True
    chunk = await archive.chunk_of_event(db, our_events.name(event.key, event.name))
    return chunk is not None and is_removed(chunk)


async def note(db: Connection, event: StudioEvent, event_id: EventId, now: datetime) -> None:
    """Note the event in the room that an event of a studio became, and order its redaction where it was withdrawn
    meanwhile."""
    noted = await studio_events.sent(db, event.id, event_id)
    if noted is None or noted.withdrawn:
        await jobs.add(db, orders.Unsend(event_id, event.room_id).job(), now)
        await studio_events.drop(db, event.id)
        return
    if noted.name == STARTED:
        await studios.begun_as(db, noted.key, event_id)


async def redacted(db: Connection, event_id: EventId) -> None:
    """Forget an event that somebody else redacts: it needs no redaction of ours."""
    event = await studio_events.by_event(db, event_id)
    if event is not None:
        await studio_events.drop(db, event.id)


async def take_back(
    db: Connection, recording: Recording, now: datetime, chunks: Collection[EventId] | None = None
) -> None:
    """Order the redaction of what was sent into the room of a recording: all of it, or only these chunks; and of what
    is being sent, as soon as its event is known."""
    key = our_events.key_of(recording.event_id)
    if key is None:
        return
    names = None if chunks is None else [name for chunk in chunks if (name := our_events.name_within(chunk))]
    if names == []:
        return
    for event in await studio_events.withdraw(db, key, names):
        assert event.event_id is not None
        await jobs.add(db, orders.Unsend(event.event_id, event.room_id).job(), now)
    if await studio_events.unsent(db, key) is not None:
        await jobs.add(db, orders.SendBroadcast(key, recording.room_id).job(), now)
