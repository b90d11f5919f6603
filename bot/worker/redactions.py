"""Redactions whose sender's power is not known: the homeserver, which knows the room's whole history, decides. It
returns a redacted event without content. Until it does, the recording stays: clients receive redactions that are not
allowed too, and an allowed one may take the homeserver a moment.
"""

import logging
from collections.abc import Callable
from datetime import datetime

from bot import orders
from bot.dialects.fields import answers_for
from bot.dialects.redaction import carried_out
from bot.errors import TryLater
from bot.worker.room_history import RoomHistory
from storage import journal
from storage.records import Job
from storage.store import Store

log = logging.getLogger(__name__)

TRIES = 3
AGAIN_S = 10.0


class Redactions:
    """The handler of Redaction orders."""

    def __init__(self, store: Store, history: RoomHistory, *, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._history = history
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        order = orders.Redaction.of(job)
        room_id, event_id = order.room_id, order.event_id
        event = await self._history.event(room_id, event_id)
        if not answers_for(event, room_id, event_id):
            raise TryLater("the homeserver answered with another event", room=room_id, event=event_id)
        redaction = carried_out(event)
        if redaction is not None:
            async with self._store.write() as db:
                await journal.requeue(db, redaction, self._clock())
        elif job.attempts + 1 < TRIES:
            raise TryLater(
                "the homeserver has not redacted the event yet", after_s=AGAIN_S, room=room_id, event=event_id
            )
        else:
            log.info("redaction not confirmed by the homeserver: room=%s event=%s", room_id, event_id)
