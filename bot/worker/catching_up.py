"""Rooms that were restored from a backup, until their podcasts may open again (`intake.catching_up`)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from bot import orders
from bot.dialects.state import kept_state, stands_at
from bot.errors import GiveUp, TryLater
from bot.event_types import DISCLOSURE, MEMBER
from bot.facts import is_joined
from bot.intake import arrival, catching_up
from bot.intake.kept_wishes import Apply
from bot.language import speaking, spoken_moment
from bot.matrix.sending import Sending
from bot.settings import Settings
from bot.worker.refreshing import TakeState
from storage import jobs, journal, rooms
from storage.database import Connection
from storage.records import Behind, Job, Json, Room, RoomId, StateEvent, UserId
from storage.store import Store

AGAIN_S = 1.0


class CatchingUp:
    """The handler of CatchUp orders. `in_touch`: whether all that the homeserver answered is stored."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        sending: Sending,
        *,
        us: UserId,
        take_state: TakeState,
        in_touch: Callable[[], bool],
        apply: Apply,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._settings = settings
        self._sending = sending
        self._us = us
        self._take_state = take_state
        self._in_touch = in_touch
        self._apply = apply
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        """Open the room's podcast once everything is known. Raises TryLater until then."""
        order = orders.CatchUp.of(job)
        room = await self._room(order.room_id)
        if room is None:
            return
        if not self._in_touch():
            raise TryLater("the homeserver was not heard yet", at_most_s=AGAIN_S, room=order.room_id)
        if not room.joined:
            await self._reopen(room)
            return
        if not order.read:
            await self._read_state(order.room_id)
            async with self._store.write() as db:
                await jobs.note(db, job.id, replace(order, read=True).job(), self._clock())
        async with self._store.write() as db:
            room = await rooms.room(db, order.room_id)
            if room is None or not room.joined or room.behind is None:
                return
            awaited = await catching_up.awaited(db, room.room_id)
            if awaited is None:
                if room.behind not in (Behind.UNWALKED, Behind.OUT):
                    await self._end(db, room)
                    return
                await catching_up.ask_for_each(db, room, self._clock())
                awaited = "its recordings are being compared"
        raise TryLater(awaited, at_most_s=AGAIN_S, room=order.room_id)

    async def _room(self, room_id: RoomId) -> Room | None:
        """Return the room if it is behind; one that the bot has left since the backup stays so while the bot is out."""
        async with self._store.read() as db:
            room = await rooms.room(db, room_id)
        if room is None or room.behind is None:
            return None
        return room if room.joined or room.behind is Behind.OUT else None

    async def _reopen(self, room: Room) -> None:
        """Open the podcast of a room that the bot was out of at the backup, once the homeserver says that it is out. Of
        a room that the bot has left it may tell the state of then. Raises TryLater where the bot is in it."""
        try:
            state = await self._sending.room_state(room.room_id)
        except GiveUp as refused:
            if refused.reason != "forbidden":
                raise TryLater(refused.sentence, room=room.room_id) from None
            state = []
        kept = {event.type: event for event in self._own_state(room.room_id, state)}
        if is_joined(kept.get(MEMBER)):
            raise TryLater("the bot is in the room again", at_most_s=AGAIN_S, room=room.room_id)
        said = kept[DISCLOSURE].content if DISCLOSURE in kept else None
        async with self._store.write() as db:
            now = await rooms.room(db, room.room_id)
            if now is None or now.joined or now.behind is not Behind.OUT:
                return
            unread = await catching_up.unread_wishes(db, room.room_id)
            if unread is None:
                await catching_up.reopen(db, self._apply, now, said, self._settings.retention, self._clock())
                return
        raise TryLater(unread, at_most_s=AGAIN_S, room=room.room_id)

    def _own_state(self, room_id: RoomId, state: Sequence[Json]) -> Iterator[StateEvent]:
        """Yield the bot's membership, and what it says of the room, if that is its own word."""
        for event in state:
            ours = stands_at(event, MEMBER, self._us) or stands_at(event, DISCLOSURE, "")
            kept = kept_state(room_id, event) if ours else None
            if kept is not None and (kept.type == MEMBER or kept.sender == self._us):
                yield kept

    async def _read_state(self, room_id: RoomId) -> None:
        async with self._store.read() as db:
            asked_at = await journal.position(db)
        try:
            state = await self._sending.room_state(room_id)
        except GiveUp as refused:
            if refused.reason != "forbidden":
                raise TryLater(refused.sentence, room=room_id) from None
            async with self._store.write() as db:
                await arrival.removed(db, room_id, self._clock())
            return
        await self._take_state(room_id, state, asked_at)

    async def _end(self, db: Connection, room: Room) -> None:
        made_at = await journal.get(db, catching_up.RESTORED)
        at = datetime.fromisoformat(made_at) if made_at else self._clock()
        with speaking(room.language):
            when = spoken_moment(at, self._settings.feeds.zone)
        prefix, limits = self._settings.commands.prefix, self._settings.retention
        await catching_up.end(db, self._apply, room, self._us, when, prefix, limits, self._clock())
