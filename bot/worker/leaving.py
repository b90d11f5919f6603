"""The bot's leaving of a room, once all that it had to say there was said, and a walkie-talkie put right."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from bot import orders
from bot.errors import TryLater
from bot.matrix.sending import Sending
from bot.walkie import levels
from storage import changes, jobs, rooms, walkies
from storage.records import Change, Job
from storage.store import Store

log = logging.getLogger(__name__)

LEAVE = "leave"
"""The command, and so the name in the log of changes."""
LAST_WORDS_TAKE = timedelta(seconds=10)
UNLOCKING_TAKES = timedelta(minutes=1)
"""The time that putting the power levels of a walkie-talkie back may take: once the bot is out, nobody does it."""
LOOK_AGAIN_S = 0.5


class Leaving:
    """The handler of Leave orders."""

    def __init__(self, store: Store, sending: Sending, *, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._sending = sending
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        """Leave, with the reason. What follows from it follows when the sync shows it (`bot.intake.arrival`)."""
        order = orders.Leave.of(job)
        async with self._store.read() as db:
            room = await rooms.room(db, order.room_id)
            notices = await jobs.unfinished(db, orders.Notice.kind)
            walkie = await walkies.get(db, order.room_id)
        if room is None or not room.joined:
            await self._note(order)  # an earlier attempt left
            return
        unsaid = any(notice.turn == order.room_id for notice in notices)
        if unsaid and self._clock() < order.asked_at + LAST_WORDS_TAKE:
            raise TryLater("the answer is being said", after_s=LOOK_AGAIN_S, at_most_s=LOOK_AGAIN_S)
        locked = walkie is not None and not levels.are_put_back(walkie)
        if walkie and locked and not walkie.hindered and self._clock() < order.asked_at + UNLOCKING_TAKES:
            raise TryLater("the power levels are being put back", after_s=LOOK_AGAIN_S, at_most_s=LOOK_AGAIN_S)
        await self._sending.leave(order.room_id, order.reason)
        await self._note(order)
        if locked:
            log.warning("left with the power levels of a walkie-talkie: room=%s", order.room_id)
        log.info("left, as a moderator asked: room=%s", order.room_id)

    async def _note(self, order: orders.Leave) -> None:
        """Note in the log of changes that the bot has left, once for each time that it was asked."""
        if order.asker is None:
            return  # an order of an earlier version
        async with self._store.write() as db:
            noted = (await changes.newest_of_each(db, order.room_id)).get(LEAVE)
            if noted is None or noted.event_id != order.command:
                by, command = order.asker, order.command
                change = Change(0, self._clock(), order.room_id, by, LEAVE, None, "joined", "left", command)
                await changes.add(db, change)
