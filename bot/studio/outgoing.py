"""Events of MSC3888 by which a room hears a studio, where its moderators want that: each is written down in the
transaction that takes it from the studio's client, with the order to send it.

Whoever follows a broadcast needs its beginning: one that began while the room wanted no events has none, and one whose
beginning was sent gets its end, whatever the room wants by then.
"""

from datetime import datetime

from bot import orders
from bot.recording.model import Change
from storage import jobs, rooms, studio_events
from storage.database import Connection
from storage.records import STARTED, Room, Studio, StudioEvent


async def started(db: Connection, studio: Studio, now: datetime) -> None:
    """Write down the beginning of a broadcast."""
    room = await rooms.room(db, studio.room_id)
    await _write(db, room, StudioEvent(0, studio.key, STARTED, studio.room_id, now, state=STARTED), now)


async def changed(db: Connection, studio: Studio, number: int, change: Change, now: datetime, last: int | None) -> None:
    """Write down a change, numbered from 1. `last`: the number of the last slice by then."""
    event = StudioEvent(0, studio.key, f"change-{number}", studio.room_id, now, state=str(change), last=last)
    await _write(db, await rooms.room(db, studio.room_id), event, now)


async def sliced(db: Connection, studio: Studio, room: Room, number: int, now: datetime) -> None:
    """Write down a slice that is on the disk, in the order in which slices came."""
    await _write(db, room, StudioEvent(0, studio.key, str(number), studio.room_id, now), now)


async def _write(db: Connection, room: Room | None, event: StudioEvent, now: datetime) -> None:
    wanted = (room is not None and room.studio_events) or event.state == Change.STOPPED
    if wanted and event.name != STARTED:
        wanted = await studio_events.get(db, event.key, STARTED) is not None
    if wanted and await studio_events.add(db, event):
        await jobs.add(db, orders.SendBroadcast(event.key, event.room_id).job(), now)
