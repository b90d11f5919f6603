"""The change of a podcast's own cover: a picture that somebody posted, until it is taken back or redacted."""

from datetime import datetime

from bot import logged, orders
from storage import changes, jobs, rooms
from storage.database import Connection
from storage.records import Change, EventId, Room, UserId


async def change(db: Connection, before: Room, after: Room, now: datetime, *, by: UserId | None, said: EventId) -> None:
    """Save a room with another cover, or with none; log the change, with the event that asked for it, and forget the
    picture that the room had."""
    await rooms.save_room(db, after)
    await rooms.touch(db, after.room_id, now)
    states = {"before": logged.cover(before), "after": logged.cover(after)}
    await changes.add(db, Change(0, now, after.room_id, by, "podcast cover", **states, event_id=said))
    if before.own_cover is not None and before.own_cover != after.own_cover:
        await jobs.add(db, orders.Forget((before.own_cover,)).job(), now)
