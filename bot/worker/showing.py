"""The state event `org.aircheck.room`: clients and tools read there what is recorded, for whom and how long."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from bot import orders, rules
from bot.errors import TryLater
from bot.event_types import DISCLOSURE
from bot.intake import chats, disclosing
from bot.matrix.sending import Sending
from storage import rooms
from storage.records import Job, Json, RoomId, UserId
from storage.store import Store

log = logging.getLogger(__name__)

SAME_AGAIN_AFTER = timedelta(minutes=10)
"""The pause before the same content is written again over that of somebody else, who may be another program."""


class ShowingRoom:
    """The handler of ShowRoom orders. Where the bot may not write the event, the next change of the power levels orders
    it again."""

    def __init__(
        self, store: Store, sending: Sending, *, us: UserId, max_days: int | None, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._sending = sending
        self._us = us
        self._max_days = max_days
        self._clock = clock
        self._written: dict[RoomId, tuple[Json, datetime]] = {}  # last written by this process

    async def __call__(self, job: Job) -> None:
        room_id = orders.ShowRoom.of(job).room_id
        async with self._store.read() as db:
            room = await rooms.room(db, room_id)
            if room is None or not room.joined or room.behind is not None:  # what it was is compared first
                return
            if not rules.may_send_state(self._us, DISCLOSURE, await rooms.power(db, room_id)):
                return
            content = await disclosing.content(db, room, self._max_days)
            if content["since"] is None and await chats.is_mere_chat(db, room):
                return  # nobody has switched recording on here
            known = await rooms.state(db, room_id, DISCLOSURE)
        if known is not None and known.content == content:
            return
        if await self._sending.state(room_id, DISCLOSURE) == content:
            return  # written before a crash, and not heard yet
        self._wait_before_the_same(room_id, content)
        await self._sending.set_state(room_id, DISCLOSURE, content)
        self._written[room_id] = (content, self._clock())
        log.info("state event written: room=%s records=%s", room_id, ",".join(content["records"]) or "nothing")

    def _wait_before_the_same(self, room_id: RoomId, content: Json) -> None:
        """Raise TryLater if the bot wrote the same a short while ago, and somebody replaced it since."""
        last, at = self._written.get(room_id, (None, self._clock()))
        rest = SAME_AGAIN_AFTER - (self._clock() - at)
        if last == content and rest > timedelta():
            sentence = "somebody else writes the state event of the bot"
            raise TryLater(sentence, after_s=rest.total_seconds(), room=room_id)
