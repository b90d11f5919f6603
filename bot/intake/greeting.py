"""The greeting: the notice that tells a room which broadcasts are recorded, for whom, and how to stop it.

Until it is in the room nothing is recorded, unless a moderator says `record on`. Where the bot may not speak, the
notice is retried, at once when the room's power levels change. Its position in the timeline decides: a broadcast that
begins before it is not recorded, one that begins after it is. The homeserver's answer to the request gives its event
id, the sync its position, in either order.
"""

from dataclasses import replace
from datetime import datetime

from bot import disclosure, orders, words
from bot.dialects.fields import transaction_of
from bot.event_types import ENCRYPTED, MESSAGE
from bot.feeds.addresses import public_shelf
from bot.intake import chats, disclosing, walkie
from bot.intake.naming import name_of
from bot.language import _, speaking
from bot.settings import Settings
from storage import changes, consent_notices, heirs, jobs, journal, rooms
from storage.database import Connection
from storage.records import (
    Change,
    ConsentNotice,
    EventId,
    HeardEvent,
    Job,
    JobId,
    Position,
    Room,
    RoomId,
)

SAID_AS = frozenset({MESSAGE, ENCRYPTED})
"""Event types under which the notice can be in the timeline."""
TRANSACTION = "aircheck-"


def transaction(job_id: JobId) -> str:
    """Return the transaction id of a job's message: the same for each try of the job, another for each job."""
    return f"{TRANSACTION}{job_id}"


async def greet(db: Connection, room: Room, now: datetime, *, waits: bool) -> None:
    """Order the notice, once for each change that calls for it: the bot joined, or a podcast continues here. With
    `waits` nothing is recorded until the notice is in the room.
    """
    if waits:
        await rooms.save_room(db, _untold(room))
    await disclosing.tell(db, room.room_id, f"{await journal.position(db)}:{room.revision}", now)


async def greeting(db: Connection, room: Room, settings: Settings) -> str:
    """Return the notice's text for the room's present settings, in its language."""
    line = await heirs.line(db, room.room_id)
    with speaking(room.language):
        if line[-1] != room.room_id:
            return _(words.CONTINUES_ELSEWHERE)
        podcast = await heirs.podcast(db, line)
        policies = await changes.newest_of_each(db, room.room_id)
        shelf = public_shelf(settings.web.address, podcast.key)
        return disclosure.notice(
            room,
            public=podcast.publishes,
            continues=line[0] != room.room_id,
            walkie=await walkie.is_on(db, room.room_id),
            comes=room.told_at is None or not await consent_notices.of_room(db, room.room_id),
            switched_by=await _who(db, room, disclosure.last_switch(policies)),
            feed=shelf.feed,
            page=shelf.page,
            max_days=settings.retention.max_days,
            prefix=settings.commands.prefix,
        )


async def _who(db: Connection, room: Room, change: Change | None) -> str | None:
    """Return the name of the member who made a change; None where the bot made it, or nobody knows."""
    if change is None or change.by is None:
        return None
    return await name_of(db, room.room_id, change.by)


async def is_superseded(db: Connection, job: Job, room_id: RoomId) -> bool:
    """Return whether a newer notice of the room waits, which will tell the same settings."""
    return any(
        orders.is_welcome(other, room_id) and other.id > job.id
        for other in await jobs.unfinished(db, orders.Notice.kind)
    )


async def said(db: Connection, room_id: RoomId, event_id: EventId, body: str, now: datetime) -> None:
    """Note that the homeserver accepted the notice: the room has been told."""
    room = await rooms.room(db, room_id)
    if room is None:
        return
    if not await chats.is_mere_chat(db, room):
        await consent_notices.add(db, ConsentNotice(event_id, room_id, now, body))
        await disclosing.show(db, room_id, now)
    if _is_told(room):
        return
    # Until the sync shows its position, the notice counts as after everything heard so far.
    place = await journal.position_of(db, event_id) or await journal.position(db)
    await rooms.save_room(db, _told(room, event_id, place))
    await disclosing.show(db, room_id, now)


async def heard(db: Connection, event: HeardEvent, now: datetime) -> None:
    """Record the notice's position if this message of the bot's own is the notice."""
    room = await rooms.room(db, event.room_id)
    if room is None or (_is_told(room) and room.told_by != event.event_id):
        return
    position = await journal.add(db, event, now, keep=False) or await journal.position_of(db, event.event_id)
    if position is not None and (room.told_by == event.event_id or await _is_greeting(db, event)):
        await rooms.save_room(db, _told(room, event.event_id, position))
        await disclosing.show(db, event.room_id, now)


def told_by_command(room: Room, position: Position) -> Room:
    """Return the room as told of its broadcasts at this position, by a moderator's `record on`, if no notice did so
    before."""
    return room if room.told_at is not None else replace(room, told_at=position, told_by=None)


def _untold(room: Room) -> Room:
    """Return the room as one in which nothing is recorded until the notice is there."""
    return replace(room, told_at=None, told_by=None, messages_since=None, messages_wait=room.messages_on)


def _is_told(room: Room) -> bool:
    return room.told_at is not None and not room.messages_wait


def _told(room: Room, event_id: EventId, position: Position) -> Room:
    """Return the room as told by the notice at this position of all that waited for it, and not of what a command began
    to record before."""
    again = room.told_by == event_id  # its position is known better now
    if room.messages_wait or (again and room.messages_since == room.told_at):
        room = replace(room, messages_since=position, messages_wait=False)
    return replace(room, told_at=position, told_by=event_id) if again or room.told_at is None else room


async def _is_greeting(db: Connection, event: HeardEvent) -> bool:
    job = await sent_by(db, event)
    return job is not None and orders.is_welcome(job, event.room_id)


async def sent_by(db: Connection, event: HeardEvent) -> Job | None:
    """Return the job that sent this event of the bot's own: a homeserver shows the sender the transaction id."""
    number = transaction_of(event.event).removeprefix(TRANSACTION)
    if not (number.isascii() and number.isdigit() and len(number) < len(str(1 << 63))):
        return None
    return await jobs.job(db, JobId(int(number)))
