"""Marks of who has the floor of a walkie-talkie, noted where the timeline shows its state (`bot.dialects.floor`).

Only the timeline makes marks, gaps in it included, and the state before a gap. The room's present state, read at
another time, has no place in the order of events.
"""

from datetime import datetime

from bot import orders
from bot.dialects.floor import mark_of
from bot.recording.session.machine import TRANSMISSIONS
from storage import floor_marks, jobs, sessions, walkies
from storage.database import Connection
from storage.records import FloorMark, FloorMarkKind, Json, Position, RecordingState, RoomId, UserId


async def note(db: Connection, us: UserId, room_id: RoomId, event: Json, position: Position, now: datetime) -> None:
    """Note the mark that a raw event makes at its position, if the room has, or had, a walkie-talkie."""
    mark = mark_of(event, us, room_id, position, now)
    if mark is None or await walkies.get(db, room_id) is None:
        return
    before = await floor_marks.newest(db, room_id, mark.kind, position)
    if mark.kind is FloorMarkKind.POWER and before is not None and _says_the_same(before, mark):
        return  # most changes of power levels concern no floor
    await floor_marks.add(db, mark)
    for session in await sessions.live(db, room_id, TRANSMISSIONS):
        if any(each.state is RecordingState.LIVE for each in session.transmissions):
            await jobs.add(db, orders.Tick(session.id).job(), now)  # a broadcast may have lost the floor


def _says_the_same(before: FloorMark, mark: FloorMark) -> bool:
    return (before.users, before.locked) == (mark.users, mark.locked)
