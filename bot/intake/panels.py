"""The panel of a walkie-talkie in its room: posted when it is switched on, replaced by a word when it is off.

Members may react to it before the homeserver's answer to the request gave its event id: the bot's own message in the
sync gives it too, by its transaction id.
"""

from dataclasses import replace
from datetime import datetime

from bot import orders, topics, words
from bot.intake.greeting import sent_by
from bot.language import _, speaking
from bot.settings import Settings
from bot.walkie import panel
from storage import jobs, rooms, walkies
from storage.database import Connection
from storage.records import EventId, HeardEvent, Job, RoomId


async def post(db: Connection, room_id: RoomId, cause: EventId, settings: Settings, now: datetime) -> None:
    """Order the panel of a walkie-talkie that the event `cause` switched on."""
    with speaking(await rooms.language(db, room_id)):
        body = panel.text(floor_s=round(settings.walkie.floor_s), prefix=settings.commands.prefix)
    notice = orders.Notice(topics.panel(room_id, cause), room_id, body, panel=True)
    await jobs.add(db, notice.job(), now)


async def is_untrue(db: Connection, job: Job, room_id: RoomId) -> bool:
    """Return whether a panel need not be posted: its walkie-talkie is off, or a newer panel waits."""
    walkie = await walkies.get(db, room_id)
    waiting = await jobs.unfinished(db, orders.Notice.kind)
    newer = any(orders.is_panel(other, room_id) and other.id > job.id for other in waiting)
    return walkie is None or not walkie.on or newer


async def said(db: Connection, room_id: RoomId, event_id: EventId, now: datetime) -> None:
    """Note as which event the panel is in the room; have its buttons put under it, and have it pinned."""
    walkie = await walkies.get(db, room_id)
    if walkie is None or not walkie.on or walkie.panel == event_id:
        return
    await walkies.save(db, replace(walkie, panel=event_id))
    for order in (orders.PutButtons(event_id, room_id), orders.Pin(room_id)):
        await jobs.add(db, order.job(), now)


async def heard(db: Connection, event: HeardEvent, now: datetime) -> None:
    """Note the panel if this message of the bot's own is one, and none is known yet."""
    walkie = await walkies.get(db, event.room_id)
    if walkie is None or walkie.panel is not None:
        return
    job = await sent_by(db, event)
    if job is not None and orders.is_panel(job, event.room_id):
        await said(db, event.room_id, event.event_id, now)


async def close(db: Connection, room_id: RoomId, now: datetime) -> None:
    """Put a word in the place of the panel, and have it unpinned: its walkie-talkie was switched off."""
    walkie = await walkies.get(db, room_id)
    if walkie is None or walkie.panel is None:
        return
    await walkies.save(db, replace(walkie, panel=None))
    with speaking(await rooms.language(db, room_id)):
        body = _(words.PANEL_IS_OFF)
    notice = orders.Notice(topics.panel_gone(walkie.panel), room_id, body, replaces=walkie.panel)
    await jobs.add(db, notice.job(), now)
    await jobs.add(db, orders.Pin(room_id).job(), now)
