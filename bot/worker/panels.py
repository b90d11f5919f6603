"""Reactions to the panel of a walkie-talkie: the bot puts one of each under it, and takes members' away."""

import logging

from bot import orders
from bot.errors import GiveUp
from bot.event_types import REACTION
from bot.intake import greeting
from bot.matrix.sending import Sending
from bot.walkie.panel import BUTTONS
from storage import rooms, walkies
from storage.records import Job
from storage.store import Store

log = logging.getLogger(__name__)


class PuttingButtons:
    """The handler of PutButtons orders. Without the reactions of the bot members choose the same ones themselves, so a
    refusal ends nothing."""

    def __init__(self, store: Store, sending: Sending) -> None:
        self._store = store
        self._sending = sending

    async def __call__(self, job: Job) -> None:
        order = orders.PutButtons.of(job)
        async with self._store.read() as db:
            walkie = await walkies.get(db, order.room_id)
        if walkie is None or walkie.panel != order.event_id:
            return
        for number, key in enumerate(BUTTONS):
            relation = {"rel_type": "m.annotation", "event_id": order.event_id, "key": key}
            transaction = f"{greeting.transaction(job.id)}-{number}"
            try:
                await self._sending.send(order.room_id, REACTION, {"m.relates_to": relation}, txn_id=transaction)
            except GiveUp as refused:
                log.info("no button: room=%s panel=%s reason=%s", order.room_id, order.event_id, refused.reason)


class TakingAway:
    """The handler of TakeAway orders. Where the bot may not redact, the reaction stays, and its sender takes it away
    themselves before they react again."""

    def __init__(self, store: Store, sending: Sending) -> None:
        self._store = store
        self._sending = sending

    async def __call__(self, job: Job) -> None:
        order = orders.TakeAway.of(job)
        async with self._store.read() as db:
            room = await rooms.room(db, order.room_id)
        if room is None or not room.joined:
            return
        try:
            await self._sending.redact(order.room_id, order.event_id, txn_id=f"take-away-{job.id}")
        except GiveUp as refused:
            said = "reaction not taken away: room=%s event=%s reason=%s"
            log.info(said, order.room_id, order.event_id, refused.reason)
