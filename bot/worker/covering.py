"""A room's picture: its avatar if that can be used, else a picture drawn from its name."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from bot import facts, orders
from bot.audio.ffmpeg import Ffmpeg
from bot.errors import GiveUp, TryLater
from bot.event_types import ROOM_AVATAR, ROOM_NAME
from bot.feeds import titles
from bot.pictures.avatar import MAX_AVATAR_BYTES, safe_picture
from bot.pictures.cover import SIDE, drawn_cover, fitted
from bot.pictures.one_at_a_time import apart
from bot.worker.given import ASK_AGAIN_AFTER, AT_ONCE_S, Download
from storage import jobs, rooms
from storage.blobs.door import Blobs
from storage.blobs.new import new_blob
from storage.records import BlobKey, Job, MediaSource, MxcUri, RoomId
from storage.store import Store

log = logging.getLogger(__name__)

MOST_TRIES = 16  # a week of pauses, each twice as long as the one before


class Covering:
    """The handler of Cover orders; `of` returns a room's cover to other handlers."""

    def __init__(self, store: Store, ffmpeg: Ffmpeg, *, download: Download, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._ffmpeg = ffmpeg
        self._download = download
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        """Make the picture again when the avatar or the name has changed.

        Raises TryLater, also after an unusable avatar was replaced by a drawn picture: one answer is not final.
        """
        order = orders.Cover.of(job)
        room_id = order.room_id
        avatar, name = await self._wanted(room_id)
        await self._make(room_id, avatar, name)
        async with self._store.read() as db:
            room = await rooms.room(db, room_id)
        if avatar is None or room is None or room.cover_of == avatar:
            return
        tries = order.tries if order.avatar == avatar else 0
        if tries < MOST_TRIES:
            async with self._store.write() as db:
                await jobs.note(db, job.id, orders.Cover(room_id, avatar, tries + 1).job(), self._clock())
            pause_s = ASK_AGAIN_AFTER.total_seconds() * 2.0**tries
            raise TryLater("the room's avatar can't be used yet", after_s=pause_s, at_most_s=AT_ONCE_S)

    async def of(self, room_id: RoomId) -> BlobKey:
        """Return the room's cover, a moderator's choice before any other; draw a picture when none was made so far."""
        async with self._store.read() as db:
            room = await rooms.room(db, room_id)
        if room is not None and room.own_cover is not None and await self._store.blobs.exists(room.own_cover):
            return room.own_cover
        if room is not None and room.cover is not None and await self._store.blobs.exists(room.cover):
            return room.cover
        _, name = await self._wanted(room_id)
        return await self._make(room_id, None, name)

    async def _wanted(self, room_id: RoomId) -> tuple[str | None, str]:
        """Return the avatar's address and the name that is drawn without one."""
        async with self._store.read() as db:
            avatar = await rooms.state(db, room_id, ROOM_AVATAR)
            name = await rooms.state(db, room_id, ROOM_NAME)
            servers = await rooms.servers(db, [room_id])
            room = await rooms.room(db, room_id)
        # The picture of a room without a name bears no user's name: it may be shown to the public.
        given = room.podcast.title if room is not None else None
        return facts.avatar(avatar), given or titles.channel_title(facts.room_name(name), None, servers)

    async def _make(self, room_id: RoomId, avatar: str | None, name: str) -> BlobKey:
        async with self._store.read() as db:
            room = await rooms.room(db, room_id)
        assert room is not None
        made_of = avatar or f"drawn: {name}"
        if room.cover is not None and room.cover_of == made_of and await self._store.blobs.exists(room.cover):
            return room.cover
        picture = await self._avatar(room_id, avatar) if avatar else None
        if picture is None:
            made_of = f"drawn: {name}"
            if room.cover is not None and room.cover_of == made_of and await self._store.blobs.exists(room.cover):
                return room.cover
            picture = await apart(drawn_cover, name, room.key)
        now = self._clock()
        async with new_blob(self._store.blobs, picture, "cover") as (new, key), self._store.write() as db:
            await new.keep(db)
            current = await rooms.room(db, room_id)
            assert current is not None
            await rooms.save_room(db, replace(current, cover=key, cover_of=made_of))
            await rooms.touch(db, room_id, now)
            if current.cover is not None and current.cover != key:
                await jobs.add(db, orders.Forget((current.cover,)).job(), now)
        return key

    async def _avatar(self, room_id: RoomId, url: str) -> bytes | None:
        """Return the avatar as a square JPEG; None when it can't be used. Raises TryLater."""
        source = MediaSource(MxcUri(url))
        picture = await fetched_picture(self._store.blobs, self._ffmpeg, self._download, source, SIDE)
        if picture is None:
            log.info("avatar can't be used, drawing a picture: room=%s", room_id)
            return None
        return await apart(fitted, picture, url)


async def fetched_picture(
    blobs: Blobs, ffmpeg: Ffmpeg, download: Download, source: MediaSource, side: int
) -> bytes | None:
    """Fetch a stranger's picture and return it as a square JPEG of at most `side` pixels; None when it can't be had or
    used. Raises TryLater."""
    part = blobs.part(f"picture-{secrets.token_hex(8)}")
    try:
        with suppress(GiveUp):
            await download(source, part, MAX_AVATAR_BYTES)
            return await safe_picture(ffmpeg, part, side)
    finally:
        await asyncio.to_thread(_remove, part)
    return None


def _remove(part: Path) -> None:
    part.unlink(missing_ok=True)
