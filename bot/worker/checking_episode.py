"""The care for episodes whose files are gone or cut: they leave the feed, are made again, and people are told."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from bot import orders, topics, words
from bot.feeds import titles
from bot.language import speaking
from bot.recording.kinds import lay_out
from bot.settings import Settings
from bot.worker.finishing import blobs_of
from bot.worker.pieces import pieces_of
from storage import archive, jobs, rooms
from storage.database import Connection
from storage.records import Episode, Job, Recording, UserId
from storage.store import Store

log = logging.getLogger(__name__)


class CheckingEpisode:
    """The handler of CheckEpisode orders."""

    def __init__(self, store: Store, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        recording_id = orders.CheckEpisode.of(job).recording
        async with self._store.read() as db:
            recording = await archive.recording(db, recording_id)
            episode = await archive.episode(db, recording_id)
        if recording is None or episode is None:
            return
        size = await self._store.blobs.size(episode.blob)
        if size == episode.bytes and episode.lost_at is None:
            return
        damaged = 0
        if size != episode.bytes:
            damaged = await self._damaged_chunks(recording)
            # The look at the chunks takes long, and no transaction waits for a media store.
            if await self._store.blobs.size(episode.blob) != size:
                return  # made again meanwhile
        async with self._store.write() as db:
            if await archive.episode(db, recording_id) != episode:
                return  # published again meanwhile
            if size == episode.bytes:
                await self._list_again(db, recording, episode)
            else:
                await self._take_out(db, recording, episode, damaged)

    async def _damaged_chunks(self, recording: Recording) -> int:
        """Count the chunks from which the episode can't be made again, since their own files are gone or changed."""
        async with self._store.read() as db:
            chunks = await archive.chunks(db, recording.id)
        ledger = await asyncio.to_thread(lay_out, recording, chunks)
        stored = await asyncio.to_thread(lambda: blobs_of(pieces_of(ledger.entries)))
        return sum([not await self._store.blobs.is_whole(blob) for blob in stored])

    async def _list_again(self, db: Connection, recording: Recording, episode: Episode) -> None:
        """List an episode whose file came back, as from a backup."""
        await archive.save_episode(db, replace(episode, lost_at=None))
        await rooms.touch(db, recording.room_id, self._clock())
        log.info("the audio is there again: recording=%s", recording.code)

    async def _take_out(self, db: Connection, recording: Recording, episode: Episode, damaged: int) -> None:
        """List the episode nowhere, have it made again where its chunks allow that, and tell the room and the
        admins."""
        now, first = self._clock(), episode.lost_at is None
        lost = replace(episode, lost_at=episode.lost_at or now)
        await archive.save_episode(db, lost)
        if not damaged:
            await jobs.add(db, orders.Finish(recording.id).job(), now)
        if first:
            await rooms.touch(db, recording.room_id, now)
            log.error("the audio is gone or cut, with %d of its chunks: recording=%s", damaged, recording.code)
            await self._tell(db, recording, lost, damaged)

    async def _tell(self, db: Connection, recording: Recording, episode: Episode, damaged: int) -> None:
        """Tell the room and each admin, once a day each: `status` and the log name all that are lost."""
        now, room = self._clock(), await rooms.room(db, recording.room_id)
        for admin in self._settings.matrix.admins:
            order = orders.Direct.files_lost(UserId(admin), now, words.files_lost(code=recording.code))
            await jobs.add(db, order.job(), now)
        if room is None or not room.joined:
            return
        with speaking(room.language):
            title = titles.credited_title(recording, self._settings.feeds.zone)
            body = words.file_lost(title=title, damaged=damaged, prefix=self._settings.commands.prefix)
        notice = orders.Notice(topics.file_lost(room.room_id, now), room.room_id, body, reply_to=recording.event_id)
        await jobs.add(db, notice.job(), now)
