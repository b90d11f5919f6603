"""Portraits of speakers, made of the avatars that they have in a room, and removed with them."""

import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime

from bot import facts, orders
from bot.audio.ffmpeg import Ffmpeg
from bot.errors import TryLater
from bot.event_types import MEMBER
from bot.intake import portraying
from bot.worker.covering import MOST_TRIES, fetched_picture
from bot.worker.given import ASK_AGAIN_AFTER, AT_ONCE_S, Download
from bot.worker.tracks import forget
from storage import heirs, jobs, portraits, rooms
from storage.blobs.new import new_blob
from storage.database import Connection
from storage.records import BlobKey, Job, MediaSource, MxcUri, Portrait
from storage.store import Store

log = logging.getLogger(__name__)

SIDE = 400
"""Pixels."""
NONE = ""
"""The avatar in the row of a speaker who has none: it is looked for again when they change their profile."""


class MakingPortrait:
    """The handler of MakePortrait orders. Who has left the room, has opted out, or speaks in none of its recordings any
    more has no portrait."""

    def __init__(self, store: Store, ffmpeg: Ffmpeg, *, download: Download, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._ffmpeg = ffmpeg
        self._download = download
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        """Make the portrait of the avatar of now, or remove it. Raises TryLater, also after an avatar that can't be
        used: one answer is not final."""
        order = orders.MakePortrait.of(job)
        async with self._store.read() as db:
            avatar = await self._avatar(db, order)
            before = await portraits.of(db, order.room_id, order.user_id)
        if await self._is_settled(before, avatar):
            return
        picture = await self._picture(avatar) if avatar else None
        async with AsyncExitStack() as stack:
            new, key = None, None
            if picture is not None:
                new, key = await stack.enter_async_context(new_blob(self._store.blobs, picture, "portrait"))
            db = await stack.enter_async_context(self._store.write())
            if await self._avatar(db, order) != avatar:
                await jobs.add(db, order.job(), self._clock())  # it changed meanwhile
                return
            if new is not None:
                await new.keep(db)
            await self._save(db, order, avatar, key)
        if avatar and picture is None:
            await self._try_again(job, order, avatar)

    async def _avatar(self, db: Connection, order: orders.MakePortrait) -> str | None:
        """Return the address of a speaker's avatar, NONE without one; None where they may not be shown."""
        room_id, user_id = order.room_id, order.user_id
        if not await portraying.may_show(db, room_id, user_id):
            return None
        present = await heirs.present(db, room_id)
        members = [await rooms.state(db, each, MEMBER, user_id) for each in dict.fromkeys((present, room_id))]
        return next((avatar for member in members if (avatar := facts.member_avatar(member))), NONE)

    async def _is_settled(self, before: Portrait | None, avatar: str | None) -> bool:
        """Return whether the row and its file are those of this avatar."""
        if before is None or before.avatar != avatar:
            return before is None and avatar is None
        if before.blob is None:
            return avatar == NONE
        return await self._store.blobs.exists(before.blob)

    async def _picture(self, avatar: str) -> bytes | None:
        source = MediaSource(MxcUri(avatar))
        return await fetched_picture(self._store.blobs, self._ffmpeg, self._download, source, side=SIDE)

    async def _save(self, db: Connection, order: orders.MakePortrait, avatar: str | None, key: BlobKey | None) -> None:
        """Save what came of it, and remove the picture of before; no avatar at all: remove the row."""
        now = self._clock()
        gone = await portraits.remove(db, order.user_id, [order.room_id])
        if avatar is not None:
            await portraits.save(db, Portrait(order.room_id, order.user_id, avatar, key))
        await forget(db, gone - {key}, now)
        if gone != frozenset({key} if key else ()):
            await rooms.touch(db, order.room_id, now)

    async def _try_again(self, job: Job, order: orders.MakePortrait, avatar: str) -> None:
        tries = order.tries if order.avatar == avatar else 0
        if tries < MOST_TRIES:
            async with self._store.write() as db:
                again = orders.MakePortrait(order.room_id, order.user_id, avatar, tries + 1)
                await jobs.note(db, job.id, again.job(), self._clock())
            pause_s = ASK_AGAIN_AFTER.total_seconds() * 2.0**tries
            raise TryLater("a speaker's avatar can't be used yet", after_s=pause_s, at_most_s=AT_ONCE_S)
