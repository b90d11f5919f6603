"""Redactions of the bot's own messages."""

import logging

from bot import orders
from bot.errors import GiveUp, TryLater
from bot.matrix.sending import Sending
from bot.worker.attempts import LONGEST_WISH_S
from storage import rooms
from storage.records import Job
from storage.store import Store

log = logging.getLogger(__name__)

REFUSED_S = 3600.0  # a change of the room's power levels hastens the job


class Unsending:
    """The handler of Unsend orders."""

    def __init__(self, store: Store, sending: Sending) -> None:
        self._store = store
        self._sending = sending

    async def __call__(self, job: Job) -> None:
        order = orders.Unsend.of(job)
        async with self._store.read() as db:
            room = await rooms.room(db, order.room_id)
        if room is None or not room.joined:  # coming back hastens the job
            raise TryLater("the bot is not in the room", after_s=LONGEST_WISH_S, room=order.room_id)
        try:
            await self._sending.redact(order.room_id, order.event_id, txn_id=f"unsend-{job.id}")
        except GiveUp as refused:
            if refused.reason == "not_found":
                return
            # The bot is muted: what it said is redacted as soon as it may.
            raise TryLater("the homeserver refuses a redaction", after_s=REFUSED_S, room=order.room_id) from None
        log.info("redacted: room=%s event=%s", order.room_id, order.event_id)
