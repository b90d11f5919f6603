"""The making of tracks: the frames of recordings, made while sound arrives, each piece once.

A track stores which blob holds which frames. So a late chunk that moves all later sound by whole frames leaves that
sound's frames as they are, and stored frames survive any crash. While somebody listens to a live recording, its track
only grows; late chunks are inserted when nobody listens, at the latest when the recording has ended.
"""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from weakref import WeakValueDictionary

from bot import orders
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.grid import Form, byte_range
from bot.audio.hls import first_due
from bot.audio.layout import layout, piece_of
from bot.audio.leveller import LevelState
from bot.audio.plan import Piece
from bot.audio.render import Rendering, Warm
from bot.audio.track import Reused, message_ends, missing_spans, place_pieces, reusable, settled_frames
from bot.errors import TryLater
from bot.recording.kinds import kind_of
from bot.settings import Settings
from bot.worker.stored_track import StoredTrack, appended_cuts, batch_size, match_cuts, moved_extents, with_kept_levels
from storage import archive, jobs, tracks
from storage.blobs.door import Arrival
from storage.cache import Edition, EditionCache
from storage.database import Connection
from storage.private import synced
from storage.records import (
    BlobKey,
    Cut,
    Extent,
    Recording,
    RecordingId,
    Track,
)
from storage.store import Store

log = logging.getLogger(__name__)

WARM_TRACKS = 128  # recordings whose last samples are kept in memory, the most recent ones: 0.2 MB each
LONG = 20  # pieces; longer tracks are kept in memory, since each chunk would read all of them again, twice
MOST_KEPT = 10_000  # pieces of all tracks in memory together, 1.3 KB each


_Shared = tuple[StoredTrack, Sequence[Extent]]
"""A track, and the places of its frames that are parts of larger blobs."""


@dataclass(frozen=True, slots=True)
class _Copies:
    """Copies of frames that were part of larger blobs, by their places there, and their arrival."""

    of: Mapping[Extent, Extent]
    arrival: Arrival


class Tracks:
    """The only writer of tracks, and the only maker of frames."""

    def __init__(self, store: Store, settings: Settings, ffmpeg: Ffmpeg, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._audio = settings.audio
        self._ffmpeg = ffmpeg
        self._clock = clock
        self._warm: OrderedDict[RecordingId, Warm] = OrderedDict()
        self._cache: EditionCache[StoredTrack] = EditionCache(MOST_KEPT)
        self._locks: WeakValueDictionary[RecordingId, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def alone(self, recording_id: RecordingId) -> AsyncIterator[None]:
        """Hold the lock of this recording's track."""
        lock = self._locks.setdefault(recording_id, asyncio.Lock())
        async with lock:
            yield

    async def read(self, db: Connection, recording_id: RecordingId) -> StoredTrack | None:
        """Return the stored track; None if the recording has none."""
        edition = await tracks.edition(db, recording_id)
        if edition is None:
            return None
        return self._cache.get(recording_id, edition) or await self._read_anew(db, recording_id, edition)

    async def advance(self, recording: Recording, pieces: Sequence[Piece], channels: int) -> StoredTrack:
        """Make every frame of this layout that no later sound can change. `alone` must be held.

        Raises TryLater when ffmpeg fails or hangs, StoreError, OSError for the disk's.
        """
        whole = await self._lay_out(recording, pieces, channels)
        wanted = settled_frames(sum(piece.samples for piece in pieces))
        for missing in missing_spans(whole.spans, wanted):
            first = missing.first
            while first < missing.end:
                frames = batch_size(whole.cuts, first, missing.end)
                whole = await self._make(recording.id, whole, pieces, first, frames, ends=first + frames == wanted)
                first += frames
        return whole

    async def finish(self, recording: Recording, pieces: Sequence[Piece], channels: int) -> tuple[bytes, StoredTrack]:
        """Make as `advance` does. Return the frames after those, up to the end of the sound, which are not stored, and
        the track with all of its pieces decided."""
        whole = await self.advance(recording, pieces, channels)
        self._cache.drop(recording.id)
        rendering, warm = self._rendering(whole, pieces), self._warm.get(recording.id)
        last = await rendering.last(settled_frames(sum(piece.samples for piece in pieces)), warm)
        if rendering.decided:  # pieces of a few milliseconds at the end
            async with self._store.write() as db:
                await self._decide(db, recording.id, whole, rendering)
                whole = replace(whole, edition=await tracks.edition(db, recording.id))
        return last, replace(whole, cuts=tuple(rendering.cuts))

    async def drop_frames(self, recording_id: RecordingId) -> None:
        """Drop all frames, so that they are made again. The decided gains stay, so the new frames will be the same."""
        async with self._store.write() as db:
            gone = await tracks.replace_extents(db, recording_id, ())
            episode = await archive.episode(db, recording_id)
            await forget(db, gone - {episode.blob if episode else None}, self._clock())

    async def clear(self, recording_id: RecordingId) -> None:
        """Drop the whole track: the recording has no sound left."""
        self._warm.pop(recording_id, None)
        async with self._store.write() as db:
            await forget(db, await tracks.empty(db, recording_id), self._clock())

    def _rendering(self, whole: StoredTrack, pieces: Sequence[Piece]) -> Rendering:
        return Rendering(
            pieces,
            whole.cuts,
            whole.form,
            start_db=whole.track.start_db,
            local=self._store.blobs.local,
            ffmpeg=self._ffmpeg,
            workdir=self._store.blobs.scratch,
        )

    async def _make(
        self,
        recording_id: RecordingId,
        whole: StoredTrack,
        pieces: Sequence[Piece],
        first: int,
        frames: int,
        *,
        ends: bool,
    ) -> StoredTrack:
        """Make frames from `first` on, store them, and return the track with them. If the settled ones end with them,
        those after them are kept in memory."""
        part, rest = self._store.blobs.part(f"frames-{recording_id}-{first}"), None
        try:
            rendering, warm = self._rendering(whole, pieces), self._warm.get(recording_id)
            if ends:
                made, rest = await rendering.make_to_end(first, frames, part, warm)
            else:
                made = await rendering.make(first, frames, part, warm)
            extent = Extent(first, made.frames, BlobKey(made.sha256), 0)
            async with self._store.blobs.arriving((part, extent.blob)) as new, self._store.write() as db:
                decided = await self._decide(db, recording_id, whole, rendering)
                await new.keep(db)
                await tracks.add_extent(db, recording_id, extent)
                whole = await self._in_edition(db, whole.with_frames(extent, decided))
        finally:
            await asyncio.to_thread(part.unlink, missing_ok=True)
        if rendering.warm is not None:
            self._keep_warm(recording_id, replace(rendering.warm, rest=rest))
        return whole

    async def _decide(
        self, db: Connection, recording_id: RecordingId, whole: StoredTrack, rendering: Rendering
    ) -> dict[int, Cut]:
        """Store the cuts that this rendering decided and return them by index. Raises TryLater when the track was
        changed meanwhile."""
        if await tracks.edition(db, recording_id) != whole.edition:
            raise TryLater("the track was changed while frames of it were made")
        await tracks.decide(db, recording_id, [(piece.cut, piece.peaks) for piece in rendering.decided.values()])
        for index, piece in rendering.decided.items():
            if piece.cut.off_by:
                log.warning(
                    "piece is %d samples longer than expected: recording=%s piece=%d",
                    piece.cut.off_by,
                    recording_id,
                    index,
                )
        return {index: piece.cut for index, piece in rendering.decided.items()}

    async def _read_anew(self, db: Connection, recording_id: RecordingId, edition: Edition) -> StoredTrack:
        track = await tracks.track(db, recording_id)
        assert track is not None
        cuts, extents = await tracks.cuts(db, recording_id), await tracks.extents(db, recording_id)
        pieces = await asyncio.to_thread(lambda: tuple(piece_of(cut) for cut in cuts))
        return self._keep(StoredTrack(track, cuts, pieces, extents, edition))

    async def _in_edition(self, db: Connection, whole: StoredTrack) -> StoredTrack:
        """Return the track with the edition that this transaction gave it."""
        return self._keep(replace(whole, edition=await tracks.edition(db, whole.track.recording_id)))

    def _keep(self, whole: StoredTrack) -> StoredTrack:
        if whole.edition is not None and len(whole.cuts) > LONG:
            self._cache.put(whole.track.recording_id, whole.edition, whole, len(whole.cuts))
        return whole

    def _keep_warm(self, recording_id: RecordingId, warm: Warm) -> None:
        self._warm[recording_id] = warm
        self._warm.move_to_end(recording_id)
        while len(self._warm) > WARM_TRACKS:
            self._warm.popitem(last=False)

    # ---- layouts

    async def _lay_out(self, recording: Recording, pieces: Sequence[Piece], channels: int) -> StoredTrack:
        """Store this layout and return the track with it, and with all old frames that stay the same."""
        async with self._store.write() as db:
            laid_out = await self._store_layout(db, recording, pieces, channels, None)
        if isinstance(laid_out, StoredTrack):
            return laid_out
        old, shared = laid_out
        async with self._copied(old.form, shared) as copies, self._store.write() as db:
            laid_out = await self._store_layout(db, recording, pieces, channels, copies)
        if not isinstance(laid_out, StoredTrack):
            raise TryLater("the track was changed while frames of it were copied")
        return laid_out

    async def _store_layout(
        self, db: Connection, recording: Recording, pieces: Sequence[Piece], channels: int, copies: _Copies | None
    ) -> StoredTrack | _Shared:
        """Return the track with this layout, stored; or the old one with the frames that have to be copied first, with
        nothing written."""
        now = self._clock()
        old = await self.read(db, recording.id)
        form = Form(channels, self._audio.mp3_bitrate_kbps, self._audio.loudness_lufs)
        if old is None or old.form != form:
            old = await self._begin(db, recording, form, old, now)
        added = await asyncio.to_thread(appended_cuts, old, pieces)
        if added is None:
            return await self._rearrange(db, recording, old, pieces, copies)
        if added:
            await tracks.add_cuts(db, recording.id, added)
            old = await self._scheduled(db, recording, replace(old, cuts=(*old.cuts, *added)), now)
        return await self._in_edition(db, replace(old, pieces=tuple(pieces)))

    async def _scheduled(self, db: Connection, recording: Recording, whole: StoredTrack, now: datetime) -> StoredTrack:
        """Return the track with its live schedule, given that its last piece arrived now."""
        earlier = [(cut.samples, cut.blob is not None) for cut in whole.cuts[:-1]]
        before = settled_frames(sum(samples for samples, _ in earlier))
        ends = message_ends(earlier) if kind_of(recording).several_speakers else ()
        track = replace(whole.track, live_from=first_due(whole.track.live_from, before, now, ends))
        if track != whole.track:
            await tracks.save(db, track)
        return replace(whole, track=track)

    async def _begin(
        self, db: Connection, recording: Recording, form: Form, old: StoredTrack | None, now: datetime
    ) -> StoredTrack:
        gone = await tracks.forget(db, recording.id) if old else frozenset()
        await forget(db, gone, now)
        several = kind_of(recording).several_speakers  # each is evened from their first sound on
        level = None if several else await tracks.last_level(db, recording, form.target_lufs)
        gain = LevelState.from_json(level).gain if level else None
        start_db = None if gain is None else gain / 100
        generation = old.track.generation + 1 if old else 0
        track = Track(recording.id, form.channels, form.kbps, form.target_lufs, start_db, generation)
        await tracks.save(db, track)
        return StoredTrack(track)

    async def _rearrange(
        self, db: Connection, recording: Recording, old: StoredTrack, pieces: Sequence[Piece], copies: _Copies | None
    ) -> StoredTrack | _Shared:
        """Store a layout that changed elsewhere than at its end. Decided gains stay decided, and frames that stay the
        same are reused. Those in a part of a larger blob move into a blob of their own: sound that was cut out must not
        be kept for the sake of its neighbours."""
        cuts, kept, reused = await asyncio.to_thread(_rearranged, old, pieces)
        episode = await archive.episode(db, recording.id)
        finished = episode.blob if episode else None  # which is dropped as a whole when the next episode is made
        extents = [place for span in reused for place in moved_extents(old, span)]
        whole = {(extent.blob, extent.offset, extent.frames) for extent in old.extents}
        shared = [
            place
            for place in extents
            if place.blob != finished and (place.blob, place.offset, place.frames) not in whole
        ]
        known = copies.of if copies is not None else {}
        if not known.keys() >= {*shared}:
            return old, shared
        if copies is not None:
            await copies.arrival.keep(db)
        extents = [known.get(place, place) for place in extents]
        now = self._clock()
        await tracks.replace_cuts(db, recording.id, cuts, kept)
        gone = await tracks.replace_extents(db, recording.id, extents)
        await forget(db, gone - {finished}, now)
        track = replace(old.track, generation=old.track.generation + 1)
        await tracks.save(db, track)
        return await self._in_edition(db, StoredTrack(track, tuple(cuts), tuple(pieces), tuple(extents)))

    @asynccontextmanager
    async def _copied(self, form: Form, extents: Sequence[Extent]) -> AsyncIterator[_Copies]:
        """Copy frames that are parts of larger blobs into blobs of their own. Raises TryLater."""
        parts = [self._store.blobs.part(f"frames-{extent.blob}-{extent.offset}") for extent in extents]
        try:
            keys = [await self._copy(form, extent, part) for extent, part in zip(extents, parts, strict=True)]
            async with self._store.blobs.arriving(*zip(parts, keys, strict=True)) as arrival:
                copies = (replace(extent, blob=key, offset=0) for extent, key in zip(extents, keys, strict=True))
                yield _Copies(dict(zip(extents, copies, strict=True)), arrival)
        finally:
            for part in parts:
                await asyncio.to_thread(part.unlink, missing_ok=True)

    async def _copy(self, form: Form, extent: Extent, part: Path) -> BlobKey:
        size = byte_range(extent, form).bytes
        data = await self._store.blobs.read(extent.blob, extent.offset, size)
        if len(data) != size:
            raise TryLater("a stored file of frames is too short")

        def write() -> BlobKey:
            with synced(part) as out:
                out.write(data)
            return BlobKey(hashlib.sha256(data).hexdigest())

        return await asyncio.to_thread(write)


def _rearranged(old: StoredTrack, pieces: Sequence[Piece]) -> tuple[list[Cut], dict[int, int], tuple[Reused, ...]]:
    """Return the cuts of a layout that changed, the old ordinals of those that stay, and the frames that are reused.
    Takes a tenth of a second for six hours of a call."""
    new = layout(pieces, old.form)
    kept = match_cuts(old.cuts, new)
    cuts = with_kept_levels(old.cuts, new, kept)
    return cuts, kept, reusable(place_pieces(old.cuts), old.spans, place_pieces(cuts))


async def forget(db: Connection, blobs: Collection[BlobKey], now: datetime) -> None:
    """Add a job that deletes blobs of frames that no track needs."""
    if blobs:
        await jobs.add(db, orders.Forget(tuple(sorted(blobs))).job(), now)
