"""What the sync did not show: broadcasts that a room's state names and no timeline brought, and what a gap hid.

The state holds the newest info event of each user only. That is enough: a job reads everything else by the
broadcast's id. What stood there when the bot came, or was said while recording was off, is known and not missed.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from bot import dialects
from bot.intake.piecewise import Part
from bot.recording.model import BroadcastChanged, BroadcastStarted
from storage import archive, gaps, jobs, journal, rooms
from storage.database import Connection
from storage.records import (
    EndedBy,
    EventId,
    HeardEvent,
    JobKind,
    Json,
    NewJob,
    Position,
    RecordingState,
    Room,
    RoomId,
    UserId,
)

BROADCAST = "broadcast"
"""All that the kept state holds of an info event's content: the broadcast that it is about."""
MOST_RECORDINGS = 200  # of a room, looked at again after a gap that stays


def broadcast_of(room_id: RoomId, event: Json) -> EventId | None:
    """The broadcast that an info event is about; None for one that is redacted or not valid."""
    event_id = event.get("event_id")
    if not isinstance(event_id, str):
        return None
    match dialects.read(HeardEvent(room_id, EventId(event_id), event)):
        case BroadcastStarted():
            return EventId(event_id)
        case BroadcastChanged(broadcast=broadcast):
            return broadcast
        case _:
            return None


async def look(
    db: Connection, room: Room, events: Sequence[Json], now: datetime, part: Part, *, newest: Position | None = None
) -> None:
    """Has every broadcast read that this state, which is not taken yet, shows to have been missed; while the room is
    not recorded it is only noted. With `newest`, what was heard after it is newer than the state."""
    for event in events:
        if event.get("type") not in dialects.INFOS:
            continue
        async with part(db, room.room_id, None):
            broadcast = await _unheard(db, room, event, newest)
            sender = UserId(str(event.get("sender")))
            if broadcast is not None and await _is_wanted(db, room, broadcast, sender, now):
                await _follow(db, room.room_id, broadcast, sender, now)


async def look_again(db: Connection, room_id: RoomId, now: datetime) -> None:
    """After a gap that stays: has those read that are open, and the newest 200, for what was said of them."""
    recordings = [*await archive.open_recordings(db, room_id), *await archive.recordings(db, room_id, MOST_RECORDINGS)]
    for recording in dict.fromkeys(recordings):
        if recording.state is not RecordingState.DELETED:
            await _follow(db, room_id, recording.event_id, recording.broadcaster, now)


async def _unheard(db: Connection, room: Room, event: Json, newest: Position | None) -> EventId | None:
    """The broadcast of an info event that no timeline brought, where the kept state does not name that one too."""
    broadcast = broadcast_of(room.room_id, event)
    if broadcast is None:
        return None
    event_id = EventId(event["event_id"])
    kept = await rooms.state(db, room.room_id, event["type"], event["state_key"])
    if kept is not None and (kept.event_id == event_id or (newest is not None and kept.position > newest)):
        return None
    if await journal.position_of(db, event_id) is not None:
        return None  # it was heard, and the state went back to it
    if kept is None or broadcast not in (kept.event_id, kept.content.get(BROADCAST)):
        return broadcast
    return broadcast if await archive.recording_by_event(db, broadcast) is not None else None


async def _is_wanted(db: Connection, room: Room, broadcast: EventId, sender: UserId, now: datetime) -> bool:
    """Whether it is the sender's and followed, or is to be. One that is met for the first time gets its place in the
    timeline: after all that was heard before, in front of what follows the gap."""
    recording = await archive.recording_by_event(db, broadcast)
    if recording is not None:
        theirs = recording.room_id == room.room_id and recording.broadcaster == sender
        # What was said while the bot was thrown out is none of its business, also when it is asked back.
        over = recording.state is RecordingState.DELETED or recording.ended_by is EndedBy.REMOVED
        return theirs and not over
    if not room.joined:
        return False  # a search of the history gives it its place, in front
    at = await _place_in_a_gap(db, room.room_id, now)
    place = await journal.add(db, HeardEvent(room.room_id, broadcast, {}), now, keep=False, position=at)
    new = place is not None or await journal.pending(db, broadcast) is not None
    return new and room.records


async def _place_in_a_gap(db: Connection, room_id: RoomId, now: datetime) -> Position | None:
    """Where a broadcast stands that a gap hides although it was read, or because it could not be."""
    gap = await gaps.closed(db, room_id, now - gaps.OVERDUE_AFTER)
    if gap is None or gap.following <= gap.low:
        return None
    await gaps.save(db, replace(gap, following=Position(gap.following - 1)))
    return gap.following


async def _follow(db: Connection, room_id: RoomId, broadcast: EventId, sender: UserId, now: datetime) -> None:
    await jobs.add(db, NewJob(JobKind.FOLLOW, broadcast, {"room_id": room_id, "sender": sender}), now)
