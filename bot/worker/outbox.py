"""What is asked of the homeserver outside the sync: notices, personal addresses, answers to invites, room state.

Each is a job; the job's id is the transaction id, so that a repeat after a crash is the same event.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from bot import facts, orders, rules, words
from bot.errors import GiveUp, TryLater
from bot.intake import greeting
from bot.matrix.sending import Sending
from bot.worker.chats import Chats
from storage import heirs, journal, rooms
from storage.records import Job, Json, Listener, Position, Room, RoomId, UserId
from storage.store import Store

log = logging.getLogger(__name__)

GREET_AGAIN_S = 60.0

PersonalAddresses = Callable[[RoomId, UserId, int], tuple[str, str]]
TakeState = Callable[[RoomId, list[Json], Position], Awaitable[None]]


class Outbox:
    """Handles Notice, Direct, Invite and Refresh orders of the bot `us`. `addresses` gives (feed, page) of a room, user
    and generation; `take_state` is the intake's."""

    def __init__(
        self,
        store: Store,
        sending: Sending,
        *,
        us: UserId,
        invites: tuple[str, ...],
        addresses: PersonalAddresses,
        take_state: TakeState,
        prefix: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._sending = sending
        self._invites = invites
        self._addresses = addresses
        self._take_state = take_state
        self._prefix = prefix
        self._chats = Chats(store, sending, us=us, clock=clock)

    async def notice(self, job: Job) -> None:
        """Says something in a room, as an answer to an event or in its thread where the payload names one."""
        order = orders.Notice.of(job)
        room_id = order.room_id
        async with self._store.read() as db:
            room = await rooms.room(db, room_id)
        if room is None or not room.joined:
            raise GiveUp("the bot is not in the room", reason="not_joined", room=room_id)
        if order.greets:
            await self._greet(job, room)
            return
        content = notice(order.body, reply_to=order.reply_to, thread=order.thread)
        await self._sending.send(room_id, "m.room.message", content, txn_id=greeting.transaction(job.id))
        if job.attempts:
            log.info("notice sent late, at try %d, maybe after newer ones: room=%s", job.attempts + 1, room_id)

    async def _greet(self, job: Job, room: Room) -> None:
        """Says what is recorded, as things stand now. Raises TryLater where the bot may not speak: it may later."""
        async with self._store.read() as db:
            body = await greeting.greeting(db, room, prefix=self._prefix)
        try:
            transaction = greeting.transaction(job.id)
            event_id = await self._sending.send(room.room_id, "m.room.message", notice(body), txn_id=transaction)
        except GiveUp as refused:
            log.info("no notice yet: room=%s (%s)", room.room_id, refused.reason)
            raise TryLater("the bot may not speak in the room", at_most_s=GREET_AGAIN_S, room=room.room_id) from None
        async with self._store.write() as db:
            await greeting.said(db, room.room_id, event_id)

    async def direct(self, job: Job) -> None:
        """Tells one user something in their direct chat, once they are in it. An address that a new one replaces ends
        when the new one was said."""
        order = orders.Direct.of(job)
        user_id, room_id = order.user_id, order.room_id
        chat = await self._chats.private_with(order, job.id)
        if order.body is not None:
            await self._sending.send(chat, "m.room.message", notice(order.body), txn_id=greeting.transaction(job.id))
            return
        assert room_id is not None
        listener = await self._listener(user_id, room_id)
        generation = listener.next_generation or listener.generation
        body = await self._address_text(listener, generation)
        # Asked for again after a crash it may be another address: then it is another event.
        txn_id = f"{greeting.transaction(job.id)}-{generation}"
        await self._sending.send(chat, "m.room.message", notice(body), txn_id=txn_id)
        if generation == listener.next_generation:
            async with self._store.write() as db:
                for one in await heirs.line(db, room_id):
                    await rooms.end_old_address(db, one, user_id)

    async def invite(self, job: Job) -> None:
        """Takes an invite by `matrix.invites_from`; one that is refused is left alone. A space is declined or left,
        with the reason."""
        order = orders.Invite.of(job)
        room_id, inviter = order.room_id, order.inviter
        async with self._store.read() as db:
            room = await rooms.room(db, room_id)
        joined = room is not None and room.joined
        if not joined and not rules.invite_allowed(self._invites, inviter):
            log.info("an invite is left alone (matrix.invites_from): room=%s inviter=%s", room_id, inviter)
        elif order.space:
            log.info("no room but a space: room=%s", room_id)
            await self._sending.leave(room_id, words.NO_SPACES)
        elif not joined:
            await self._sending.join(room_id)

    async def refresh(self, job: Job) -> None:
        """Reads a room's current state from the homeserver."""
        room_id = orders.Refresh.of(job).room_id
        async with self._store.read() as db:
            asked_at = await journal.position(db)
        await self._take_state(room_id, await self._sending.room_state(room_id), asked_at)

    async def _listener(self, user_id: UserId, room_id: RoomId) -> Listener:
        """Raises GiveUp when the user may not have an address."""
        async with self._store.read() as db:
            listener = await rooms.listener(db, room_id, user_id)
            member = await rooms.state(db, await heirs.present(db, room_id), "m.room.member", user_id)
        if listener is None or not facts.is_joined(member):
            raise GiveUp("the user is not in that room any more", reason="not_a_member", room=room_id)
        return listener

    async def _address_text(self, listener: Listener, generation: int) -> str:
        """Made when it is sent, so that it is written down nowhere."""
        async with self._store.read() as db:
            name = await rooms.state(db, await heirs.present(db, listener.room_id), "m.room.name")
        feed, page = self._addresses(listener.room_id, listener.user_id, generation)
        return words.direct_address(
            room_name=facts.room_name(name) or "a room", feed=feed, page=page, prefix=self._prefix
        )


def notice(body: str, *, reply_to: str | None = None, thread: str | None = None) -> Json:
    """An m.notice, threaded or replying (Client-Server API, rich replies and threading)."""
    content: dict[str, Any] = {"msgtype": "m.notice", "body": body, "m.mentions": {}}
    if reply_to is not None:
        content["m.relates_to"] = {"m.in_reply_to": {"event_id": reply_to}}
    if thread is not None:
        relation = content.setdefault("m.relates_to", {})
        relation |= {"rel_type": "m.thread", "event_id": thread, "is_falling_back": reply_to is None}
    return content
