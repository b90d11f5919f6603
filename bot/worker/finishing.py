"""The making of episodes: a recording is joined from its ledger and published, and joined again when it heals."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from io import DEFAULT_BUFFER_SIZE, BytesIO
from itertools import starmap
from pathlib import Path

from bot import facts, orders
from bot.audio.episode import Stretch, place_of_sound, put_together
from bot.audio.grid import byte_range
from bot.audio.mix import speech_in
from bot.audio.plan import Mix, Piece, Silence
from bot.audio.tags import MOST_COVER, EpisodeTags
from bot.errors import GiveUp
from bot.event_types import ROOM_NAME
from bot.feeds import titles
from bot.feeds.text import clean_line
from bot.language import speaking
from bot.pictures.one_at_a_time import apart
from bot.pictures.sizes import small
from bot.recording import account
from bot.recording.kind import BREATH, Speech
from bot.recording.kinds import kind_of, lay_out
from bot.recording.ledger import Ledger, fingerprint
from bot.settings import Settings
from bot.worker.given import Apply
from bot.worker.pieces import channels_of, pieces_of
from bot.worker.publishing import Made, Publishing, Subject, names_in_file
from bot.worker.stored_track import StoredTrack
from bot.worker.tracks import Tracks
from storage import archive, heirs, rooms
from storage.blobs.door import Blobs
from storage.records import (
    BlobKey,
    Chunk,
    Cut,
    Episode,
    Job,
    Mark,
    Recording,
    RecordingId,
    RoomId,
)
from storage.store import Store

log = logging.getLogger(__name__)

COVER_SIDE = 600
"""Pixels of the picture in a tag."""
MOST_PICTURES = 32
"""Pictures that are kept in memory, of 96 KiB each at most."""


class Finishing:
    """The handler of Finish orders. `cover` gives a room's picture (a blob); `apply` is the recorder's."""

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
        self._publishing = Publishing(store, settings, apply)
        self._clock = clock
        self._pictures: dict[BlobKey, bytes] = {}

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
                anew = order.anew or await self._is_lost(subject.episode)
                if anew or not _is_made(subject):
                    subject, made = await self._make(subject, part, anew=anew)
                files = [(part, BlobKey(made.file.sha256))] if made is not None else []
                async with self._store.blobs.arriving(*files) as new, self._store.write() as db:
                    await self._publishing.publish(db, subject, made, new, self._clock())
            finally:
                await asyncio.to_thread(part.unlink, missing_ok=True)

    async def _is_lost(self, episode: Episode | None) -> bool:
        """Return whether the file of an episode, which holds its frames, is gone or has another length, or was found so
        and its episode is listed nowhere since."""
        if episode is None or episode.lost_at is not None:
            return episode is not None
        return await self._store.blobs.size(episode.blob) != episode.bytes

    async def _make(self, subject: Subject, part: Path, *, anew: bool) -> tuple[Subject, Made]:
        """Make the episode's file from the stored frames, the missing frames, which are made first, and the last
        ones. Who speaks in a call is known once its frames are made."""
        recording, blobs = subject.recording, self._store.blobs
        pieces = await asyncio.to_thread(lambda: list(pieces_of(subject.ledger.entries)))
        if anew:
            await _refuse_damaged(blobs, pieces)
            await self._tracks.drop_frames(recording.id)
        last, whole = await self._tracks.finish(recording, pieces, subject.channels)
        subject = await self._with_turns(subject, whole.cuts)
        tags = await self._tags(subject)
        made = await asyncio.to_thread(
            put_together,
            await asyncio.to_thread(_stretches, blobs, whole, last),
            part,
            samples=subject.ledger.samples,
            form=whole.form,
            tags=tags,
            place=await asyncio.to_thread(self._place_of_sound, subject.episode),
        )
        return subject, Made(made, whole)

    def _place_of_sound(self, episode: Episode | None) -> int:
        """Return how many bytes are before the sound in the file of an episode; 0: there is no such file. Blocking."""
        if episode is None or episode.head:
            return episode.head if episode is not None else 0
        try:
            with self._store.blobs.open(episode.blob, DEFAULT_BUFFER_SIZE) as file:
                return place_of_sound(file)
        except FileNotFoundError:
            return 0

    async def _with_turns(self, subject: Subject, cuts: Sequence[Cut]) -> Subject:
        """Note who speaks in a call, and when, and return the subject with its speakers and chapters."""
        before = subject.recording
        heard = kind_of(before).spoken
        if heard is None or not any(cut.parts for cut in cuts):
            return subject
        spoken = await asyncio.to_thread(heard, before, starmap(Speech, speech_in(cuts, BREATH)))
        async with self._store.write() as db:
            await self._apply(db, before.id, spoken)
            recording = await archive.recording(db, before.id) or before
        with speaking(subject.room.language):
            chapters = _chapters(recording, subject.ledger, ())
        return replace(subject, recording=recording, chapters=chapters)

    async def _read(self, recording_id: RecordingId) -> Subject | None:
        async with self._store.read() as db:
            recording = await archive.recording(db, recording_id)
            if recording is None or not recording.state.may_have_episode:
                return None
            room = await rooms.room(db, recording.room_id)
            present = await rooms.room(db, await heirs.present(db, recording.room_id))
            assert room is not None
            assert present is not None, "an heir is a known room"
            name = await rooms.state(db, present.room_id, ROOM_NAME)
            servers = await rooms.servers(db, [present.room_id])
            chunks = await self._store.chunks.of(db, recording_id)
            episode = await archive.episode(db, recording_id)
        ledger = await asyncio.to_thread(lay_out, recording, chunks)
        if not ledger.sounds:
            return None  # the last sound was redacted, so the episode was withdrawn
        room_name = facts.room_name(name)
        shown_name = None if room_name is None else clean_line(room_name, servers=servers)
        with speaking(room.language):
            marks = await asyncio.to_thread(_chapters, recording, ledger, chunks)
        return Subject(
            room=room,
            podcast=present.room_id,
            podcast_title=present.podcast.title or shown_name,
            recording=recording,
            ledger=ledger,
            episode=episode,
            fingerprint=await asyncio.to_thread(fingerprint, ledger),
            channels=await asyncio.to_thread(channels_of, ledger.entries, chunks),
            chapters=marks,
        )

    async def _tags(self, subject: Subject) -> EpisodeTags:
        recording, zone = subject.recording, self._settings.feeds.zone
        cover = await self._own_picture(recording) or await self._picture(await self._cover(subject.podcast))
        with speaking(subject.room.language):
            comment = account.comment(account.loss_of(subject.ledger))
        return EpisodeTags(
            title=titles.episode_title(recording, zone),
            artists=titles.persons(recording),
            album=titles.channel_title(subject.podcast_title, recording.broadcaster_name),
            date=recording.started_at.astimezone(zone),
            cover=cover,
            cover_mime="image/jpeg",
            comment=comment,
            chapters=subject.chapters,
        )

    async def _own_picture(self, recording: Recording) -> bytes | None:
        """Return a recording's own cover in the size of tags; None without one, or if its file is gone or damaged."""
        if recording.cover is None:
            return None
        try:
            return await self._picture(recording.cover)
        except OSError as error:  # the episode does not wait for its picture
            log.warning("cover left out: recording=%s (%s)", recording.code, type(error).__name__)
            return None

    async def _picture(self, cover: BlobKey) -> bytes:
        """Return a cover in the size of tags."""
        picture = self._pictures.pop(cover, None)
        if picture is None:
            stored = await self._store.blobs.read(cover)
            picture = await apart(lambda: small(stored, COVER_SIDE, MOST_COVER))
        self._pictures[cover] = picture  # the one used last stands last
        while len(self._pictures) > MOST_PICTURES:
            del self._pictures[next(iter(self._pictures))]
        return picture


def _stretches(blobs: Blobs, whole: StoredTrack, last: bytes) -> list[Stretch]:
    """List the frames of a track, of which a call of hours has thousands of pieces, and those after them."""
    made = (byte_range(extent, whole.form) for extent in whole.extents)
    return [
        *(Stretch(partial(blobs.open, place.blob), place.offset, place.bytes) for place in made),
        Stretch(partial(BytesIO, last), 0, len(last)),
    ]


async def _refuse_damaged(blobs: Blobs, pieces: Iterable[Piece]) -> None:
    """Raise GiveUp when a chunk's file has changed since it was stored: the old episode is better."""
    chunks = await asyncio.to_thread(blobs_of, pieces)
    damaged = [chunk for chunk in chunks if not await blobs.is_whole(chunk)]
    if damaged:
        which = "a chunk is" if len(damaged) == 1 else f"{len(damaged)} chunks are"
        told = f"{which} not there as stored, see {blobs.relative(damaged[0])}"
        raise GiveUp(told, reason="damaged")


def blobs_of(pieces: Iterable[Piece]) -> list[BlobKey]:
    """Return the files of the chunks that these pieces are made from, each once."""
    return [*dict.fromkeys(blob for piece in pieces for blob in _blobs_of(piece))]


def _blobs_of(piece: Piece) -> Collection[BlobKey]:
    match piece:
        case Silence():
            return ()
        case Mix():
            return sorted(piece.blobs)
    return (piece.blob,)


def _is_made(subject: Subject) -> bool:
    """Return whether the episode's file has this sound, these names, this title and these chapters."""
    episode = subject.episode
    if episode is None or episode.fingerprint != subject.fingerprint:
        return False
    if episode.credited not in (None, names_in_file(subject.recording)):
        return False
    return (episode.titled, episode.chapters) == (subject.recording.title, subject.chapters)


def _chapters(recording: Recording, ledger: Ledger, chunks: Sequence[Chunk]) -> tuple[Mark, ...]:
    return kind_of(recording).chapters(recording, chunks, ledger, titles.given_title(recording), titles.speaker)
