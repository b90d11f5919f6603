"""The end of studios from outside: their right is over, they expired, or their recording has ended without them. In the
caller's transaction."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from bot import orders
from bot.dialects import studio as events
from bot.recording.model import Change
from bot.studio import outgoing
from storage import jobs, journal, studios
from storage.database import Connection
from storage.records import EventId, Studio, StudioState

log = logging.getLogger(__name__)

KEEP_ENDED = timedelta(days=30)
"""Time for which it is known of a studio that made no recording, or a deleted one, that there was one."""


async def close(db: Connection, studio: Studio, now: datetime) -> None:
    """End a studio without an event of the journal: nothing more is taken, and its recording ends by other rules, if it
    has not. A room that follows it hears that it is over."""
    if studio.state is StudioState.OVER:
        return
    changes = studio.changes + studio.state.is_on_air
    await studios.save(db, replace(studio, state=StudioState.OVER, changes=changes, ended_at=now, last=None))
    if studio.state.is_on_air:
        last = await studios.last_number(db, studio.id)
        await outgoing.changed(db, studio, changes, Change.STOPPED, now, last)
    log.info("a studio is over: room=%s studio=%d", studio.room_id, studio.id)


async def _events_of(db: Connection, studio: Studio) -> Sequence[EventId]:
    """Return the names of a studio's events in the journal."""
    changes = [events.change_id(studio, number) for number in range(1, studio.changes + 1)]
    slices = [events.chunk_id(studio, each.number) for each in await studios.slices_of(db, studio.id)]
    return events.started_id(studio), *changes, *slices


async def tidy(db: Connection, now: datetime, late: timedelta) -> None:
    """End the studios that wait in vain or went silent, and forget what nothing needs any more. `late`: how long slices
    are taken after the end of a broadcast, and how long a client may be silent."""
    for studio in (*await studios.expired(db, now), *await studios.silent(db, now - late)):
        await close(db, studio, now)
    for studio in await studios.settled(db, now - late):
        if await journal.waits_in(db, studio.room_id):
            continue  # the event of a slice may be among what the last process did not come to
        if await journal.failed(db, await _events_of(db, studio)):
            continue  # the next version may handle it
        unneeded = await studios.drop_sound(db, studio.id) | ({studio.cover} if studio.cover else set())
        await studios.forget_numbers(db, studio.id)
        await studios.save(db, replace(studio, client=None, title=None, description=None, cover=None))
        if unneeded:
            await jobs.add(db, orders.Forget(tuple(sorted(unneeded))).job(), now)
    for studio in await studios.without_recording(db, now - max(KEEP_ENDED, late)):
        if not await journal.failed(db, await _events_of(db, studio)):
            await studios.forget(db, studio.id)
