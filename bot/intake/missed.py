"""Missed events: broadcasts that a room's state names and no timeline showed, and events hidden by a gap.

The state holds only the newest info event of each user. That is enough: a job reads everything else by the
broadcast's id. A broadcast that the state named when the bot joined, or while recording was off, is known and not
missed.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from bot import dialects, orders
from bot.dialects.fields import type_of
from bot.dialects.state import broadcast_of, kept_state
from bot.intake.isolation import Guard
from bot.recording.broadcast.speakers import speaker_of
from bot.recording.kinds import kind_of
from bot.recording.session.transmissions import part
from storage import archive, gaps, jobs, journal, rooms
from storage.database import Connection
from storage.records import (
    EndedBy,
    EventId,
    HeardEvent,
    Json,
    Position,
    RecordingState,
    Room,
    RoomId,
    StateEvent,
    UserId,
)

MOST_RECORDINGS = 200  # newest broadcasts of a room that are read again after a gap that can't be read


async def look(
    db: Connection, room: Room, events: Sequence[Json], now: datetime, guard: Guard, *, newest: Position | None = None
) -> None:
    """Order a reading of every missed broadcast that this state names; the state is not applied yet.

    While the room is not recorded the broadcasts are only noted. With `newest`, state that was heard after that
    position is newer than this one.
    """
    for event in events:
        if type_of(event) not in dialects.INFOS:
            continue
        async with guard(db, room.room_id, None):
            info = kept_state(room.room_id, event)
            broadcast = await _unheard(db, info, newest) if info else None
            if info and broadcast and await _is_wanted(db, room, broadcast, info.sender, now):
                await _reread(db, room.room_id, broadcast, info.sender, now)


async def look_again(db: Connection, room_id: RoomId, now: datetime) -> None:
    """Order another reading of the open broadcasts and the newest 200, for events hidden by a gap that can't be
    read."""
    recordings = [*await archive.open_recordings(db, room_id), *await archive.recordings(db, room_id, MOST_RECORDINGS)]
    for recording in dict.fromkeys(recordings):
        if recording.state is not RecordingState.DELETED and kind_of(recording).related:
            await _reread(db, room_id, recording.event_id, recording.broadcaster, now)


async def _unheard(db: Connection, info: StateEvent, newest: Position | None) -> EventId | None:
    """Return the broadcast of an info event that no timeline showed, unless the stored state names it already."""
    broadcast = broadcast_of(info)
    if broadcast is None or info.event_id is None:
        return None
    kept = await rooms.state(db, info.room_id, info.type, info.state_key)
    if kept is not None and (kept.event_id == info.event_id or (newest is not None and kept.position > newest)):
        return None
    if await journal.position_of(db, info.event_id) is not None:
        return None  # heard before: the state went back to it
    if kept is None or (broadcast not in (kept.event_id, broadcast_of(kept)) and not is_older(info, kept)):
        return broadcast
    return broadcast if await archive.recording_of_broadcast(db, broadcast) is not None else None


def is_older(state: StateEvent, kept: StateEvent) -> bool:
    """Return whether the state went back to an earlier event, as after a fork of the room's history: it may be from
    before the bot joined, and no timeline showed it."""
    return state.sent_at is not None and kept.sent_at is not None and state.sent_at < kept.sent_at


async def _is_wanted(db: Connection, room: Room, broadcast: EventId, sender: UserId, now: datetime) -> bool:
    """Return whether the broadcast is the sender's and is recorded, or will be.

    A broadcast that is seen for the first time gets its position in the timeline: after everything that was heard
    before the gap, and before everything after it.
    """
    recording = await archive.recording_of_broadcast(db, broadcast)
    if recording is not None:
        # Events from while the bot was out of the room do not concern it, even if it is invited back.
        over = recording.state is RecordingState.DELETED or recording.ended_by is EndedBy.REMOVED
        return not over and speaker_of(part(recording, broadcast)).counts(sender, room.room_id)
    if not room.joined:
        return False  # a search of the history will give it a position
    at = await _place_in_a_gap(db, room.room_id, now)
    place = await journal.add(db, HeardEvent(room.room_id, broadcast, {}), now, keep=False, position=at)
    new = place is not None or await journal.pending(db, broadcast) is not None
    return new and room.records


async def _place_in_a_gap(db: Connection, room_id: RoomId, now: datetime) -> Position | None:
    """Return the position for a broadcast that lies in a gap and was not found in the gap's pages."""
    gap = await gaps.closed(db, room_id, now - gaps.OVERDUE_AFTER)
    if gap is None or gap.next_position <= gap.low:
        return None
    await gaps.save(db, replace(gap, next_position=Position(gap.next_position - 1)))
    return gap.next_position


async def _reread(db: Connection, room_id: RoomId, broadcast: EventId, sender: UserId, now: datetime) -> None:
    await jobs.add(db, orders.Reread(broadcast, room_id, sender).job(), now)
