"""The fetching of a chunk's media: download, decryption, inspection, storage. The ledger shows every outcome.

One unusable answer does not decide on the media: it may belong to other media, be cut short, or be a proxy's error
page. So the media are requested again soon. The same answer twice decides; then the bytes are kept, and better ones are
requested for a week. A job does not inspect the same bytes twice.
"""

import asyncio
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from bot import orders, words
from bot.audio.ffmpeg import AGAIN, FIRST, Ffmpeg
from bot.audio.inspect import inspect_chunk
from bot.errors import GiveUp, LimitHit, TryLater, WrongBytes
from bot.intake import consent
from bot.language import speaking
from bot.recording.broadcast.orphans import is_candidate
from bot.recording.chunks import JUDGED, NOT_WANTED, blob_of, is_fetchable
from bot.recording.model import Answer, ChunkFailed, ChunkStored
from bot.recording.wording import told
from bot.settings import Settings
from bot.worker.given import ASK_AGAIN_AFTER, AT_ONCE_S, Apply, Download, Fetched
from bot.worker.uploaded import uploaded
from storage import archive, jobs, rooms
from storage.database import Connection
from storage.records import (
    SAMPLE_RATE,
    BlobKey,
    Chunk,
    ChunkFacts,
    ChunkState,
    Job,
    JobId,
    MediaSource,
    Recording,
    RecordingState,
    UserId,
    to_samples,
)
from storage.store import Store

log = logging.getLogger(__name__)

REFUSED = {"too_large", "too_long", "room_full"}  # these may not be kept; all other final reasons mean damage
NOT_JOINED = "not_joined"
ASK_AGAIN = {"not_found", "forbidden", NOT_JOINED}  # the media may turn up: requested again with growing pauses
ASK_AGAIN_AT_MOST = timedelta(days=1)  # the longest pause; chunks that the ledger waits for are requested without end
JUDGED_FOR = timedelta(days=7)  # after the verdict
ROOM_FULL = "room_full"
MISSED = SAMPLE_RATE // 10  # samples that a short file lacks at least; less is rounding
OVER_LIMIT = "over_limit"  # decoding took longer than allowed, perhaps because of other work
SHORT = "short"  # the file decodes, but has fewer bytes than its event says
OURS = {
    NOT_JOINED,
    ROOM_FULL,
    "bad_key",
    "bad_address",
}  # reasons of our own, on which the homeserver's answer has no influence


class Fetching:
    """The handler of Fetch orders. `download` streams a source to a file; `apply` is the recorder's."""

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
        order = orders.Fetch.of(job)
        wanted = await self._wanted(order)
        if wanted is None:
            return
        recording, chunk, allowed = wanted
        if not allowed:
            await self._refuse(recording, chunk)
            return
        part = self._store.blobs.part(f"fetch-{job.id}")
        try:
            event = await self._look_into(recording, chunk, part, first=not order.not_there)
            blob = None if is_candidate(chunk) else blob_of(event)
            files = [(part, blob)] if blob else []
            async with self._store.blobs.arriving(*files) as new, self._store.write() as db:
                await new.keep(db)
                await self._apply(db, recording.id, event)
                now = await archive.recording(db, recording.id)
                if isinstance(event, ChunkStored) and now is not None and now.state.is_open:
                    await jobs.add(db, orders.Encode(recording.id).job(), self._clock())
                if isinstance(event, ChunkFailed) and event.reason == ROOM_FULL:
                    await self._tell_room(db, recording)
        finally:
            await asyncio.to_thread(part.unlink, missing_ok=True)
        where = f"recording={recording.code} room={recording.room_id} event={chunk.event_id}"
        if isinstance(event, ChunkStored):
            what = "voice message inspected" if is_candidate(chunk) else "chunk stored"
            log.info("%s: %.1f s %s", what, event.facts.samples / SAMPLE_RATE, where)
            return
        _, after, _ = await self._wanted(order) or (None, None, False)
        if after is None or (after.state, after.reason) != (chunk.state, chunk.reason):
            log.info("chunk not stored: reason=%s %s", event.reason, where)
        if after is not None and (pause_s := await self._pause_after_no(job.id, order, after)) is not None:
            raise TryLater("the media can't be used yet", after_s=pause_s, at_most_s=AT_ONCE_S)

    async def _look_into(
        self, recording: Recording, chunk: Chunk, part: Path, *, first: bool
    ) -> ChunkStored | ChunkFailed:
        """Download the chunk to `part` and inspect it; bytes that came before only in the `first` try of a job.

        Raises TryLater.
        """
        assert chunk.source is not None
        fetched: Fetched | None = None
        try:
            await self._refuse_when_out_or_full(recording)
            looks = first or chunk.state not in JUDGED
            if looks and (chunk.answer or "").startswith(OVER_LIMIT) and self._ffmpeg.retrying:
                raise TryLater("another chunk is tried again", after_s=ASK_AGAIN_AFTER.total_seconds())
            fetched = await self._get(chunk.source, part)
            last = _known(chunk, fetched)
            known = None if first else last
            again = looks and last == OVER_LIMIT  # the chunk's row records the first hit, even if its job has ended
            if known is not None and known != SHORT and not again:
                return _failed(chunk, known, fetched)
            max_seconds = self._settings.recording.max_broadcast_s
            facts = await inspect_chunk(part, self._ffmpeg, max_seconds=max_seconds, tries=AGAIN if again else FIRST)
        except LimitHit:
            return _failed(chunk, OVER_LIMIT, fetched)
        except WrongBytes as error:
            return _failed(chunk, error.reason, error)
        except GiveUp as error:
            return _failed(chunk, error.reason, fetched)
        if known is None and _is_short(chunk, fetched, facts):
            return _failed(chunk, SHORT, fetched)
        return ChunkStored(chunk.id, BlobKey(fetched.sha256), fetched.bytes, facts)

    async def _get(self, source: MediaSource, part: Path) -> Fetched:
        """Bring media to `part`: from the homeserver, or what was uploaded to us. Raises TryLater, GiveUp."""
        if source.blob is None:
            return await self._download(source, part, self._settings.recording.max_chunk_bytes)
        return await uploaded(self._store, source.blob, part)

    async def _wanted(self, order: orders.Fetch) -> tuple[Recording, Chunk, bool] | None:
        """Return what is to be fetched, and whether its speaker may be recorded."""
        async with self._store.read() as db:
            recording = await archive.recording(db, order.recording)
            chunk = await archive.chunk(db, order.chunk_id)
            if recording is None or chunk is None or not _is_wanted(recording, chunk):
                return None
            return recording, chunk, await consent.may_fetch(db, recording, chunk)

    async def _refuse(self, recording: Recording, chunk: Chunk) -> None:
        """Give a chunk up: its speaker may not be recorded."""
        async with self._store.write() as db:
            await self._apply(db, recording.id, ChunkFailed(chunk.id, ChunkState.REFUSED, NOT_WANTED))
        log.info("chunk not fetched: not wanted: recording=%s room=%s", recording.code, recording.room_id)

    async def _pause_after_no(self, job_id: JobId, order: orders.Fetch, chunk: Chunk) -> float | None:
        """Return the seconds until the next request, doubled with each unusable answer; None when a chunk was judged
        long enough ago. Tries that reached no homeserver don't count: after an outage one such answer would mean
        hours."""
        now = self._clock()
        progress = replace(order, not_there=order.not_there + 1)
        if chunk.state in JUDGED:
            judged_at = order.judged_at or now
            if now - judged_at >= JUDGED_FOR:
                return None
            progress = replace(progress, judged_at=judged_at)
        async with self._store.write() as db:
            await jobs.note(db, job_id, progress.job(), now)
        return min(ASK_AGAIN_AT_MOST, ASK_AGAIN_AFTER * 2.0 ** min(order.not_there, 16)).total_seconds()

    async def _refuse_when_out_or_full(self, recording: Recording) -> None:
        """Raise GiveUp if the bot was removed from the room, whose media are not fetched until it is invited again, or
        if the room has used up its space; TryLater if the disk has too little left."""
        async with self._store.read() as db:
            room = await rooms.room(db, recording.room_id)
            used = await archive.bytes_of_room(db, recording.room_id)
        if room is None or not room.joined:
            raise GiveUp("the bot is not in the room", reason=NOT_JOINED, room=recording.room_id)
        free = await asyncio.to_thread(lambda: shutil.disk_usage(self._store.directory).free)
        if free < self._settings.storage.min_free_bytes:
            await self._tell_admins(free)
            raise TryLater("too little disk space is left", after_s=60)
        if used > self._settings.storage.max_bytes_per_room:
            raise GiveUp("the room has used up its space", reason=ROOM_FULL, room=recording.room_id)

    async def _tell_room(self, db: Connection, recording: Recording) -> None:
        """Tell the room that its space is used up, once in each broadcast."""
        with speaking(await rooms.language(db, recording.room_id)):
            notice = orders.Notice.on(recording, ROOM_FULL, told(recording, ROOM_FULL))
        await jobs.add(db, notice.job(), self._clock())

    async def _tell_admins(self, free: int) -> None:
        """Tell each admin once a day, in their direct chat, that the disk is almost full."""
        now = self._clock()
        wanted = self._settings.storage.min_free_bytes
        body = words.disk_full(free_mib=free // 1024**2, wanted_mib=wanted // 1024**2)
        log.error("too little disk space is left (%d bytes free): new media are not fetched", free)
        async with self._store.write() as db:
            for admin in self._settings.matrix.admins:
                await jobs.add(db, orders.Direct.disk_full(UserId(admin), now, body).job(), now)


def _is_wanted(recording: Recording, chunk: Chunk) -> bool:
    if recording.state is RecordingState.DELETED or chunk.recording_id != recording.id:
        return False  # one that moved has an order of its own
    unknown = is_candidate(chunk) and chunk.facts is None
    return (unknown or is_fetchable(chunk)) and chunk.source is not None


def _failed(chunk: Chunk, reason: str, fetched: Fetched | None) -> ChunkFailed:
    """Build the failure of a chunk, with the bytes that came, if any did and they may be kept."""
    answer: Answer | None = None
    if fetched is None:
        answer = None if reason in OURS else Answer(reason)
    elif is_candidate(chunk) or not fetched.bytes:
        answer = Answer(_digest(reason, fetched))
    else:
        answer = Answer(_digest(reason, fetched), BlobKey(fetched.sha256), fetched.bytes)
    return ChunkFailed(chunk.id, _state_for(reason), reason, answer)


def _digest(reason: str, fetched: Fetched) -> str:
    return f"{reason}:{fetched.sha256}"


def _known(chunk: Chunk, fetched: Fetched) -> str | None:
    """Return the reason why the same bytes could not be used last time; None for other bytes."""
    reason, _, sha256 = (chunk.answer or "").rpartition(":")
    return reason if reason and sha256 == fetched.sha256 else None


def _is_short(chunk: Chunk, fetched: Fetched, facts: ChunkFacts) -> bool:
    """Return whether a file has fewer bytes and less sound than its event says. Without a hash this is the only sign
    that it was cut between two pages. The sender may be wrong, so it decides nothing."""
    hashed = chunk.source is not None and chunk.source.file is not None
    if hashed or chunk.state is not ChunkState.WAITING_FOR_MEDIA or fetched.bytes >= (chunk.announced_bytes or 0):
        return False
    if facts.ogg and facts.ogg.eos:  # the end of the stream is present; Element Web announces too great a length
        return False
    counted = facts.ogg.packet_samples if facts.ogg else facts.samples
    return chunk.announced_ms is None or to_samples(chunk.announced_ms) - counted > MISSED


def _state_for(reason: str) -> ChunkState:
    if reason in ASK_AGAIN or reason == SHORT:
        return ChunkState.WAITING_FOR_MEDIA
    return ChunkState.REFUSED if reason in REFUSED else ChunkState.DAMAGED
