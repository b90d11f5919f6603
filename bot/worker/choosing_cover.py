"""The choice of a podcast's cover: a picture that somebody posted in the room, fetched and made safe."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from bot import orders, topics, words
from bot.audio.ffmpeg import Ffmpeg
from bot.dialects.fields import answers_for, sender_of
from bot.dialects.pictures import picture
from bot.errors import GiveUp
from bot.intake import own_cover, redacting
from bot.intake.naming import name_of
from bot.language import speaking
from bot.pictures.avatar import MAX_AVATAR_BYTES
from bot.pictures.cover import SIDE, fitted
from bot.pictures.one_at_a_time import apart
from bot.worker.covering import fetched_picture
from bot.worker.given import Download
from bot.worker.room_history import RoomHistory
from storage import jobs, rooms
from storage.blobs.new import new_blob
from storage.database import Connection
from storage.records import BlobKey, Job, MediaSource, UserId
from storage.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Posted:
    """A picture that somebody posted."""

    source: MediaSource
    sender: UserId


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
        posted = await self._posted(order)
        square = await self._square(posted.source) if posted is not None else None
        if posted is None or square is None:
            async with self._store.write() as db:
                await self._say(db, order, posted=posted is not None)
            return
        async with new_blob(self._store.blobs, square, "cover") as (new, key), self._store.write() as db:
            # It may have been redacted while it was fetched.
            if await redacting.redacted_by(db, order.said_in, order.picture, posted.sender) is not None:
                await self._say(db, order, posted=False)
            elif await self._say(db, order, posted=True, chosen=True):
                await new.keep(db)
                await self._choose(db, order, key, posted.sender)

    async def _square(self, source: MediaSource) -> bytes | None:
        picture = await fetched_picture(self._store.blobs, self._ffmpeg, self._download, source, SIDE)
        return await apart(fitted, picture, source.mxc) if picture is not None else None

    async def _posted(self, order: orders.ChooseCover) -> _Posted | None:
        """Return the picture of the message; None where it has none that counts. In an encrypted room only an encrypted
        message does: the homeserver must not choose."""
        try:
            heard = await self._history.event(order.said_in, order.picture)
        except GiveUp:
            return None
        async with self._store.read() as db:
            room = await rooms.room(db, order.said_in)
        if not answers_for(heard, order.said_in, order.picture) or room is None or room.encrypted > heard.encrypted:
            return None
        source, sender = picture(heard), sender_of(heard.event)
        return _Posted(source, sender) if source is not None and sender is not None else None

    async def _say(self, db: Connection, order: orders.ChooseCover, *, posted: bool, chosen: bool = False) -> bool:
        """Answer the command; return False where it was answered before, or its room is gone."""
        room = await rooms.room(db, order.room_id)
        if room is None:
            return False
        who = await name_of(db, room.room_id, order.asker)
        with speaking(room.language):
            if chosen:
                body = words.cover_chosen(who=who)
            else:
                body = words.no_cover(posted=posted, most_mb=MAX_AVATAR_BYTES // 1024 // 1024)
        topic = topics.cover_answered(order.command)
        notice = orders.Notice(topic, order.said_in, body, reply_to=order.command, thread=order.thread)
        return await jobs.add(db, notice.job(), self._clock())

    async def _choose(self, db: Connection, order: orders.ChooseCover, key: BlobKey, sender: UserId) -> None:
        room = await rooms.room(db, order.room_id)
        assert room is not None, "it was answered"
        covered = replace(
            room,
            own_cover=key,
            own_cover_event=order.picture,
            own_cover_room=order.said_in,
            own_cover_sender=sender,
        )
        await own_cover.change(db, room, covered, self._clock(), by=order.asker, said=order.command)
        log.info("cover chosen: room=%s", room.room_id)
