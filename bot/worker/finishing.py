"""The making of episodes: a recording is joined from its ledger and published, and joined again when it heals."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from io import FileIO
from itertools import starmap
from pathlib import Path

from bot import facts, orders
from bot.audio.episode import Stretch, put_together
from bot.audio.grid import byte_range
from bot.audio.mix import speech_in
from bot.audio.plan import Mix, Piece, Silence
from bot.audio.tags import EpisodeTags
from bot.errors import GiveUp
from bot.event_types import ROOM_NAME
from bot.feeds import titles
from bot.feeds.text import clean_line
from bot.language import speaking
from bot.recording import account
from bot.recording.kind import BREATH, Speech
from bot.recording.kinds import kind_of, lay_out
from bot.recording.ledger import Ledger, fingerprint
from bot.settings import Settings
from bot.worker.fetching import Apply
from bot.worker.pieces import channels_of, pieces_of
from bot.worker.publishing import Made, Publishing, Subject, names_in_file
from bot.worker.tracks import Tracks
from storage import archive, heirs, rooms
from storage.blobs import Blobs
from storage.records import (
    BlobKey,
    Chunk,
    Cut,
    Job,
    Mark,
    Recording,
    RecordingId,
    RoomId,
)
from storage.store import Store

log = logging.getLogger(__name__)


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
                    subject, made = await self._make(subject, part, anew=order.anew)
                async with self._store.write() as db:
                    await self._publishing.publish(db, subject, made, part, self._clock())
            finally:
                await asyncio.to_thread(part.unlink, missing_ok=True)

    async def _make(self, subject: Subject, part: Path, *, anew: bool) -> tuple[Subject, Made]:
        """Make the episode's file from the stored frames, the missing frames, which are made first, and the last
        ones. Who speaks in a call is known once its frames are made."""
        recording, blobs = subject.recording, self._store.blobs
        pieces = await asyncio.to_thread(lambda: list(pieces_of(subject.ledger.entries)))
        if anew:
            await asyncio.to_thread(_refuse_damaged, blobs, pieces)
            await self._tracks.drop_frames(recording.id)
        whole = await self._tracks.advance(recording, pieces, subject.channels)
        last = blobs.part(f"last-{recording.id}")
        try:
            end, whole = await self._tracks.last_frames(recording.id, whole, pieces, last)
            subject = await self._with_turns(subject, whole.cuts)
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
        return subject, Made(made, whole)

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
        cover = await self._cover(subject.podcast)
        with speaking(subject.room.language):
            comment = account.comment(account.loss_of(subject.ledger))
        return EpisodeTags(
            title=titles.episode_title(recording, zone),
            artists=titles.persons(recording),
            album=titles.channel_title(subject.podcast_title, recording.broadcaster_name),
            date=recording.started_at.astimezone(zone),
            cover=await asyncio.to_thread(self._store.blobs.read, cover),
            cover_mime="image/jpeg",
            comment=comment,
            chapters=subject.chapters,
        )


def _refuse_damaged(blobs: Blobs, pieces: Iterable[Piece]) -> None:
    """Raise GiveUp when a chunk's file has changed since it was stored: the old episode is better. Blocking."""
    chunks = [*dict.fromkeys(blob for piece in pieces for blob in _blobs_of(piece))]
    damaged = [chunk for chunk in chunks if not blobs.is_whole(chunk)]
    if damaged:
        which = "a chunk is" if len(damaged) == 1 else f"{len(damaged)} chunks are"
        told = f"{which} not on the disk as stored, see {blobs.relative(damaged[0])}"
        raise GiveUp(told, reason="damaged")


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
