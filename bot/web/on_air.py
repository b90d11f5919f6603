"""What of a recording's track may be heard now: while it grows, and afterwards by those who are in the middle."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from bot.audio import hls
from bot.audio.hls import Listing
from bot.audio.render import Form
from bot.audio.track import settled_frames
from bot.web import files
from bot.web.access import Access, may_hear_it
from bot.web.caches import Memo
from bot.web.files import Files
from storage import archive, tracks
from storage.records import Episode, Extent, Recording, RecordingId, Track
from storage.store import Store

LISTENED_FOR = timedelta(seconds=30)
MOST_ASKED = 1000  # recordings


@dataclass(frozen=True, slots=True)
class OnAir:
    """A recording with its track as it is stored."""

    recording: Recording
    track: Track
    frames: int  # there are
    finished: Extent | None  # when no sound comes any more: all of them, in the episode's file
    changed_at: datetime

    @property
    def frame_bytes(self) -> int:
        return _frame_bytes(self.track)

    def at(self, now: datetime) -> Listing:
        """As players may have it."""
        if self.finished is not None:
            return Listing(self.track.generation, self.frames, ended=True)
        if self.track.live_from is None:
            return Listing(self.track.generation, 0, ended=False)
        return hls.listing_at(self.track.generation, self.track.live_from, self.frames, now)


class Tuner:
    """Finds what is on the air, for those who may hear it."""

    def __init__(self, store: Store, open_files: Files, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._files = open_files
        self._clock = clock
        self._asked: OrderedDict[RecordingId, datetime] = OrderedDict()  # when, the latest last
        self._known: Memo[str, OnAir | None] = Memo(lambda: store.database.changes.number)

    async def find(self, access: Access, code: str, *, listens: bool = True) -> OnAir | None:
        """The recording of this code, if it has a track or may have one soon, and this access reaches it now.
        `listens`: it is for somebody's ears, and not only to know."""
        found = await self._known.get(code, partial(self._read, code))
        if found is None or not may_hear_it(access, found.recording):
            return None
        if listens:
            self._asked[found.recording.id] = self._clock()
            self._asked.move_to_end(found.recording.id)
            if len(self._asked) > MOST_ASKED:
                self._asked.popitem(last=False)
        return found

    def listened(self, recording_id: RecordingId) -> bool:
        """Whether somebody asks for it now: players look at least twice in this time."""
        asked = self._asked.get(recording_id)
        return asked is not None and self._clock() - asked < LISTENED_FOR

    async def frames(self, found: OnAir, segment: int, count: int) -> bytes | None:
        """The first so many frames of a segment; None if they are not where they were: look again."""
        body = bytearray()
        for part in await self._byte_ranges(found, segment * hls.FRAMES, count):
            try:
                file = await self._files.open(part.blob)
            except OSError:
                return None
            try:
                body += await files.read(file, part.offset, part.bytes)
            except OSError:
                return None
            finally:
                self._files.done(file)
        return bytes(body) if len(body) == count * found.frame_bytes else None

    async def _byte_ranges(self, found: OnAir, first: int, count: int) -> tuple[hls.ByteRange, ...]:
        if found.finished is not None:
            return hls.byte_ranges([found.finished], first, count, found.frame_bytes)
        async with self._store.read() as db:
            extents = await tracks.extents_of(db, found.recording.id, first, first + count)
        return hls.byte_ranges(extents, first, count, found.frame_bytes)

    async def _read(self, code: str) -> OnAir | None:
        async with self._store.read() as db:
            recording = await archive.recording_by_code(db, code)
            track = await tracks.track(db, recording.id) if recording else None
            if recording is None:
                return None
            if track is None:
                comes = recording.state.is_open and not recording.past
                return OnAir(recording, _to_come(recording), 0, None, recording.heard_at) if comes else None
            if not await tracks.holds(db, recording.id):
                return None
            frames = await tracks.reach(db, recording.id)
            if recording.state.is_open:
                return OnAir(recording, track, frames, None, recording.heard_at)
            episode = await archive.episode(db, recording.id)
            begin = next(iter(await tracks.extents_of(db, recording.id, 0, 1)), None)
        if episode is None or begin is None or not _is_all_of(begin, frames, episode):  # it is being made
            return OnAir(recording, track, frames, None, recording.heard_at)
        # The last frames were made with the file: those of the track are the ones that no later sound can change.
        frames = (episode.bytes - begin.offset) // _frame_bytes(track)
        return OnAir(recording, track, frames, Extent(0, frames, begin.blob, begin.offset), episode.made_at)


def _to_come(recording: Recording) -> Track:
    """What stands for a track before the first chunk: nothing is due of it."""
    return Track(recording.id, channels=1, kbps=0, target_lufs=None, start_db=None, generation=0)


def _is_all_of(begin: Extent, frames: int, episode: Episode) -> bool:
    """Whether the track is what the episode was made of, and lies there: while it heals, only parts of it do."""
    return begin.blob == episode.blob and begin.frames == frames == settled_frames(episode.samples)


def _frame_bytes(track: Track) -> int:
    return Form(track.channels, track.kbps, track.target_lufs).frame_bytes
