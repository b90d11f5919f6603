"""Invites to the bot: accepted by `matrix.invites_from`, ignored otherwise. Spaces are declined or left."""

import logging

from bot import orders, rules, words
from bot.language import _
from bot.matrix.sending import Sending
from storage import rooms
from storage.records import Job
from storage.store import Store

log = logging.getLogger(__name__)


class Invites:
    """The handler of Invite orders. `allowed` are the patterns of `matrix.invites_from`."""

    def __init__(self, store: Store, sending: Sending, *, allowed: tuple[str, ...]) -> None:
        self._store = store
        self._sending = sending
        self._allowed = allowed

    async def __call__(self, job: Job) -> None:
        order = orders.Invite.of(job)
        async with self._store.read() as db:
            room = await rooms.room(db, order.room_id)
        joined = room is not None and room.joined
        if not joined and not rules.invite_allowed(self._allowed, order.inviter):
            log.info("invite ignored (matrix.invites_from): room=%s inviter=%s", order.room_id, order.inviter)
        elif order.space:
            log.info("space declined: room=%s", order.room_id)
            await self._sending.leave(order.room_id, _(words.NO_SPACES))
        elif not joined:
            await self._sending.join(order.room_id)
