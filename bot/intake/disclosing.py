"""The disclosure of a room's recording: what is written down and ordered when one of its facts changes."""

from datetime import datetime

from bot import disclosure, logged, orders, topics
from bot.intake import chats, studios
from storage import archive, changes, consent_notices, heirs, jobs, rooms
from storage.database import Connection
from storage.records import EVERYWHERE, Change, Json, Room, RoomId, UserId, Visibility


async def show(db: Connection, room_id: RoomId, now: datetime) -> None:
    """Order that the room's state event and its pinned notice are brought up to its settings, if the bot may."""
    for order in (orders.ShowRoom(room_id), orders.Pin(room_id)):
        await jobs.add(db, order.job(), now)


async def tell(db: Connection, room_id: RoomId, cause: str, now: datetime) -> None:
    """Order the notice of what is recorded, once for each cause. Its words are made when it is said."""
    notice = orders.Notice(topics.welcome(room_id, cause), room_id, "", greets=True)
    await jobs.add(db, notice.job(), now)


async def speak_again(db: Connection, room_id: RoomId, now: datetime) -> None:
    """Do at once what waits in a room: its power levels have changed, or the bot is back, so it may be allowed to. What
    retention could not tell it is told after a new look."""
    muted = (orders.Notice, orders.HandBack, orders.HandBackPart, orders.SendBroadcast, orders.Unsend)
    await jobs.hasten_turn(db, tuple(order.kind for order in muted), room_id, now)
    if await archive.has_untold_ends(db, await heirs.line(db, room_id)):
        await jobs.add(db, orders.Expire(room_id).job(), now)


async def note(db: Connection, change: Change) -> None:
    """Write a change into the log, show the room that changed, and tell it if more is recorded or opened now. Studios
    that it may end are looked at."""
    await changes.add(db, change)
    await jobs.add(db, orders.KeepWishes(change.room_id or EVERYWHERE).job(), change.at)
    if change.what == "optout" and change.subject is not None:
        await studios.look_at_members(db, [UserId(change.subject)], change.at)
    elif change.what in studios.CONCERNED and change.room_id is not None:
        await studios.look_at_podcast(db, change.room_id, change.at)
    room = await rooms.room(db, change.room_id) if change.room_id else None
    if room is None or change.subject is not None:
        return
    await show(db, room.room_id, change.at)
    is_more = disclosure.is_more(change) and (change.what != disclosure.WALKIE or room.switched_on)
    if change.event_id and is_more and not await chats.is_mere_chat(db, room):
        await tell(db, room.room_id, change.event_id, change.at)


async def switched(db: Connection, room_id: RoomId, what: str, now: datetime, *, on: bool, by: UserId | None) -> None:
    """Note that a kind of what is recorded was switched on or off other than by a command: by whom, None for a rule of
    the bot's."""
    before, after = logged.switch(not on), logged.switch(on)
    await note(db, Change(0, now, room_id, by, what, before=before, after=after))


async def compare(db: Connection, before: Room, after: Room, now: datetime) -> None:
    """Note what a rule of the bot's changed between two states of a room."""
    was = logged.policies(before)
    for what, value in logged.policies(after).items():
        if value != was[what]:
            await note(db, Change(0, now, after.room_id, None, what, before=was[what], after=value))
    await show(db, after.room_id, now)


async def content(db: Connection, room: Room, max_days: int | None) -> Json:
    """Return what the room's state event says at present. `max_days`: no room keeps a recording longer."""
    podcast = await heirs.podcast(db, await heirs.line(db, room.room_id))
    newest = await changes.newest_of_each(db, room.room_id)
    notices = await consent_notices.of_room(db, room.room_id)
    told = next((notice for notice in notices if notice.event_id == room.told_by), None)
    visibility = Visibility.PUBLIC if podcast.publishes else Visibility.PRIVATE
    return disclosure.state_content(room, visibility, disclosure.last_switch(newest), told, max_days)
