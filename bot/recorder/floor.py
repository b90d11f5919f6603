"""The floor of a room's walkie-talkie, as its marks in the timeline tell (`bot.recording.session.floor`)."""

from datetime import datetime

from bot.intake import walkie
from bot.recording.session import floor
from bot.recording.session.floor import Turn
from bot.walkie import model
from storage import floor_marks, walkies
from storage.database import Connection
from storage.records import Position, RoomId, UserId


async def turn(db: Connection, room_id: RoomId, sender: UserId, position: Position) -> Turn:
    """Return whether a member had the floor at a position, in a room that has a walkie-talkie there."""
    here = await walkies.get(db, room_id)
    if here is None:
        return Turn.ORDINARY
    stretches = floor.holds(await floor_marks.around(db, room_id, position, position))
    return floor.turn_of(stretches, sender, position, on=here.on)


async def has_kept(
    db: Connection, room_id: RoomId, user: UserId, since: Position, until: Position | None = None
) -> bool:
    """Return whether a user has had the floor without a break from one position to another, or (None) to now."""
    stretches = floor.holds(await floor_marks.around(db, room_id, since, until))
    return floor.has_kept(stretches, user, since, until)


async def spoke(db: Connection, room_id: RoomId, user: UserId, since: Position, now: datetime) -> None:
    """End the turn of a member whose transmission is over. One that is handled late ends no later turn of theirs."""
    if await has_kept(db, room_id, user, since):
        await walkie.apply(db, room_id, model.Spoke(user), now)
