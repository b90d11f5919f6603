"""Voice messages that were heard before the command behind which they stand was carried out (`intake.unrecorded`): each
is read from the homeserver, and heard again at its place.
"""

import logging
from collections.abc import Callable
from datetime import datetime

from bot import dialects, orders
from bot.dialects.fields import answers_for
from bot.errors import TryLater
from bot.recording.model import VoiceMessage
from bot.worker.room_history import RoomHistory
from storage import journal, replays
from storage.records import Job
from storage.store import Store

log = logging.getLogger(__name__)


class HearingAgain:
    """The handler of HearAgain orders."""

    def __init__(self, store: Store, history: RoomHistory, *, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._history = history
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        """Pass on the event if it is a voice message. Raises TryLater, GiveUp."""
        order = orders.HearAgain.of(job)
        heard = await self._history.event(order.room_id, order.event_id)
        if not answers_for(heard, order.room_id, order.event_id):
            raise TryLater("the homeserver answered with another event", room=order.room_id, event=order.event_id)
        if not isinstance(dialects.read(heard), VoiceMessage):
            return
        log.info("voice message heard again: room=%s event=%s", order.room_id, order.event_id)
        async with self._store.write() as db:
            for original in await replays.originals(db, [heard], self._clock()):
                await journal.requeue(db, original, self._clock())
