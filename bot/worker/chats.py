"""The direct chat with one user, opened by the bot or by the user. Personal addresses are sent nowhere else.

An invite only claims who opened a chat. So before a message is sent there, the homeserver must confirm that only the
user and the bot are in the chat, and that nobody else can come in uninvited.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from weakref import WeakValueDictionary

from bot import facts, orders, rules
from bot.errors import GiveUp, TryLater
from bot.event_types import MEMBER
from bot.intake import chats
from bot.intake.roomstate import state_of
from bot.matrix.sending import Sending
from storage import jobs, rooms
from storage.records import JobId, Position, RoomId, UserId
from storage.store import Store

log = logging.getLogger(__name__)

INVITE_WAITS = timedelta(days=7)
UNASKED_EACH = timedelta(hours=1)
INVITES_AN_HOUR = 5  # for a user who asks, leaves and asks again
HEARD_OF_AFTER = timedelta(minutes=2)  # by then the bot's sync shows a room that it made
LOOK_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Known:
    """The chat that the bot made for a user, by our state. `membership` is the user's; None: unknown."""

    room_id: RoomId
    invited_at: datetime
    membership: str | None
    gone: bool  # the bot is no longer in it


class Chats:
    """The direct chats of the bot `us`."""

    def __init__(self, store: Store, sending: Sending, *, us: UserId, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._sending = sending
        self._us = us
        self._clock = clock
        self._opening: WeakValueDictionary[UserId, asyncio.Lock] = WeakValueDictionary()
        self._invited: defaultdict[UserId, list[datetime]] = defaultdict(list)

    async def private_with(self, order: orders.Direct, job_id: JobId) -> RoomId:
        """Return a chat that the order's user is in.

        Raises TryLater while they are not (their joining hastens the job), GiveUp when they declined.
        """
        user_id = order.user_id
        lock = self._opening.setdefault(user_id, asyncio.Lock())
        async with lock:  # two jobs for one user must not make two chats
            for chat in await self._open_with(user_id):
                if await self._is_private(chat, user_id):
                    return chat
            known = await self._known(user_id)
            if known is not None:
                await self._check_invite(known, order, job_id)
            await self._invite(order, job_id)
        raise TryLater("the user was invited to a direct chat", after_s=LOOK_AGAIN_S)

    async def _open_with(self, user_id: UserId) -> Sequence[RoomId]:
        """Find the chats that hold only the bot and the user, by our state."""
        async with self._store.read() as db:
            opened = await rooms.direct_chats(db, user_id)
            return [chat for chat in opened if await chats.holds_only(db, chat, user_id, self._us)]

    async def _is_private(self, chat: RoomId, user_id: UserId) -> bool:
        """Ask the homeserver whether a chat now holds only the bot and the user."""
        try:
            state = await self._sending.room_state(chat)
        except GiveUp as refused:
            log.info("state of a direct chat refused: room=%s reason=%s", chat, refused.reason)
            return False
        kept = (state_of(chat, event, Position(0)) for event in state)
        members = [event for event in kept if event is not None and event.type == MEMBER]
        return rules.are_alone(members, user_id, self._us) and not rules.lets_anybody_in(state)

    async def _known(self, user_id: UserId) -> Known | None:
        async with self._store.read() as db:
            made = await rooms.direct_room(db, user_id)
            room = await rooms.room(db, made[0]) if made else None
            member = await rooms.state(db, made[0], MEMBER, user_id) if made else None
        if made is None:
            return None
        joined = room is not None and room.joined
        membership = facts.membership(member.content) if member and joined else None
        return Known(*made, membership, gone=not joined and self._clock() - made[1] > HEARD_OF_AFTER)

    async def _check_invite(self, known: Known, order: orders.Direct, job_id: JobId) -> None:
        """Return if the user may be invited again, else raise TryLater or GiveUp. Only one invite is open at a time."""
        now = self._clock()
        waited = now - known.invited_at
        by_this_job = order.invited == known.room_id
        if known.gone or known.membership == facts.JOIN:  # others are in it too, or the bot is not
            return
        if known.membership in ("leave", "ban"):
            if by_this_job:
                raise GiveUp("the user declined the direct chat", reason="declined")
            if not order.is_asked_for and waited < UNASKED_EACH:
                raise TryLater("the user left the direct chat", after_s=_seconds(UNASKED_EACH - waited))
        elif waited < INVITE_WAITS:
            await self._note(order, job_id, known.room_id)
            pause = max(LOOK_AGAIN_S, waited.total_seconds() / 2)
            raise TryLater("the user is not in the direct chat yet", after_s=pause)
        elif by_this_job:
            raise GiveUp("the user did not come to the direct chat", reason="no_answer")

    async def _invite(self, order: orders.Direct, job_id: JobId) -> None:
        now, user_id = self._clock(), order.user_id
        lately = self._invited[user_id] = [at for at in self._invited[user_id] if now - at < timedelta(hours=1)]
        if len(lately) >= INVITES_AN_HOUR:
            raise TryLater("the user was invited often", after_s=_seconds(lately[0] + timedelta(hours=1) - now))
        lately.append(now)
        chat = await self._sending.create_direct(user_id)
        async with self._store.write() as db:
            await rooms.save_direct(db, user_id, chat, now)
            made = await rooms.room(db, chat) or rooms.new_room(chat, now)
            await rooms.save_room(db, replace(made, direct=True))
            await jobs.note(db, job_id, replace(order, invited=chat).job(), now)

    async def _note(self, order: orders.Direct, job_id: JobId, chat: RoomId) -> None:
        """Record that the job waits for this invite: to decline the invite is to decline the job's message."""
        if order.invited != chat:
            async with self._store.write() as db:
                await jobs.note(db, job_id, replace(order, invited=chat).job(), self._clock())


def _seconds(span: timedelta) -> float:
    return max(1.0, span.total_seconds())
