"""The choice of a podcast's cover: a picture that somebody posted in the room, fetched and made safe."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from bot import facts, orders, words
from bot.audio.ffmpeg import Ffmpeg
from bot.dialects.fields import answers_for
from bot.dialects.pictures import picture
from bot.errors import GiveUp
from bot.event_types import MEMBER
from bot.feeds.shown import person
from bot.language import speaking
from bot.pictures.avatar import MAX_AVATAR_BYTES
from bot.worker.covering import new_picture, safe_picture
from bot.worker.fetching import Download
from bot.worker.room_history import RoomHistory
from storage import changes, jobs, rooms
from storage.database import Connection
from storage.records import BlobKey, Change, Job, MediaSource, Room
from storage.store import Store

log = logging.getLogger(__name__)

CHOSEN, DEFAULT = "given", "default"
"""The states of a cover in the log of changes."""


class ChoosingCover:
    """The handler of ChooseCover orders."""

    def __init__(
        self,
        store: Store,
        ffmpeg: Ffmpeg,
        history: RoomHistory,
        *,
        download: Download,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._ffmpeg = ffmpeg
        self._history = history
        self._download = download
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        """Make the picture the podcast's cover, or say why it can't be. Raises TryLater."""
        order = orders.ChooseCover.of(job)
        source = await self._source(order)
        square = await safe_picture(self._store.blobs, self._ffmpeg, self._download, source) if source else None
        if square is None:
            async with self._store.write() as db:
                room = await rooms.room(db, order.room_id)
                if room is not None:
                    await self._say(db, order, room, source)
            return
        async with new_picture(self._store.blobs, square) as (part, key), self._store.write() as db:
            room = await rooms.room(db, order.room_id)
            if room is not None and await self._say(db, order, room, source, chosen=True):
                await asyncio.to_thread(self._store.blobs.add, part, key)
                await self._choose(db, order, room, key)

    async def _source(self, order: orders.ChooseCover) -> MediaSource | None:
        """Return the source of the picture; None where the message has none that counts. In an encrypted room only an
        encrypted message does: the homeserver must not choose."""
        try:
            heard = await self._history.event(order.said_in, order.picture)
        except GiveUp:
            return None
        async with self._store.read() as db:
            room = await rooms.room(db, order.said_in)
        if not answers_for(heard, order.said_in, order.picture) or room is None or room.encrypted > heard.encrypted:
            return None
        return picture(heard)

    async def _say(
        self,
        db: Connection,
        order: orders.ChooseCover,
        room: Room,
        source: MediaSource | None,
        *,
        chosen: bool = False,
    ) -> bool:
        """Answer the command; return False where it was answered before."""
        member = await rooms.state(db, room.room_id, MEMBER, order.asker)
        who = person(facts.display_name(member), order.asker)
        with speaking(room.language):
            if chosen:
                body = words.cover_chosen(who=who)
            else:
                body = words.no_cover(posted=source is not None, most_mb=MAX_AVATAR_BYTES // 1024 // 1024)
        topic = orders.cover_answered(order.command)
        notice = orders.Notice(topic, order.said_in, body, reply_to=order.command, thread=order.thread)
        return await jobs.add(db, notice.job(), self._clock())

    async def _choose(self, db: Connection, order: orders.ChooseCover, room: Room, key: BlobKey) -> None:
        now = self._clock()
        await rooms.save_room(db, replace(room, own_cover=key))
        await rooms.touch(db, room.room_id, now)
        before = CHOSEN if room.own_cover else DEFAULT
        change = Change(
            0, now, room.room_id, order.asker, "podcast cover", before=before, after=CHOSEN, event_id=order.command
        )
        await changes.add(db, change)
        if room.own_cover is not None and room.own_cover != key:
            await jobs.add(db, orders.Forget((room.own_cover,)).job(), now)
        log.info("cover chosen: room=%s", room.room_id)
