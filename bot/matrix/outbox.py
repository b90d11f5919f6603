"""What is asked of the homeserver outside the sync: notices, personal addresses, answers to invites, room state.

Each is a job; the job's id is the transaction id, so that a repeat after a crash is the same event.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from bot import rules, words
from bot.errors import GiveUp, TryLater
from bot.matrix.sending import Sending
from storage import heirs, journal, rooms
from storage.records import Job, Json, Position, RoomId, UserId
from storage.store import Store

log = logging.getLogger(__name__)

INVITE_WAITS = timedelta(days=7)
INVITE_AT_MOST_EACH = timedelta(hours=1)
LOOK_AGAIN_S = 1.0
LEFT_BEFORE = "the user left the direct chat"  # before they asked for something: invited anew, once

PersonalAddresses = Callable[[RoomId, UserId, int], tuple[str, str]]
TakeState = Callable[[RoomId, list[Json], Position], Awaitable[None]]


class Outbox:
    """Handles NOTICE, DIRECT, INVITE and REFRESH jobs. `addresses` gives (feed, page) of a room, user and
    generation; `take_state` is the intake's."""

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
        self._us = us
        self._invites = invites
        self._addresses = addresses
        self._take_state = take_state
        self._prefix = prefix
        self._clock = clock
        self._inviting = asyncio.Lock()

    async def notice(self, job: Job) -> None:
        """Says something in a room, as an answer to an event or in its thread where the payload names one."""
        payload = job.payload
        room_id = RoomId(payload["room_id"])
        async with self._store.read() as db:
            room = await rooms.room(db, room_id)
        if room is None or not room.joined:
            raise GiveUp("the bot is not in the room", reason="not_joined", room=room_id)
        content = notice(payload["body"], reply_to=payload.get("reply_to"), thread=payload.get("thread"))
        await self._sending.send(room_id, "m.room.message", content, txn_id=_transaction(job))

    async def direct(self, job: Job) -> None:
        """Tells one user something in their direct chat, once they are in it."""
        user_id = UserId(job.payload["user_id"])
        async with self._inviting:  # two jobs for one user must not make two chats
            chat = await self._chat_with(user_id, job)
        body = job.payload.get("body") or await self._address_text(user_id, RoomId(job.payload["room_id"]))
        await self._sending.send(chat, "m.room.message", notice(body), txn_id=_transaction(job))

    async def invite(self, job: Job) -> None:
        """Takes an invite by `matrix.invites_from`; one that is refused is left alone."""
        room_id, inviter = RoomId(job.payload["room_id"]), UserId(job.payload["inviter"])
        if not rules.invite_allowed(self._invites, inviter):
            log.info("an invite is left alone (matrix.invites_from): room=%s inviter=%s", room_id, inviter)
            return
        async with self._store.read() as db:
            room = await rooms.room(db, room_id)
        if room is not None and room.joined:
            return
        await self._sending.join(room_id)

    async def refresh(self, job: Job) -> None:
        """Reads a room's current state from the homeserver."""
        room_id = RoomId(job.subject)
        async with self._store.read() as db:
            asked_at = await journal.position(db)
        await self._take_state(room_id, await self._sending.room_state(room_id), asked_at)

    async def _address_text(self, user_id: UserId, room_id: RoomId) -> str:
        """Made when it is sent: the generation that counts then. Raises GiveUp when the user may not have it."""
        async with self._store.read() as db:
            listener = await rooms.listener(db, room_id, user_id)
            present = await heirs.present(db, room_id)
            member = await rooms.state(db, present, "m.room.member", user_id)
            name = await rooms.state(db, present, "m.room.name")
        if listener is None or member is None or rules.membership(member.content) != "join":
            raise GiveUp("the user is not in that room any more", reason="not_a_member", room=room_id)
        feed, page = self._addresses(room_id, user_id, listener.generation)
        given = name.content.get("name") if name else None
        named = given if isinstance(given, str) and given else "a room"
        return words.direct_address(room_name=named, feed=feed, page=page, prefix=self._prefix)

    async def _chat_with(self, user_id: UserId, job: Job) -> RoomId:
        """The direct chat, with its user in it. Raises TryLater while they have not come; the job is woken then."""
        now = self._clock()
        async with self._store.read() as db:
            known = await rooms.direct_room(db, user_id)
            room = await rooms.room(db, known[0]) if known else None
            members = await rooms.members(db, known[0]) if known else ()
        membership = next((rules.membership(one.content) for one in members if one.state_key == user_id), None)
        there = room is not None and room.joined and membership == "join"
        alone = rules.nobody_else(members, (self._us, user_id))
        if known is not None and there and alone:
            return known[0]
        if known is not None and not (there and not alone):
            self._check_waiting(known[1], now, job, declined=membership in ("leave", "ban"))
        chat = await self._sending.create_direct(user_id)
        async with self._store.write() as db:
            await rooms.save_direct(db, user_id, chat, now)
            made = await rooms.room(db, chat) or rooms.new_room(chat, now)
            await rooms.save_room(db, replace(made, direct=True))
        raise TryLater("the user was invited to a direct chat", after_s=LOOK_AGAIN_S)

    def _check_waiting(self, invited_at: datetime, now: datetime, job: Job, *, declined: bool) -> None:
        """Raises TryLater or GiveUp, or lets the user be invited anew.

        The job is woken when the user joins; that it also looks by itself covers a join while it runs.
        """
        waited = now - invited_at
        first_try = job.attempts == 0
        if declined and not first_try and job.error != LEFT_BEFORE:
            raise GiveUp("the user declined the direct chat", reason="declined")
        if declined and waited < INVITE_AT_MOST_EACH:
            raise TryLater(LEFT_BEFORE, after_s=_seconds(INVITE_AT_MOST_EACH - waited))
        if not declined and waited < INVITE_WAITS:
            pause = max(LOOK_AGAIN_S, waited.total_seconds() / 2)
            raise TryLater("the user is not in the direct chat yet", after_s=pause)
        if not declined and not first_try:
            raise GiveUp("the user did not come to the direct chat", reason="no_answer")


def notice(body: str, *, reply_to: str | None = None, thread: str | None = None) -> Json:
    """An m.notice, threaded or replying (Client-Server API, rich replies and threading)."""
    content: dict[str, Any] = {"msgtype": "m.notice", "body": body, "m.mentions": {}}
    if reply_to is not None:
        content["m.relates_to"] = {"m.in_reply_to": {"event_id": reply_to}}
    if thread is not None:
        relation = content.setdefault("m.relates_to", {})
        relation |= {"rel_type": "m.thread", "event_id": thread, "is_falling_back": reply_to is None}
    return content


def _transaction(job: Job) -> str:
    """The same for each try of a job, another for each job."""
    return f"aircheck-{job.id}"


def _seconds(span: timedelta) -> float:
    return max(1.0, span.total_seconds())
