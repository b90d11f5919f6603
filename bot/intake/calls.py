"""Calls: what is heard of a room may concern a call that is recorded, or is to be. The engine of calls (`bot.calls`)
handles the order."""

from datetime import datetime

from bot import orders
from storage import calls, jobs, rooms
from storage.database import Connection
from storage.records import RoomId


async def look(db: Connection, room_id: RoomId, now: datetime) -> None:
    """Have a room's calls looked at, if they are recorded, or one is."""
    room = await rooms.room(db, room_id)
    wanted = room is not None and (room.calls_on or room.call_wanted)
    if wanted or await calls.running(db, room_id):
        await jobs.add(db, orders.KeepCalls(room_id).job(), now)
