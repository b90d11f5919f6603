"""A recording becomes an episode: joined from its ledger, listed, announced; and again when it heals."""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from bot import words
from bot.audio.encode import MadeEpisode, make_episode
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.plan import Piece, Silence, Sound
from bot.audio.tags import Chapter, EpisodeTags
from bot.feeds import addresses, titles
from bot.recording import account, chapters
from bot.recording import ledger as ledgers
from bot.recording.ledger import Ledger
from bot.recording.lengths import spoken_length
from bot.recording.model import Joined
from bot.settings import Settings
from bot.worker.fetching import Apply
from storage import archive, heirs, jobs, rooms
from storage.database import Connection
from storage.records import (
    BlobKey,
    ChunkState,
    EndedBy,
    Episode,
    Job,
    JobKind,
    NewJob,
    Recording,
    RecordingId,
    RecordingState,
    Room,
    RoomId,
    to_ms,
)
from storage.store import Store

log = logging.getLogger(__name__)

ENDED = {RecordingState.COMPLETE, RecordingState.INCOMPLETE}
KEEP_OLD_AUDIO_FOR = timedelta(hours=1)  # whoever is downloading it may end


@dataclass(frozen=True, slots=True)
class Subject:
    """What one FINISH job is about, read in one moment."""

    room: Room
    room_name: str | None
    recording: Recording
    ledger: Ledger
    episode: Episode | None
    fingerprint: str


class Finishing:
    """Handles FINISH jobs. `cover` gives a room's picture (a blob); `apply` is the recorder's."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        ffmpeg: Ffmpeg,
        *,
        cover: Callable[[RoomId], Awaitable[BlobKey]],
        apply: Apply,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._settings = settings
        self._ffmpeg = ffmpeg
        self._cover = cover
        self._apply = apply
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        subject = await self._read(RecordingId(int(job.subject)))
        if subject is None:
            return
        made: MadeEpisode | None = None
        part = self._store.blobs.part(f"episode-{job.id}")
        try:
            if subject.episode is None or subject.episode.fingerprint != subject.fingerprint:
                work = self._store.blobs.part(f"work-{job.id}")
                await asyncio.to_thread(work.mkdir, mode=0o700, exist_ok=True)
                try:
                    made = await make_episode(
                        pieces(subject.ledger, self._store),
                        part,
                        tags=await self._tags(subject),
                        bitrate_kbps=self._settings.audio.mp3_bitrate_kbps,
                        loudness_lufs=self._settings.audio.loudness_lufs,
                        ffmpeg=self._ffmpeg,
                        workdir=work,
                    )
                finally:
                    await asyncio.to_thread(self._store.blobs.clear, work)
            async with self._store.write() as db:
                await self._publish(db, subject, made, part)
        finally:
            await asyncio.to_thread(part.unlink, missing_ok=True)

    async def _read(self, recording_id: RecordingId) -> Subject | None:
        async with self._store.read() as db:
            recording = await archive.recording(db, recording_id)
            if recording is None or recording.state not in ENDED:
                return None
            room = await rooms.room(db, recording.room_id)
            assert room is not None
            name = await rooms.state(db, room.room_id, "m.room.name")
            chunks = await archive.chunks(db, recording_id)
            episode = await archive.episode(db, recording_id)
        ledger = await asyncio.to_thread(ledgers.lay_out, recording, chunks)
        if not ledger.sounds:
            return None  # the last sound was redacted before it was joined: what there was of an episode went with it
        given = name.content.get("name") if name else None
        return Subject(
            room=room,
            room_name=given if isinstance(given, str) else None,
            recording=recording,
            ledger=ledger,
            episode=episode,
            fingerprint=ledgers.fingerprint(ledger),
        )

    async def _tags(self, subject: Subject) -> EpisodeTags:
        recording, zone = subject.recording, self._settings.feeds.zone
        picture = self._store.blobs.path(await self._cover(subject.room.room_id))
        return EpisodeTags(
            title=titles.episode_title(recording, zone),
            artist=titles.speaker(recording.broadcaster_name),
            album=titles.channel_title(subject.room_name, recording.broadcaster_name),
            date=recording.started_at.astimezone(zone),
            cover=await asyncio.to_thread(picture.read_bytes),
            cover_mime="image/jpeg",
            comment=account.silences(account.loss_of(subject.ledger)),
            chapters=tuple(Chapter(mark.at, mark.title) for mark in chapters.marks(subject.ledger)),
        )

    async def _publish(self, db: Connection, subject: Subject, made: MadeEpisode | None, part: Path) -> None:
        """The row that makes the file an episode, and all that follows from it."""
        now = self._clock()
        recording = await archive.recording(db, subject.recording.id)
        if recording is None or recording.state not in ENDED:
            return  # deleted or re-opened while it was joined: its own job makes it again
        # As it is now: what was published while this was joined keeps its GUID.
        subject = replace(subject, episode=await archive.episode(db, recording.id))
        if made is None and subject.episode is None:
            await jobs.add(db, NewJob(JobKind.FINISH, str(recording.id), {}), now)
            return  # withdrawn meanwhile
        for mismatch in made.mismatches if made is not None else ():
            log.warning("a chunk sounds for another time than it should: recording=%s %s", recording.code, mismatch)
        if made is not None:
            # Inside the transaction: what forgets unreferenced blobs must not come between.
            await asyncio.to_thread(self._store.blobs.take, part, BlobKey(made.sha256))
        episode = replace(_episode(subject, made, now), loss=account.loss_of(subject.ledger))
        if episode.published_at is None:
            held_until = self._held_until(recording, subject.ledger)
            if held_until is None or held_until <= now:
                episode = replace(episode, published_at=now)
            else:
                await jobs.add(db, NewJob(JobKind.FINISH, str(recording.id), {}, held_until), now)
        old = subject.episode
        if old is not None and old.blob != episode.blob:
            redacted = any(entry.state is ChunkState.REDACTED for entry in subject.ledger.entries)
            forget_at = now if redacted else now + KEEP_OLD_AUDIO_FOR
            await jobs.add(db, NewJob(JobKind.FORGET, f"old:{old.blob}", {"blobs": [old.blob]}, forget_at), now)
        if subject.room.joined and not recording.past:
            await self._announce(db, subject, episode, now)
            episode = replace(episode, announced=True)
        await archive.save_episode(db, episode)
        await rooms.touch(db, recording.room_id, now)
        await self._apply(db, recording.id, Joined(subject.fingerprint))
        listed = "published" if episode.published_at else "held"
        log.info("%s: %.1f s recording=%s room=%s", listed, episode.samples / 48_000, recording.code, recording.room_id)

    def _held_until(self, recording: Recording, ledger: Ledger) -> datetime | None:
        """An incomplete episode that may still heal is not listed before this: apps never fetch an item again.

        From its end by our clock, from which the quiet period counts: `ended_at` is the sender's word.
        """
        if recording.state is RecordingState.COMPLETE or not may_heal(recording, ledger):
            return None
        if recording.quiet_until is None:
            return None
        held_s = self._settings.feeds.hold_incomplete_s - self._settings.recording.quiet_period_s
        return recording.quiet_until + timedelta(seconds=held_s)

    async def _announce(self, db: Connection, subject: Subject, episode: Episode, now: datetime) -> None:
        """Tells the room once, as a reply to the started event."""
        recording, room = subject.recording, subject.room
        base = self._settings.web.address
        podcast = await heirs.podcast(db, await heirs.line(db, room.room_id))
        public = recording.public and podcast.visibility == "public"
        body = words.published(
            title=titles.episode_title(recording, self._settings.feeds.zone),
            length=spoken_length(to_ms(episode.samples)),
            whole=account.whole(recording, episode.loss),
            address=addresses.episode_page(base, podcast.key, recording.code) if public else None,
            prefix=self._settings.commands.prefix,
        )
        payload = {"room_id": room.room_id, "body": body, "reply_to": recording.event_id}
        await jobs.add(db, NewJob(JobKind.NOTICE, f"published:{recording.event_id}", payload, once=True), now)


def _episode(subject: Subject, made: MadeEpisode | None, now: datetime) -> Episode:
    """The episode's row: a new one, or the old one with new audio under the same GUID."""
    if made is None:
        assert subject.episode is not None
        return subject.episode
    if subject.episode is None:
        guid = f"urn:uuid:{uuid.uuid4()}"
        blob, recording_id = BlobKey(made.sha256), subject.recording.id
        return Episode(recording_id, guid, blob, made.bytes, made.samples, now, fingerprint=subject.fingerprint)
    return replace(
        subject.episode,
        blob=BlobKey(made.sha256),
        bytes=made.bytes,
        samples=made.samples,
        made_at=now,
        fingerprint=subject.fingerprint,
    )


def may_heal(recording: Recording, ledger: Ledger) -> bool:
    """Whether what is missing may still turn up: a key, media, a chunk never seen, a client that comes back."""
    never_seen = any(entry.state is ChunkState.MISSING for entry in ledger.entries)
    return ledger.waiting or never_seen or recording.ended_by is EndedBy.ABANDONED


def pieces(ledger: Ledger, store: Store) -> list[Piece]:
    """The ledger as files and silences, in the order of the sound."""
    made: list[Piece] = []
    for entry in ledger.entries:
        if entry.sounds:
            assert entry.blob is not None
            made.append(Sound(store.blobs.path(entry.blob), entry.container, entry.continues, entry.samples))
        elif entry.samples:
            made.append(Silence(entry.samples))
    return made
