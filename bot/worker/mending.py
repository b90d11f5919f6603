"""Files that are lost or damaged, and come back: chunks from the homeserver, byte for byte; everything else is made of
them again.

No row changes. A file counts as mended when its bytes are those of its key.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import datetime

from bot import dialects, orders
from bot.dialects import studio
from bot.errors import GiveUp
from bot.recording.model import ChunkSent, VoiceMessage
from bot.settings import Settings
from bot.worker.given import Download
from bot.worker.room_history import RoomHistory
from bot.worker.tracks import forget as forget_blobs
from storage import archive, calls, jobs, originals, portraits, rooms, tracks
from storage.records import BlobKey, Chunk, Episode, Job, MediaSource, Recording
from storage.store import Store

log = logging.getLogger(__name__)


class Mending:
    """The handler of Mend orders; `room` is that of MendRoom orders."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        history: RoomHistory,
        *,
        download: Download,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._settings = settings
        self._history = history
        self._download = download
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        """Bring back what can be. Raises TryLater, and GiveUp for what can't."""
        order = orders.Mend.of(job)
        async with self._store.read() as db:
            recording = await archive.recording(db, order.recording)
            if recording is None:
                return
            chunks = await archive.chunks(db, recording.id)
            stems = await calls.stem_files(db, recording.id)
            episode = await archive.episode(db, recording.id)
            original = await originals.of(db, recording.id)
        lost = [each for each in chunks if each.blob and not await self._store.blobs.is_whole(each.blob)]
        unmended = await self._bring_back(recording, lost, job)
        unmended += len(await self._damaged(set(stems) - {chunk.blob for chunk in chunks}))
        if not unmended:
            await self._make_again(recording, episode, order)
        if original is not None:
            await self._discard([original.blob])
            async with self._store.write() as db:
                await jobs.add(db, orders.KeepOriginal(recording.id).job(), self._clock())
        if unmended:
            said = f"{unmended} files of {recording.code} can't be had any more"
            raise GiveUp(said, reason="not_mended", room=recording.room_id)

    async def room(self, job: Job) -> None:
        order = orders.MendRoom.of(job)
        async with self._store.read() as db:
            room = await rooms.room(db, order.room_id)
            shown = [each for each in await portraits.of_room(db, order.room_id) if each.blob is not None]
        damaged = await self._discard({each.blob for each in shown if each.blob is not None})
        cover = await self._discard([room.cover]) if room is not None and room.cover is not None else set()
        async with self._store.write() as db:
            if cover:
                await jobs.add(db, orders.Cover(order.room_id).job(), self._clock())
            for each in shown:
                if each.blob in damaged:
                    await jobs.add(db, orders.MakePortrait(each.room_id, each.user_id).job(), self._clock())

    async def _make_again(self, recording: Recording, episode: Episode | None, order: orders.Mend) -> None:
        """Have the episode made again where its file, or one with its frames, is lost or damaged; of a new track where
        the rows of the old one are."""
        async with self._store.read() as db:
            frames = set() if order.track else {extent.blob for extent in await tracks.extents(db, recording.id)}
        damaged = await self._discard(frames | ({episode.blob} if episode is not None else set()))
        if damaged or order.track:
            async with self._store.write() as db:
                if order.track:
                    await forget_blobs(db, await tracks.forget(db, recording.id), self._clock())
                await jobs.add(db, orders.Finish(recording.id, anew=True).job(), self._clock())

    async def _damaged(self, blobs: Iterable[BlobKey]) -> set[BlobKey]:
        return {blob for blob in blobs if not await self._store.blobs.is_whole(blob)}

    async def _discard(self, blobs: Iterable[BlobKey]) -> set[BlobKey]:
        """Remove those of these files that are damaged, so that they count as missing; return them and the missing."""
        damaged = await self._damaged(blobs)
        for blob in damaged:
            await self._store.blobs.discard(blob)
        return damaged

    async def _bring_back(self, recording: Recording, lost: Iterable[Chunk], job: Job) -> int:
        """Fetch the media of chunks again; return how many files can't be had. Raises TryLater."""
        unmended = 0
        for chunk in lost:
            part = self._store.blobs.part(f"mend-{job.id}")
            try:
                if not await self._fetch(recording, chunk, part.name):
                    unmended += 1
            except GiveUp as error:
                log.warning("chunk not brought back: %s recording=%s", error.sentence, recording.code)
                unmended += 1
            finally:
                await asyncio.to_thread(part.unlink, missing_ok=True)
        return unmended

    async def _fetch(self, recording: Recording, chunk: Chunk, name: str) -> bool:
        """Fetch the media of a chunk; return whether its bytes are those of before."""
        source = chunk.source or await self._source(recording, chunk)
        if source is None or source.blob is not None or chunk.blob is None:
            return False  # what was uploaded to us nobody else has
        part = self._store.blobs.part(name)
        fetched = await self._download(source, part, self._settings.recording.max_chunk_bytes)
        if fetched.sha256 != chunk.blob:
            return False
        await self._store.blobs.discard(chunk.blob)  # its other bytes, if any are left
        async with self._store.blobs.arriving((part, chunk.blob)) as new, self._store.write() as db:
            now = await archive.chunk(db, chunk.id)
            if now is None or now.blob != chunk.blob:
                return True  # it was removed meanwhile
            await new.keep(db)
        log.info("chunk brought back: recording=%s event=%s", recording.code, chunk.event_id)
        return True

    async def _source(self, recording: Recording, chunk: Chunk) -> MediaSource | None:
        """Read the address of a chunk's media from its event."""
        if chunk.event_id is None or chunk.stem is not None or studio.is_ours(chunk.event_id):
            return None
        heard = await self._history.event(recording.room_id, chunk.event_id)
        event = dialects.read(heard)
        return event.source if isinstance(event, ChunkSent | VoiceMessage) else None
