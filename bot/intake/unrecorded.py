"""Voice messages behind a command that lets them be recorded, heard before the command was carried out.

The command counts from its place in the timeline, so they are to be recorded; but the journal has their places only.
They are read from the homeserver once more, and heard at those places (`worker.hearing_again`).
"""

from collections.abc import Sequence
from datetime import datetime

from bot import orders
from bot.intake import walkie
from storage import jobs, journal, rooms
from storage.database import Connection
from storage.records import Position, RoomId

MOST = 200
"""The number of events that are read again after one command."""


async def look_again(db: Connection, room_ids: Sequence[RoomId] | None, since: Position, now: datetime) -> None:
    """Have what was heard in these rooms (None: in all) behind a command read again, where voice messages are
    recorded: the voice messages among it may be recorded now."""
    for place in await journal.only_places(db, room_ids, since, MOST):
        room = await rooms.room(db, place.room_id)
        if room is None or not room.records_message(place.position) or await walkie.is_on(db, room.room_id):
            continue
        await jobs.add(db, orders.HearAgain(place.event_id, place.room_id).job(), now)
