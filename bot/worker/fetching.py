"""A chunk's media: downloaded, decrypted, looked into, stored; every outcome stands in the ledger."""

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from bot import words
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.inspect import inspect_chunk
from bot.errors import GiveUp, TryLater
from bot.recording.model import ChunkFailed, ChunkStored, RecordingEvent
from bot.recording.orphans import is_candidate
from bot.settings import Settings
from storage import archive, jobs, rooms
from storage.database import Connection
from storage.records import (
    SAMPLE_RATE,
    BlobKey,
    Chunk,
    ChunkState,
    EventId,
    Job,
    JobKind,
    MediaSource,
    NewJob,
    Recording,
    RecordingId,
    RecordingState,
)
from storage.store import Store

log = logging.getLogger(__name__)

REFUSED = {"too_large", "too_long", "room_full"}  # not ours to keep; all other final reasons mean damage
NOT_JOINED = "not_joined"
ASK_AGAIN = {"not_found", "forbidden", NOT_JOINED}  # it may turn up: asked for again with growing pauses
ASK_AGAIN_AFTER = timedelta(minutes=1)
ASK_AGAIN_AT_MOST = timedelta(days=1)  # and for ever: it is what the ledger waits for
ANSWERS = "not_there"  # in the job's payload: how often the homeserver said so
ROOM_FULL = "room_full"


class Fetched(Protocol):
    """What a download gave: size and SHA-256 (lower-case hex) of the decrypted bytes."""

    @property
    def bytes(self) -> int: ...

    @property
    def sha256(self) -> str: ...


Download = Callable[[MediaSource, Path, int], Awaitable[Fetched]]
Apply = Callable[[Connection, RecordingId, RecordingEvent], Awaitable[None]]


class Fetching:
    """Handles FETCH jobs. `download` streams a source to a file; `apply` is the recorder's."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        ffmpeg: Ffmpeg,
        *,
        download: Download,
        apply: Apply,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._settings = settings
        self._ffmpeg = ffmpeg
        self._download = download
        self._apply = apply
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        found = await self._wanted(job)
        if found is None:
            return
        recording, chunk = found
        part = self._store.blobs.part(f"fetch-{job.id}")
        try:
            event = await self._look_into(recording, chunk, part)
            async with self._store.write() as db:
                # Inside the transaction: what forgets unreferenced blobs must not come between.
                if isinstance(event, ChunkStored) and not is_candidate(chunk):
                    await asyncio.to_thread(self._store.blobs.take, part, event.blob)
                await self._apply(db, recording.id, event)
                now = await archive.recording(db, recording.id)
                if isinstance(event, ChunkStored) and now is not None and now.state in archive.OPEN:
                    await jobs.add(db, NewJob(JobKind.ENCODE, str(recording.id), {}), self._clock())
                if isinstance(event, ChunkFailed) and event.reason == ROOM_FULL:
                    await self._tell_room(db, recording)
        finally:
            await asyncio.to_thread(part.unlink, missing_ok=True)
        where = f"recording={recording.code} room={recording.room_id} event={chunk.event_id}"
        if isinstance(event, ChunkStored):
            what = "a voice message was looked into" if is_candidate(chunk) else "chunk stored"
            log.info("%s: %.1f s %s", what, event.facts.samples / SAMPLE_RATE, where)
            return
        log.info("chunk not stored: reason=%s %s", event.reason, where)
        if event.state is ChunkState.WAITING_FOR_MEDIA and await self._wanted(job) is not None:
            raise TryLater("the media is not there so far", after_s=await self._pause_after_no(job))

    async def _look_into(self, recording: Recording, chunk: Chunk, part: Path) -> ChunkStored | ChunkFailed:
        """Downloads the chunk to `part` and says what it is. Raises TryLater."""
        assert chunk.source is not None
        try:
            await self._refuse_when_out(recording)
            await self._refuse_when_full(recording)
            fetched = await self._download(chunk.source, part, self._settings.recording.max_chunk_bytes)
            max_seconds = self._settings.recording.max_broadcast_s
            facts = await inspect_chunk(part, self._ffmpeg, max_seconds=max_seconds)
        except GiveUp as error:
            return ChunkFailed(chunk.event_id, _state_for(error.reason), error.reason)
        return ChunkStored(chunk.event_id, BlobKey(fetched.sha256), fetched.bytes, facts)

    async def _wanted(self, job: Job) -> tuple[Recording, Chunk] | None:
        async with self._store.read() as db:
            recording = await archive.recording(db, RecordingId(job.payload["recording"]))
            chunk = await archive.chunk(db, EventId(job.subject))
        if recording is None or chunk is None or recording.state is RecordingState.DELETED:
            return None
        unknown = is_candidate(chunk) and chunk.facts is None
        wanted = (unknown or chunk.state is ChunkState.WAITING_FOR_MEDIA) and chunk.source is not None
        return (recording, chunk) if wanted else None

    async def _pause_after_no(self, job: Job) -> float:
        """Seconds, doubled with each answer that the media is not there. Tries that found no homeserver don't count:
        after an outage one such answer would mean hours."""
        answers = int(job.payload.get(ANSWERS, 0))
        async with self._store.write() as db:
            await jobs.note(db, job.id, {**job.payload, ANSWERS: answers + 1}, self._clock())
        return min(ASK_AGAIN_AT_MOST, ASK_AGAIN_AFTER * 2.0 ** min(answers, 16)).total_seconds()

    async def _refuse_when_out(self, recording: Recording) -> None:
        """Raises GiveUp: who was thrown out of a room has no business with its media, until they are asked back."""
        async with self._store.read() as db:
            room = await rooms.room(db, recording.room_id)
        if room is None or not room.joined:
            raise GiveUp("the bot is not in the room", reason=NOT_JOINED, room=recording.room_id)

    async def _refuse_when_full(self, recording: Recording) -> None:
        """Raises TryLater when the disk has too little room left, GiveUp when the room has used up its own."""
        free = await asyncio.to_thread(lambda: shutil.disk_usage(self._store.directory).free)
        if free < self._settings.storage.min_free_bytes:
            await self._tell_admins(free)
            raise TryLater("too little disk space is left", after_s=60)
        async with self._store.read() as db:
            used = await archive.bytes_of_room(db, recording.room_id)
        if used > self._settings.storage.max_bytes_per_room:
            raise GiveUp("the room has used up its space", reason=ROOM_FULL, room=recording.room_id)

    async def _tell_room(self, db: Connection, recording: Recording) -> None:
        """Once in each broadcast that meets the limit."""
        payload = {"room_id": recording.room_id, "body": words.TOLD[ROOM_FULL], "reply_to": recording.event_id}
        told = NewJob(JobKind.NOTICE, f"tell:{ROOM_FULL}:{recording.event_id}", payload, once=True)
        await jobs.add(db, told, self._clock())

    async def _tell_admins(self, free: int) -> None:
        """Each admin once a day, in their direct chat."""
        now = self._clock()
        body = (
            f"Aircheck's disk has only {free // 1024**2} MiB left (storage.min_free_bytes is "
            f"{self._settings.storage.min_free_bytes // 1024**2} MiB). Nothing new is fetched until there is more."
        )
        log.error("too little disk space is left (%d bytes free): nothing new is fetched", free)
        async with self._store.write() as db:
            for admin in self._settings.matrix.admins:
                subject = f"{admin}|disk|{now:%Y-%m-%d}"
                payload = {"user_id": admin, "body": body}
                await jobs.add(db, NewJob(JobKind.DIRECT, subject, payload, once=True), now)


def _state_for(reason: str) -> ChunkState:
    if reason in ASK_AGAIN:
        return ChunkState.WAITING_FOR_MEDIA
    return ChunkState.REFUSED if reason in REFUSED else ChunkState.DAMAGED
