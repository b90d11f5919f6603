"""Redactions of the bot's own messages."""

import logging

from bot import orders
from bot.errors import GiveUp, TryLater
from bot.matrix.sending import Sending
from storage.records import Job

log = logging.getLogger(__name__)

REFUSED_S = 3600.0  # a change of the room's power levels hastens the job


class Unsending:
    """The handler of Unsend orders."""

    def __init__(self, sending: Sending) -> None:
        self._sending = sending

    async def __call__(self, job: Job) -> None:
        order = orders.Unsend.of(job)
        try:
            await self._sending.redact(order.room_id, order.event_id, txn_id=f"unsend-{job.id}")
        except GiveUp as refused:
            if refused.reason == "not_found":
                return
            # The bot is muted or gone: what it said is redacted as soon as it may.
            raise TryLater("the homeserver refuses a redaction", after_s=REFUSED_S, room=order.room_id) from None
        log.info("redacted: room=%s event=%s", order.room_id, order.event_id)
