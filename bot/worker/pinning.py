"""The pinned messages of the bot: the notice of what a room records, and the panel of its walkie-talkie. Members who
come later find them there."""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime

from bot import facts, orders, rules
from bot.errors import TryLater
from bot.event_types import PINNED_EVENTS
from bot.matrix.sending import Sending
from bot.matrix.sync import section
from storage import consent_notices, jobs, rooms, walkies
from storage.records import EventId, Job, Json, UserId
from storage.store import Store

log = logging.getLogger(__name__)

WRITES = 5
"""Writes of one attempt, while others pin and unpin at the same time."""


class Pinning:
    """The handler of Pin orders. Where the bot may not pin, the next change of the power levels orders it again; who
    unpins a message is heeded."""

    def __init__(self, store: Store, sending: Sending, *, us: UserId, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._sending = sending
        self._us = us
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        order = orders.Pin.of(job)
        room_id = order.room_id
        async with self._store.read() as db:
            room = await rooms.room(db, room_id)
            if room is None or not room.joined:
                return
            if not rules.may_send_state(self._us, PINNED_EVENTS, await rooms.power(db, room_id)):
                return
            notices = await consent_notices.of_room(db, room_id)
            walkie = await walkies.get(db, room_id)
        newest = notices[0].event_id if notices and room.switched_on else None
        panel = walkie.panel if walkie is not None and walkie.on else None
        wanted = {event for event in (newest, panel) if event is not None}
        pinned = {notice.event_id for notice in notices if notice.pinned}
        pinned |= {walkie.pinned} if walkie is not None and walkie.pinned is not None else set()
        if pinned == wanted:
            return
        old = pinned.union(notice.event_id for notice in notices) - wanted
        await self._write(job, order, [event for event in (newest, panel) if event in wanted - pinned], old)
        async with self._store.write() as db:
            await consent_notices.note_pinned(db, room_id, newest)
            await walkies.note_pinned(db, room_id, panel)

    async def _write(self, job: Job, order: orders.Pin, new: Sequence[EventId], old: Collection[EventId]) -> None:
        """Write the room's list with our new messages and without our old ones. Whatever somebody else pinned or
        unpinned between our reading and our writing is written again."""
        room_id = order.room_id
        present = await self._sending.state(room_id, PINNED_EVENTS) or {}
        theirs = await self._under(order, present)
        for _ in range(WRITES):
            content = _with(theirs, new, old)
            if facts.pinned(content) == facts.pinned(present):
                return
            event_id = await self._sending.set_state(room_id, PINNED_EVENTS, content)
            async with self._store.write() as db:
                await jobs.note(db, job.id, replace(order, written=event_id).job(), self._clock())
            replaced = await self._sending.replaced(room_id, event_id)
            if replaced is None or facts.pinned(replaced) == facts.pinned(present):
                log.info("pinned: room=%s events=%s", room_id, " ".join(new))
                return
            theirs, present = replaced, content
        raise TryLater("others pin and unpin at the same time", room=room_id)

    async def _under(self, order: orders.Pin, present: Json) -> Json:
        """Return the room's list without our own change: if an earlier attempt wrote the present one, and died before
        it looked, the one that it replaced."""
        if order.written is None:
            return present
        ours = await self._sending.get_event(order.room_id, order.written)
        if facts.pinned(section(ours.event, "content")) != facts.pinned(present):
            return present
        replaced = await self._sending.replaced(order.room_id, order.written)
        return present if replaced is None else replaced


def _with(content: Json, new: Sequence[EventId], old: Collection[EventId]) -> Json:
    """Return the content of m.room.pinned_events with our new messages at the end, and none of our old ones."""
    pins = [pin for pin in facts.pinned(content) if pin not in old]
    return {**content, "pinned": [*pins, *(event for event in new if event not in pins)]}
