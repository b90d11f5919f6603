"""Wishes of the members of a walkie-talkie: to join, to speak, to give the floor back, to leave. A wish is a reaction
to the panel, an event, or a command; each becomes a permit, or an event of the floor, in the caller's transaction.

A reaction is taken away once it was acted on. One that asks for the floor stays until its sender has the floor, or
waits for it no longer: so long everybody sees who waits, and the sender can take it back.
"""

import logging
from datetime import datetime, timedelta

from bot import facts, orders, topics, words
from bot.dialects.events import FloorRequested, Reacted
from bot.event_types import MEMBER
from bot.intake import redacting, walkie
from bot.intake.floor_requests import WAITS_AT_MOST
from bot.intake.naming import name_of
from bot.language import speaking
from bot.recording.model import Redacted
from bot.walkie import panel, permits
from bot.walkie.model import Asked, GaveBack, TookBack, is_too_late
from bot.walkie.panel import Wish
from storage import jobs, rooms, walkies
from storage.database import Connection
from storage.records import DeviceId, EventId, Floor, HeardEvent, Position, RoomId, UserId

log = logging.getLogger(__name__)

PERMIT_LASTS = timedelta(hours=8)
"""The time for which a member joins who names none."""
JOINS_WITHIN = orders.ANSWERED_WITHIN
"""The age at which a reaction that joins counts for nothing, as a command of that age does."""


async def is_wish(db: Connection, room_id: RoomId, event: Reacted | FloorRequested) -> bool:
    """Return whether an event says a wish to the walkie-talkie that is on in its room."""
    there = await walkies.get(db, room_id)
    if there is None or not there.on:
        return False
    return isinstance(event, FloorRequested) or (there.panel == event.to and panel.wish_of(event.key) is not None)


# ---- from the timeline


async def reacted(db: Connection, heard: HeardEvent, reaction: Reacted, now: datetime) -> bool:
    """Carry out the wish that a reaction to the panel says, and have it taken away. Return False where it says none."""
    if not await is_wish(db, heard.room_id, reaction):
        return False
    user, room_id, received_at = reaction.sender, heard.room_id, heard.received_at or now
    stays = False
    match panel.wish_of(reaction.key):
        case Wish.JOIN if reaction.sent_at is not None and received_at - reaction.sent_at <= JOINS_WITHIN:
            await join(db, room_id, user, until=now + PERMIT_LASTS, at=heard.position, now=now)
        case Wish.LEAVE:
            await walkie.end_permit(db, room_id, user, at=heard.position, now=now)
        case Wish.TALK if not is_too_late(reaction.sent_at, received_at, history=heard.history):
            stays = await _asked(db, heard, user, None, now)
        case Wish.OVER if not heard.history:
            await walkie.apply(db, room_id, GaveBack(user), now)
    order = orders.TakeAway(heard.event_id, room_id)
    await jobs.add(db, order.job(now + WAITS_AT_MOST if stays else None), now)
    return True


async def requested(db: Connection, heard: HeardEvent, request: FloorRequested, now: datetime) -> None:
    """Carry out a request for the floor by an event."""
    if not is_too_late(request.sent_at, heard.received_at or now, history=heard.history):
        await _asked(db, heard, request.sender, request.device_id, now)


async def redacted(db: Connection, heard: HeardEvent, redaction: Redacted, now: datetime) -> None:
    """Take a member out of the queue whose reaction or request was redacted."""
    there = await walkies.get(db, heard.room_id)
    for request in there.floor.queue if there is not None else ():
        if request.event_id == redaction.redacts and await redacting.counts(db, heard.room_id, redaction, request.user):
            await walkie.apply(db, heard.room_id, TookBack(request.user), now)
            await jobs.cancel(db, [orders.TakeAway.about(request.event_id)])


async def _asked(db: Connection, heard: HeardEvent, user: UserId, device: DeviceId | None, now: datetime) -> bool:
    """Ask for the floor, and return whether the request waits. A member without a permit is told what to do first."""
    floor = await talk(db, heard.room_id, user, by=heard.event_id, at=heard.position, now=now, device=device)
    if floor is None:
        await _tell_to_join(db, heard.room_id, user, now)
    return floor is not None and any(request.event_id == heard.event_id for request in floor.queue)


async def _tell_to_join(db: Connection, room_id: RoomId, user: UserId, now: datetime) -> None:
    with speaking(await rooms.language(db, room_id)):
        body = words.join_first(await name_of(db, room_id, user))
    notice = orders.Notice(topics.join_first(room_id, user, f"{now:%Y-%m-%dT%H}"), room_id, body, until=now)
    await jobs.add(db, notice.job(), now)


# ---- also by command


async def join(
    db: Connection, room_id: RoomId, user: UserId, *, until: datetime | None, at: Position, now: datetime
) -> None:
    """Give a member a permit until then (None: for ever)."""
    await walkie.give_permit(db, room_id, user, until=until, at=at, now=now)


async def talk(
    db: Connection,
    room_id: RoomId,
    user: UserId,
    *,
    by: EventId,
    at: Position,
    now: datetime,
    device: DeviceId | None = None,
) -> Floor | None:
    """Ask for the floor by an event, and return it as it is then; None where the member has no permit for that."""
    permit = await walkie.permit_of(db, room_id, user)
    if not permits.may_send(permit, now, device):
        return None
    if not facts.is_joined(await rooms.state(db, room_id, MEMBER, user)):
        return None  # left the room since
    return await walkie.apply(db, room_id, Asked(user, by, at), now)


def place(floor: Floor, user: UserId) -> int | None:
    """Return a member's place: 0 has the floor, 1 is next; None where they have none."""
    if floor.holder == user:
        return 0
    waiting = [request.user for request in floor.queue]
    return waiting.index(user) + 1 if user in waiting else None
