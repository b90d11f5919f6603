"""Wishes of members in the bot's account data, so that they outlive the store: written, and read after a restore."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from hashlib import sha256

from bot import orders
from bot.errors import AircheckError, GiveUp, TryLater
from bot.event_types import WISHES
from bot.intake import catching_up, kept_wishes
from bot.intake import sealed_wishes as notes
from bot.intake.kept_wishes import Apply
from bot.intake.sealed_wishes import Wishes
from bot.matrix.sending import Sending
from storage import jobs, rooms
from storage import kept_wishes as own
from storage.errors import StoreError
from storage.records import EVERYWHERE, Job, RoomId, UserId
from storage.store import Store

log = logging.getLogger(__name__)

AT_ONCE = 8
FIRST_WITHIN_S = 300.0
"""The time in which all rooms are read before the first sync; what takes longer is read beside it, and a room stays
closed until it was."""

REFUSED_TIMES = 5
"""The attempts after which a refusal to tell what was wished is believed: the room opens without."""


class KeepingWishes:
    """The handler of KeepWishes orders."""

    def __init__(
        self, store: Store, sending: Sending, *, us: UserId, apply: Apply, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._sending = sending
        self._us = us
        self._apply = apply
        self._clock = clock
        self._reading: dict[RoomId, asyncio.Lock] = {}
        self._troubled: dict[RoomId, datetime] = {}

    @property
    def troubled_since(self) -> datetime | None:
        """Since when the wishes for a room, or for everywhere, could be neither written nor read; None: they can."""
        return min(self._troubled.values(), default=None)

    async def begin(self) -> None:
        """Make the key by which wishes are sealed, before the first of them is said: so every backup has it."""
        async with self._store.read() as db:
            made = await own.key(db) is not None
        if not made:
            async with self._store.write() as db:
                await own.make_key(db)

    async def __call__(self, job: Job) -> None:
        """Write what is wished in a room now. Raises TryLater."""
        room_id = orders.KeepWishes.of(job).room_id
        gives_up = job.attempts >= REFUSED_TIMES
        try:
            await self._read(EVERYWHERE, gives_up=gives_up)  # first: it tells which rooms are to be read, too
            await self._read(room_id, gives_up=gives_up)
            await self._settle(room_id)
            await self._write(room_id)
        except TryLater:
            self._troubled.setdefault(room_id, self._clock())
            raise
        except GiveUp as refused:  # what protects people is tried again for as long as it takes
            self._troubled.setdefault(room_id, self._clock())
            sentence = f"the homeserver refuses the bot's account data: {refused.sentence}"
            raise TryLater(sentence, room=room_id or None) from None
        self._troubled.pop(room_id, None)

    async def _write(self, room_id: RoomId) -> None:
        async with self._store.read() as db:
            room = await rooms.room(db, room_id)
            if room is not None and room.behind is not None:
                return  # once it is open it is ordered again
            wishes, key = await kept_wishes.gather(db, room_id), await own.key(db)
            written = await own.written(db, room_id)
        digest = _digest(wishes)
        if key is None or written == digest or (written is None and wishes == notes.Wishes()):
            return
        content = notes.seal(key, self._us, room_id, wishes)
        await self._sending.set_account_data(room_id or None, WISHES, content)
        async with self._store.write() as db:
            await own.note_written(db, room_id, digest)

    # ---- after a restore

    async def _settle(self, room_id: RoomId) -> None:
        """Let a room that a sync has shown, and that the backup does not know, have what was read of it."""
        async with self._store.read() as db:
            room = await rooms.room(db, room_id)
            read = room is not None and room.behind is None and await own.read(db, room_id) is not None
        if read:
            async with self._store.write() as db:
                await catching_up.settle(db, room_id, self._clock())

    async def read_first(self) -> None:
        """Read, before the first sync after a restore, what was wished since the backup. What fails is tried again by
        its job; until then its room stays closed."""
        slots = asyncio.Semaphore(AT_ONCE)
        try:
            async with asyncio.timeout(FIRST_WITHIN_S):
                await self._try(EVERYWHERE, slots)
                async with self._store.read() as db:
                    unread = await own.unread(db)
                await asyncio.gather(*(self._try(room_id, slots) for room_id in unread if room_id != EVERYWHERE))
        except TimeoutError:
            log.warning("wishes not read within %.0f s, going on beside the sync", FIRST_WITHIN_S)

    async def _try(self, room_id: RoomId, slots: asyncio.Semaphore) -> None:
        async with slots:
            try:
                await self._read(room_id)
            except (AircheckError, StoreError) as error:
                log.warning("wishes not read yet: room=%s (%s)", room_id or "all", error)

    async def _note_unknown_rooms(self) -> None:
        """Note the rooms that the bot is in and that the backup does not know as unread; a sync may have shown some of
        them meanwhile. Raises TryLater, GiveUp."""
        joined = await self._sending.joined_rooms()
        async with self._store.write() as db:
            for room_id in joined:
                room = await rooms.room(db, room_id)
                if room is None or room.behind is None:
                    await own.await_room(db, room_id)
                    await jobs.add(db, orders.KeepWishes(room_id).job(), self._clock())

    async def _read(self, room_id: RoomId, *, gives_up: bool = False) -> None:
        """Read what was wished in a room since the backup that the store was restored from, once. Raises TryLater, and
        GiveUp unless the bot `gives_up` what is refused."""
        async with self._reading.setdefault(room_id, asyncio.Lock()):
            async with self._store.read() as db:
                if not await own.is_unread(db, room_id):
                    return
                key = await own.key(db)
            if room_id == EVERYWHERE:
                await self._note_unknown_rooms()
            try:
                content = await self._sending.account_data(room_id or None, WISHES)
            except GiveUp as refused:
                if not gives_up:
                    raise
                log.warning("what was wished is refused: room=%s (%s)", room_id or "all", refused.sentence)
                content = None
            wishes = None if content is None or key is None else notes.unseal(key, self._us, room_id, content)
            if content is not None and wishes is None:
                log.warning("the wishes kept before the backup can't be read: room=%s", room_id or "all")
            async with self._store.write() as db:
                if await own.is_unread(db, room_id):
                    if wishes is not None and _digest(wishes) == await own.written(db, room_id):
                        wishes = replace(wishes, retention=None)  # of before the backup, whose rule may be newer
                    await kept_wishes.take(db, self._apply, room_id, wishes, self._clock())
        self._reading.pop(room_id, None)


def _digest(wishes: Wishes) -> str:
    return sha256(notes.to_bytes(wishes)).hexdigest()
