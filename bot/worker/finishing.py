"""A recording becomes an episode: joined from its ledger, listed, announced; and again when it heals."""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from io import FileIO
from pathlib import Path

from bot import facts, orders, words
from bot.audio.episode import MadeEpisode, Stretch, put_together
from bot.audio.grid import byte_range
from bot.audio.plan import Piece, Sound
from bot.audio.tags import EpisodeTags
from bot.errors import GiveUp
from bot.feeds import addresses, titles
from bot.feeds.text import clean_line
from bot.recording import account
from bot.recording.kinds import kind_of, lay_out
from bot.recording.ledger import Ledger, fingerprint
from bot.recording.lengths import spoken_length
from bot.recording.model import Joined
from bot.settings import Settings
from bot.worker import tracks as stored_tracks
from bot.worker.fetching import Apply
from bot.worker.pieces import channels_of, pieces_of
from bot.worker.stored_track import StoredTrack
from bot.worker.tracks import Tracks
from storage import archive, heirs, jobs, rooms, tracks
from storage.blobs import Blobs
from storage.database import Connection
from storage.records import (
    BlobKey,
    Chunk,
    ChunkState,
    EndedBy,
    Episode,
    Extent,
    Job,
    Mark,
    Recording,
    RecordingId,
    RecordingState,
    Room,
    RoomId,
    to_ms,
)
from storage.store import Store

log = logging.getLogger(__name__)

KEEP_OLD_AUDIO_FOR = timedelta(hours=1)  # whoever is downloading it may end


@dataclass(frozen=True, slots=True)
class Subject:
    """What one Finish order is about, read in one moment."""

    room: Room
    room_name: str | None
    recording: Recording
    ledger: Ledger
    episode: Episode | None
    fingerprint: str
    channels: int
    chapters: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """A file that may become the episode, and the track that it was made of."""

    file: MadeEpisode
    whole: StoredTrack


class Finishing:
    """Handles Finish orders. `cover` gives a room's picture (a blob); `apply` is the recorder's."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        tracks: Tracks,
        *,
        cover: Callable[[RoomId], Awaitable[BlobKey]],
        apply: Apply,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._settings = settings
        self._tracks = tracks
        self._cover = cover
        self._apply = apply
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        order = orders.Finish.of(job)
        recording_id = order.recording
        async with self._tracks.alone(recording_id):
            subject = await self._read(recording_id)
            if subject is None:
                return
            made: Made | None = None
            part = self._store.blobs.part(f"episode-{job.id}")
            try:
                if order.anew or not _is_made(subject):
                    made = await self._make(subject, part, anew=order.anew)
                async with self._store.write() as db:
                    await self._publish(db, subject, made, part)
            finally:
                await asyncio.to_thread(part.unlink, missing_ok=True)

    async def _make(self, subject: Subject, part: Path, *, anew: bool) -> Made:
        """The episode's file: frames that are there, those that are not, and the last ones."""
        recording, blobs = subject.recording, self._store.blobs
        pieces = list(pieces_of(subject.ledger.entries))
        if anew:
            await asyncio.to_thread(_refuse_damaged, blobs, pieces)
            await self._tracks.drop_frames(recording.id)
        whole = await self._tracks.advance(recording, pieces, subject.channels)
        last = blobs.part(f"last-{recording.id}")
        try:
            end = await self._tracks.last_frames(recording.id, whole, pieces, last)
            made_before = (byte_range(extent, whole.form) for extent in whole.extents)
            frames = [
                *(Stretch(partial(blobs.open, place.blob), place.offset, place.bytes) for place in made_before),
                Stretch(partial(FileIO, last), 0, end.bytes),
            ]
            tags = await self._tags(subject)
            made = await asyncio.to_thread(
                put_together,
                frames,
                part,
                samples=subject.ledger.samples,
                form=whole.form,
                tags=tags,
            )
        finally:
            await asyncio.to_thread(last.unlink, missing_ok=True)
        return Made(made, whole)

    async def _read(self, recording_id: RecordingId) -> Subject | None:
        async with self._store.read() as db:
            recording = await archive.recording(db, recording_id)
            if recording is None or not recording.state.may_have_episode:
                return None
            room = await rooms.room(db, recording.room_id)
            assert room is not None
            name = await rooms.state(db, room.room_id, "m.room.name")
            servers = await rooms.servers(db, [room.room_id])
            chunks = await archive.chunks(db, recording_id)
            episode = await archive.episode(db, recording_id)
        ledger = await asyncio.to_thread(lay_out, recording, chunks)
        if not ledger.sounds:
            return None  # the last sound was redacted before it was joined: what there was of an episode went with it
        room_name = facts.room_name(name)
        marks = await asyncio.to_thread(_chapters, recording, ledger, chunks)
        return Subject(
            room=room,
            room_name=None if room_name is None else clean_line(room_name, servers=servers),
            recording=recording,
            ledger=ledger,
            episode=episode,
            fingerprint=fingerprint(ledger),
            channels=channels_of(ledger.entries, chunks),
            chapters=marks,
        )

    async def _tags(self, subject: Subject) -> EpisodeTags:
        recording, zone = subject.recording, self._settings.feeds.zone
        cover = await self._cover(subject.room.room_id)
        return EpisodeTags(
            title=titles.episode_title(recording, zone),
            artist=titles.speaker(recording.broadcaster_name),
            album=titles.channel_title(subject.room_name, recording.broadcaster_name),
            date=recording.started_at.astimezone(zone),
            cover=await asyncio.to_thread(self._store.blobs.read, cover),
            cover_mime="image/jpeg",
            comment=account.comment(account.loss_of(subject.ledger)),
            chapters=subject.chapters,
        )

    async def _publish(self, db: Connection, subject: Subject, made: Made | None, part: Path) -> None:
        """The row that makes the file an episode, and all that follows from it."""
        now = self._clock()
        recording = await archive.recording(db, subject.recording.id)
        if recording is None or not recording.state.may_have_episode:
            return  # deleted or re-opened while it was joined: its own job makes it again
        # As it is now: what was published while this was joined keeps its GUID.
        subject = replace(subject, episode=await archive.episode(db, recording.id))
        if made is None and subject.episode is None:
            await jobs.add(db, orders.Finish(recording.id).job(), now)
            return  # withdrawn meanwhile
        if made is not None:
            # Inside the transaction: what forgets unreferenced blobs must not come between.
            await asyncio.to_thread(self._store.blobs.add, part, BlobKey(made.file.sha256))
            await self._move_into(db, recording, made, subject.episode, now)
        file = made.file if made is not None else None
        episode = replace(_episode(subject, file, now), loss=account.loss_of(subject.ledger))
        if episode.published_at is None:
            held_until = self._held_until(recording, subject.ledger)
            if held_until is None or held_until <= now:
                episode = replace(episode, published_at=now)
            else:
                await jobs.add(db, orders.Finish(recording.id).job(held_until), now)
        old = subject.episode
        if old is not None and old.blob != episode.blob:
            redacted = any(entry.state is ChunkState.REDACTED for entry in subject.ledger.entries)
            forget_at = now if redacted else now + KEEP_OLD_AUDIO_FOR
            await jobs.add(db, orders.Forget((old.blob,)).job(forget_at), now)
        if subject.room.joined and not recording.past:
            await self._announce(db, subject, episode, now)
            episode = replace(episode, announced=True)
        await archive.save_episode(db, episode)
        await rooms.touch(db, recording.room_id, now)
        await self._apply(db, recording.id, Joined(subject.fingerprint))
        listed = "published" if episode.published_at else "held"
        log.info("%s: %.1f s recording=%s room=%s", listed, episode.samples / 48_000, recording.code, recording.room_id)

    async def _move_into(
        self, db: Connection, recording: Recording, made: Made, old: Episode | None, now: datetime
    ) -> None:
        """From now on the track's frames are those in the episode's file: there is no second copy of them. The old
        file has its own time."""
        place = Extent(0, made.whole.frames, BlobKey(made.file.sha256), made.file.head)
        gone = await tracks.replace_extents(db, recording.id, [place] if place.frames else [])
        await stored_tracks.forget(db, gone - {old.blob if old else None}, now)

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
            address=addresses.public_shelf(base, podcast.key).episode(recording.code) if public else None,
            prefix=self._settings.commands.prefix,
        )
        topic = orders.episode_published(recording.event_id)
        notice = orders.Notice(topic, room.room_id, body, reply_to=recording.event_id)
        await jobs.add(db, notice.job(), now)


def _refuse_damaged(blobs: Blobs, pieces: Iterable[Piece]) -> None:
    """Raises GiveUp when a chunk's file is not what was stored: the episode that is there is better than the one that
    would be made. Blocking."""
    chunks = [piece.blob for piece in pieces if isinstance(piece, Sound)]
    damaged = [chunk for chunk in chunks if not blobs.is_whole(chunk)]
    if damaged:
        which = "a chunk is" if len(damaged) == 1 else f"{len(damaged)} chunks are"
        told = f"{which} not on the disk as stored, see {blobs.relative(damaged[0])}"
        raise GiveUp(told, reason="damaged")


def _is_made(subject: Subject) -> bool:
    """The file that is there has this sound, this title and these chapters."""
    episode = subject.episode
    if episode is None or episode.fingerprint != subject.fingerprint:
        return False
    return (episode.titled, episode.chapters) == (subject.recording.title, subject.chapters)


def _chapters(recording: Recording, ledger: Ledger, chunks: Sequence[Chunk]) -> tuple[Mark, ...]:
    return kind_of(recording).chapters(recording, chunks, ledger, titles.given_title(recording))


def _episode(subject: Subject, made: MadeEpisode | None, now: datetime) -> Episode:
    """The episode's row: a new one, or the old one with new audio under the same GUID."""
    if made is None:
        assert subject.episode is not None
        return subject.episode
    if subject.episode is None:
        # Made of the event's id, so that a broadcast found again, as after a restored backup, is no second episode.
        guid = uuid.uuid5(uuid.NAMESPACE_URL, f"matrix:{subject.recording.event_id}").urn
        blob, recording_id = BlobKey(made.sha256), subject.recording.id
        episode = Episode(recording_id, guid, blob, made.bytes, made.samples, now)
    else:
        episode = subject.episode
    return replace(
        episode,
        blob=BlobKey(made.sha256),
        bytes=made.bytes,
        samples=made.samples,
        made_at=now,
        fingerprint=subject.fingerprint,
        chapters=subject.chapters,
        titled=subject.recording.title,
    )


def may_heal(recording: Recording, ledger: Ledger) -> bool:
    """Whether what is missing may still turn up: a key, media, a chunk never seen, a client that comes back."""
    never_seen = any(entry.state is ChunkState.MISSING for entry in ledger.entries)
    return ledger.waiting or never_seen or recording.ended_by is EndedBy.ABANDONED
