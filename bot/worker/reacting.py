"""Reactions of the bot, such as the one that tells that a broadcast is recorded."""

import logging

from bot import orders
from bot.errors import GiveUp
from bot.event_types import REACTION
from bot.intake import announcements, greeting, shown
from bot.matrix.sending import Sending
from storage import archive, rooms
from storage.records import Job
from storage.store import Store

log = logging.getLogger(__name__)


class Reacting:
    """The handler of React orders. A refusal ends the order: a reaction that comes late says nothing new."""

    def __init__(self, store: Store, sending: Sending) -> None:
        self._store = store
        self._sending = sending

    async def __call__(self, job: Job) -> None:
        order = orders.React.of(job)
        async with self._store.read() as db:
            room = await rooms.room(db, order.room_id)
            recording = await archive.recording_by_event(db, order.event_id)
            gone = recording is None or await announcements.is_void(db, recording.id)
            event_id = await shown.in_room(db, order.event_id)
        if room is None or not room.joined or gone or event_id is None:
            return
        relation = {"rel_type": "m.annotation", "event_id": event_id, "key": order.key}
        transaction = greeting.transaction(job.id)
        try:
            await self._sending.send(order.room_id, REACTION, {"m.relates_to": relation}, txn_id=transaction)
        except GiveUp as refused:
            log.info("no reaction: room=%s event=%s reason=%s", order.room_id, order.event_id, refused.reason)
