"""The right to broadcast from a studio into a room: asked when a studio is made, and again at every use of it."""

from enum import StrEnum

from bot import facts, rules
from bot.intake import consent, walkie
from storage import rooms
from storage.database import Connection
from storage.records import Room, RoomId, UserId


class Refusal(StrEnum):
    """The reason for which a member may not broadcast into a room from a studio."""

    BOT_LEFT = "bot_left"
    NOT_A_MEMBER = "not_a_member"
    NO_POWER = "no_power"  # they may send no broadcast's info event, and are no moderator
    STUDIO_OFF = "studio_off"
    BEHIND = "behind"  # restored from a backup, and what happened since then is not known yet
    NOT_RECORDED = "not_recorded"  # recording is off, or the room has no notice of it yet
    WALKIE = "walkie"  # the room is a walkie-talkie: who has the floor speaks, and nobody else
    NOT_WANTED = "not_wanted"  # they opted out, or the moderators record others only


async def refusal(db: Connection, room_id: RoomId, user_id: UserId) -> Refusal | None:
    """Return why a member may not broadcast into a room now; None: they may."""
    return await refusal_in(db, await rooms.room(db, room_id), user_id)


async def refusal_in(db: Connection, room: Room | None, user_id: UserId) -> Refusal | None:
    """Return the same as `refusal`, of a room that was read in this transaction."""
    if room is None or not room.joined:
        return Refusal.BOT_LEFT
    member, power = await rooms.standing(db, room.room_id, user_id)
    if not facts.is_joined(member):
        return Refusal.NOT_A_MEMBER
    if not rules.may_broadcast(user_id, power):
        return Refusal.NO_POWER
    return await _of_room(db, room, user_id)


async def _of_room(db: Connection, room: Room, user_id: UserId) -> Refusal | None:
    if not room.studio:
        return Refusal.STUDIO_OFF
    if room.behind is not None:
        return Refusal.BEHIND
    if not room.records:
        return Refusal.NOT_RECORDED
    if await walkie.is_on(db, room.room_id):
        return Refusal.WALKIE
    return None if await consent.may_record(db, room.room_id, user_id, room=room) else Refusal.NOT_WANTED
