"""Rooms with a walkie-talkie that the bot makes: created, its members invited, and switched on once the sync shows it.

A room can't be created by a transaction id. Its m.room.create event names the command that asked for it, so a repeat
finds the room that an attempt made before it died.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from bot import dialects, facts, orders, topics, words
from bot.disclosure import RECORD, WALKIE
from bot.errors import GiveUp, TryLater
from bot.event_types import CREATE
from bot.feeds.shown import shown
from bot.intake import disclosing, panels, walkie
from bot.language import speaking
from bot.matrix.sending import Sending
from bot.settings import Settings
from bot.walkie import levels
from storage import jobs, rooms
from storage.database import Connection
from storage.records import Change, Job, Room, RoomId, UserId
from storage.store import Store

log = logging.getLogger(__name__)

SHOWN_WITHIN_S = 30.0
"""The time within which the sync shows a room that was created."""
INVITED_AT_MOST = 5
"""The times that a user is invited whose homeserver is away."""

EVENTS = dict.fromkeys(dialects.INFOS, levels.SPEAKER)
"""The levels of events in a new room: who has the floor may send a voice broadcast too."""


class MakingWalkie:
    """The handler of MakeWalkie orders."""

    def __init__(
        self, store: Store, sending: Sending, settings: Settings, *, us: UserId, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._sending = sending
        self._settings = settings
        self._us = us
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        order = orders.MakeWalkie.of(job)
        room_id = order.made or await self._made_before(job, order)
        if room_id is None:
            room_id = await self._sending.create_walkie(order.name, facts.walkie_marker(order.event_id), EVENTS)
        if order.made is None:
            async with self._store.write() as db:
                await jobs.note(db, job.id, replace(order, made=room_id).job(), self._clock())
        await self._shown(room_id)
        refused, unreachable = await self._invite(room_id, order)
        async with self._store.write() as db:
            await self._switch_on(db, room_id, order)
        if unreachable and job.attempts + 1 < INVITED_AT_MOST:
            raise TryLater("the homeserver can't invite some users now", room=room_id)
        if refused or unreachable:
            async with self._store.write() as db:
                await self._tell(db, order, [*refused, *unreachable])

    async def _made_before(self, job: Job, order: orders.MakeWalkie) -> RoomId | None:
        """Return the room that an earlier attempt made, and could not note."""
        if not job.attempts:
            return None
        for room_id in await self._sending.joined_rooms():
            async with self._store.read() as db:
                known = await rooms.state(db, room_id, CREATE)
            content = known.content if known is not None else await self._sending.state(room_id, CREATE)
            if facts.walkie_made_by(content) == order.event_id:
                return room_id
        return None

    async def _shown(self, room_id: RoomId) -> Room:
        """Wait until the sync has shown the room with its power levels. Raises TryLater."""
        with self._store.changes.subscribe() as changed:
            while True:
                changed.clear()
                async with self._store.read() as db:
                    room, power = await rooms.room(db, room_id), await rooms.power(db, room_id)
                if room is not None and room.joined and power.create and power.power:
                    return room
                try:
                    await asyncio.wait_for(changed.wait(), SHOWN_WITHIN_S)
                except TimeoutError:
                    raise TryLater("the sync does not show the new room", room=room_id) from None

    async def _invite(self, room_id: RoomId, order: orders.MakeWalkie) -> tuple[list[UserId], list[UserId]]:
        """Invite those who are not in the room yet. Return those whom the bot may not invite, and those whom it could
        not: their homeserver may be away."""
        users = (order.asker, *order.users)
        async with self._store.read() as db:
            known = await rooms.member_states(db, room_id, users)
        refused, unreachable = [], []
        for user in users:
            if user in known:  # invited by an earlier attempt, or has answered since
                continue
            try:
                await self._sending.invite(room_id, user)
            except GiveUp as error:
                log.info("not invited: room=%s user=%s reason=%s", room_id, user, error.reason)
                refused.append(user)
            except TryLater:
                unreachable.append(user)
        return refused, unreachable

    async def _switch_on(self, db: Connection, room_id: RoomId, order: orders.MakeWalkie) -> None:
        """Record in the room, and switch its walkie-talkie on, once."""
        room, now = await rooms.room(db, room_id), self._clock()
        if room is None or await walkie.is_on(db, room_id):
            return
        room = replace(room, recording_on=True, changed_at=now)
        await rooms.save_room(db, room)
        log.info("room made: room=%s", room_id)
        times = self._settings.walkie
        await walkie.switch_on(db, room_id, now, floor_s=times.floor_s, guard_s=times.guard_s)
        for what in (RECORD, WALKIE):
            change = Change(0, now, room_id, order.asker, what, before="off", after="on", event_id=order.event_id)
            await disclosing.note(db, change)
        await panels.post(db, room_id, order.event_id, self._settings, now)

    async def _tell(self, db: Connection, order: orders.MakeWalkie, users: list[UserId]) -> None:
        """Tell the asker, in their direct chat, whom the bot could not invite."""
        with speaking(await rooms.language(db, order.said_in)):
            body = words.not_invited(shown(order.name), [shown(user) for user in users])
        notice = orders.Notice(
            topics.walkie_made(order.event_id), order.said_in, body, reply_to=order.event_id, thread=order.thread
        )
        await jobs.add(db, notice.job(), self._clock())
