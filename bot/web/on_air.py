"""The audio of a recording that can be heard now: while it grows, and after its end by players that began before."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from bot.audio import hls
from bot.audio.grid import ByteRange, Form, Span, byte_range, clip, frames_in
from bot.audio.hls import Listing
from bot.audio.track import message_ends, settled_frames
from bot.recording.kinds import kind_of
from bot.web.access import Access, may_hear_recording
from bot.web.caches import CommitCache
from bot.web.files import Files
from bot.web.listening import Listening, Player
from storage import archive, tracks
from storage.cache import Edition, EditionCache
from storage.database import Connection
from storage.records import Episode, Extent, Recording, RecordingId, Track
from storage.store import Store

MOST_HOLDING = 1000  # recordings


@dataclass(frozen=True, slots=True)
class OnAir:
    """A recording with its track as it is stored."""

    recording: Recording
    track: Track
    frames: int  # that are there
    ends: tuple[int, ...]  # the numbers of frames at which messages end
    finished: Extent | None  # once no more sound comes: all frames, in the episode's file
    changed_at: datetime

    @property
    def form(self) -> Form:
        return Form.of(self.track)

    def at(self, now: datetime) -> Listing:
        """Return what players may have of it at this time."""
        if self.finished is not None:
            return Listing(self.track.generation, self.frames, ended=True, ends=self.ends)
        if self.track.live_from is None:
            return Listing(self.track.generation, 0, ended=False)
        return hls.listing_at(self.track.generation, self.track.live_from, self.frames, now, self.ends)


class Tuner:
    """Recordings on the air, for clients that may hear them."""

    def __init__(self, store: Store, open_files: Files, listening: Listening) -> None:
        self._store = store
        self._files = open_files
        self._listening = listening
        self._holding: EditionCache[bool] = EditionCache(MOST_HOLDING)
        self._known: CommitCache[str, OnAir | None] = CommitCache(lambda: store.database.changes.number)

    async def find(self, access: Access, code: str, *, listens: bool = True, player: Player = None) -> OnAir | None:
        """Return the recording of this code if it has a track or may have one soon; None where the access does not
        reach it. `listens`: the request is a listener's, by this player."""
        on_air = await self._known.get(code, partial(self._read, code))
        if on_air is None or not may_hear_recording(access, on_air.recording):
            return None
        if listens:
            self._listening.note(on_air.recording.id, player)
        return on_air

    async def frames(self, on_air: OnAir, span: Span) -> bytes | None:
        """Read some frames. None if they were moved meanwhile: call `find` again."""
        body = bytearray()
        for part in await self._byte_ranges(on_air, span):
            try:
                body += await self._files.part(part.blob, part.offset, part.bytes)
            except OSError:
                return None
        return bytes(body) if len(body) == span.frames * on_air.form.frame_bytes else None

    async def _byte_ranges(self, on_air: OnAir, span: Span) -> list[ByteRange]:
        if on_air.finished is not None:
            return [byte_range(part, on_air.form) for part in clip([on_air.finished], span, on_air.form)]
        async with self._store.read() as db:
            extents = await tracks.extents_of(db, on_air.recording.id, span.first, span.end)
        return [byte_range(part, on_air.form) for part in clip(extents, span, on_air.form)]

    async def _read(self, code: str) -> OnAir | None:
        async with self._store.read() as db:
            recording = await archive.recording_by_code(db, code)
            if recording is None:
                return None
            track = await tracks.track(db, recording.id)
            if track is not None:
                return await _with_track(db, recording, track) if await self._holds(db, recording.id) else None
        comes = recording.state.is_open and not recording.past
        return OnAir(recording, _empty_track(recording), 0, (), None, recording.heard_at) if comes else None

    async def _holds(self, db: Connection, recording_id: RecordingId) -> bool:
        """Tell whether all of a track may still be heard. Once somebody was taken out of a call, that takes a look at
        all of its windows, so it is looked up once for each edition of track and chunks."""
        edition = Edition(f"{await tracks.edition(db, recording_id)} {await archive.edition(db, recording_id)}")
        holds = self._holding.get(recording_id, edition)
        if holds is None:
            holds = await tracks.holds(db, recording_id)
            self._holding.put(recording_id, edition, holds, size=1)
        return holds


async def _with_track(db: Connection, recording: Recording, track: Track) -> OnAir:
    frames = await tracks.reach(db, recording.id)
    several = kind_of(recording).several_speakers
    ends = await asyncio.to_thread(message_ends, await tracks.lengths(db, recording.id)) if several else ()
    growing = OnAir(recording, track, frames, ends, None, recording.heard_at)
    if recording.state.is_open:
        return growing
    episode = await archive.episode(db, recording.id)
    begin = next(iter(await tracks.extents_of(db, recording.id, 0, 1)), None)
    if episode is None or begin is None or not _is_whole(begin, frames, episode):
        return growing  # the episode is being made
    # The episode has some frames more than the track, which holds only those that no later sound can change.
    frames, _ = frames_in(episode.bytes - begin.offset, Form.of(track))
    return OnAir(recording, track, frames, ends, Extent(0, frames, begin.blob, begin.offset), episode.made_at)


def _empty_track(recording: Recording) -> Track:
    """Make the track of a recording before its first chunk: none of it is due."""
    return Track(recording.id, channels=1, kbps=0, target_lufs=None, start_db=None, generation=0)


def _is_whole(begin: Extent, frames: int, episode: Episode) -> bool:
    """Return whether the whole track lies in the episode's file, as it does unless the episode is healing."""
    return begin.blob == episode.blob and begin.frames == frames == settled_frames(episode.samples)
