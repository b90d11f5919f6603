"""Tracks: the frames of recordings, made while the sound comes in, each piece once.

What is stored are places: which blob holds which frames. So nothing is copied or made again when a late chunk moves
everything behind it by whole frames, and whatever this process dies of, the frames that were written down are there.
While a recording is live its track only grows; what came late is put in its place when the recording has ended.
"""

import asyncio
import hashlib
import logging
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from weakref import WeakValueDictionary

from bot import orders
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.grid import Form, Span, byte_range, clip, frames_for, unbroken
from bot.audio.hls import first_due
from bot.audio.layout import layout
from bot.audio.leveller import LevelState
from bot.audio.plan import PRE_ROLL, Piece
from bot.audio.render import Rendered, Rendering, Warm
from bot.audio.track import Reused, missing_spans, place_pieces, reusable, settled_frames
from bot.errors import TryLater
from bot.settings import Settings
from bot.worker.pieces import piece_of
from storage import archive, jobs, tracks
from storage.cache import Edition, EditionCache
from storage.database import Connection
from storage.private import synced
from storage.records import (
    SAMPLE_RATE,
    BlobKey,
    Cut,
    Extent,
    Recording,
    RecordingId,
    Track,
)
from storage.store import Store

log = logging.getLogger(__name__)

AT_ONCE = 240 * SAMPLE_RATE  # samples that are made before it is written down how far it came
WARM_TRACKS = 128  # of the newest, the end of the sound is kept in memory: 0.2 MB each
LONG = 200  # pieces; a track with more is kept in memory, for reading it takes longer than the loop may be held
MOST_KEPT = 10_000  # pieces of all tracks together, 1.3 KB each


@dataclass(frozen=True, slots=True)
class Whole:
    """A track as it stands: the layout, what it is made of, and where its frames are."""

    track: Track
    cuts: tuple[Cut, ...] = ()
    pieces: tuple[Piece, ...] = ()
    extents: tuple[Extent, ...] = ()
    edition: Edition | None = None  # in which it was read or written; None: it is not written yet

    @property
    def form(self) -> Form:
        return Form.of(self.track)

    @property
    def spans(self) -> list[Span]:
        return [Span(extent.first, extent.frames) for extent in self.extents]

    @property
    def frames(self) -> int:
        """How many there are without a hole from the beginning."""
        return unbroken(self.extents)


class Tracks:
    """The one maker of frames. Nobody else writes tracks."""

    def __init__(self, store: Store, settings: Settings, ffmpeg: Ffmpeg, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._audio = settings.audio
        self._ffmpeg = ffmpeg
        self._clock = clock
        self._warm: OrderedDict[RecordingId, Warm] = OrderedDict()
        self._kept: EditionCache[Whole] = EditionCache(MOST_KEPT)
        self._locks: WeakValueDictionary[RecordingId, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def alone(self, recording_id: RecordingId) -> AsyncIterator[None]:
        """Nobody else works on this recording's track meanwhile."""
        lock = self._locks.setdefault(recording_id, asyncio.Lock())
        async with lock:
            yield

    async def read(self, db: Connection, recording_id: RecordingId) -> Whole | None:
        """A track as it is stored."""
        edition = await tracks.edition(db, recording_id)
        if edition is None:
            return None
        return self._kept.get(recording_id, edition) or await self._read_anew(db, recording_id, edition)

    async def advance(self, recording: Recording, pieces: Sequence[Piece], channels: int) -> Whole:
        """Makes every frame of this layout that no later sound can change. `alone` must be held.

        Raises TryLater when ffmpeg fails or hangs, StoreError, OSError for the disk's.
        """
        whole = await self._laid_out(recording, pieces, channels)
        wanted = settled_frames(sum(piece.samples for piece in pieces))
        for hole in missing_spans(whole.spans, wanted):
            first = hole.first
            while first < hole.end:
                frames = _some(whole.cuts, first, hole.end)
                whole = await self._make(recording.id, whole, pieces, first, frames)
                first += frames
        return whole

    async def drop_frames(self, recording_id: RecordingId) -> None:
        """All frames are to be made again, as they were: what was decided of each piece stays."""
        async with self._store.write() as db:
            gone = await tracks.replace_extents(db, recording_id, ())
            episode = await archive.episode(db, recording_id)
            await forget(db, gone - {episode.blob if episode else None}, self._clock())

    async def clear(self, recording_id: RecordingId) -> None:
        """Nothing of its sound is left."""
        self._warm.pop(recording_id, None)
        async with self._store.write() as db:
            await forget(db, await tracks.empty(db, recording_id), self._clock())

    async def last_frames(
        self, recording_id: RecordingId, whole: Whole, pieces: Sequence[Piece], out: Path
    ) -> Rendered:
        """The frames behind those that are settled, to the end of the sound."""
        self._kept.drop(recording_id)
        rendering = self._rendering(whole, pieces)
        first = settled_frames(sum(piece.samples for piece in pieces))
        made = await rendering.make(first, None, out, self._warm.get(recording_id))
        if rendering.decided:  # pieces of a few milliseconds at the end
            async with self._store.write() as db:
                await self._decide(db, recording_id, whole, rendering)
        return made

    def _rendering(self, whole: Whole, pieces: Sequence[Piece]) -> Rendering:
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
        self, recording_id: RecordingId, whole: Whole, pieces: Sequence[Piece], first: int, frames: int
    ) -> Whole:
        """Some frames of a hole, written down."""
        part = self._store.blobs.part(f"frames-{recording_id}-{first}")
        try:
            rendering = self._rendering(whole, pieces)
            made = await rendering.make(first, frames, part, self._warm.get(recording_id))
            extent = Extent(first, made.frames, BlobKey(made.sha256), 0)
            async with self._store.write() as db:
                decided = await self._decide(db, recording_id, whole, rendering)
                # Inside the transaction: what forgets unreferenced blobs must not come between.
                await asyncio.to_thread(self._store.blobs.add, part, extent.blob)
                await tracks.add_extent(db, recording_id, extent)
                whole = await self._written(db, _with(whole, extent, decided))
        finally:
            await asyncio.to_thread(part.unlink, missing_ok=True)
        if rendering.warm is not None:
            self._keep_warm(recording_id, rendering.warm)
        return whole

    async def _decide(
        self, db: Connection, recording_id: RecordingId, whole: Whole, rendering: Rendering
    ) -> dict[int, Cut]:
        """Writes down what was decided of pieces. Raises TryLater when the track is not what it was."""
        if await tracks.edition(db, recording_id) != whole.edition:
            raise TryLater("the track was changed while frames of it were made")
        await tracks.decide(db, recording_id, [(one.cut, one.peaks) for one in rendering.decided.values()])
        for index, one in rendering.decided.items():
            if one.cut.off_by:
                log.warning(
                    "a piece is %d samples longer than it should be: recording=%s piece=%d",
                    one.cut.off_by,
                    recording_id,
                    index,
                )
        return {index: one.cut for index, one in rendering.decided.items()}

    async def _read_anew(self, db: Connection, recording_id: RecordingId, edition: Edition) -> Whole:
        track = await tracks.track(db, recording_id)
        assert track is not None
        cuts, extents = await tracks.cuts(db, recording_id), await tracks.extents(db, recording_id)
        pieces = await asyncio.to_thread(lambda: tuple(piece_of(cut) for cut in cuts))
        return self._keep(Whole(track, cuts, pieces, extents, edition))

    async def _written(self, db: Connection, whole: Whole) -> Whole:
        """In the edition that this transaction made of it."""
        return self._keep(replace(whole, edition=await tracks.edition(db, whole.track.recording_id)))

    def _keep(self, whole: Whole) -> Whole:
        if whole.edition is not None and len(whole.cuts) > LONG:
            self._kept.put(whole.track.recording_id, whole.edition, whole, len(whole.cuts))
        return whole

    def _keep_warm(self, recording_id: RecordingId, warm: Warm) -> None:
        self._warm[recording_id] = warm
        self._warm.move_to_end(recording_id)
        while len(self._warm) > WARM_TRACKS:
            self._warm.popitem(last=False)

    # ---- layouts

    async def _laid_out(self, recording: Recording, pieces: Sequence[Piece], channels: int) -> Whole:
        """The stored track with this layout, and all of its frames that are right there too."""
        now = self._clock()
        async with self._store.write() as db:
            old = await self.read(db, recording.id)
            form = Form(channels, self._audio.mp3_bitrate_kbps, self._audio.loudness_lufs)
            if old is None or old.form != form:
                old = await self._anew(db, recording, form, old, now)
            added = grown_by(old, pieces)
            if added is None:
                return await self._moved(db, recording, old, pieces, now)
            if added:
                await tracks.add_cuts(db, recording.id, added)
                old = await self._scheduled(db, replace(old, cuts=(*old.cuts, *added)), now)
            return await self._written(db, replace(old, pieces=tuple(pieces)))

    async def _scheduled(self, db: Connection, whole: Whole, now: datetime) -> Whole:
        """With its place on the clock: its last piece came now."""
        before = settled_frames(sum(cut.samples for cut in whole.cuts[:-1]))
        track = replace(whole.track, live_from=first_due(whole.track.live_from, before, now))
        if track != whole.track:
            await tracks.save(db, track)
        return replace(whole, track=track)

    async def _anew(self, db: Connection, recording: Recording, form: Form, old: Whole | None, now: datetime) -> Whole:
        gone = await tracks.forget(db, recording.id) if old else frozenset()
        await forget(db, gone, now)
        level = await tracks.last_level(db, recording, form.target_lufs)
        gain = LevelState.from_json(level).gain if level else None
        start_db = None if gain is None else gain / 100
        generation = old.track.generation + 1 if old else 0
        track = Track(recording.id, form.channels, form.kbps, form.target_lufs, start_db, generation)
        await tracks.save(db, track)
        return Whole(track)

    async def _moved(
        self, db: Connection, recording: Recording, old: Whole, pieces: Sequence[Piece], now: datetime
    ) -> Whole:
        """Another row of pieces. What was decided of a piece stays decided, and frames that are right are kept."""
        new = layout(pieces, old.form)
        kept = _matched(old.cuts, new)
        cuts = [_decided_as(old.cuts[kept[cut.ordinal]], cut) if cut.ordinal in kept else cut for cut in new]
        found = reusable(place_pieces(old.cuts), old.spans, place_pieces(cuts))
        episode = await archive.episode(db, recording.id)
        finished = episode.blob if episode else None  # goes as a whole when the next one is made
        extents = [
            place if place.blob == finished else await asyncio.to_thread(self._own, old, place)
            for one in found
            for place in _moved_extents(old, one)
        ]
        await tracks.replace_cuts(db, recording.id, cuts, kept)
        gone = await tracks.replace_extents(db, recording.id, extents)
        await forget(db, gone - {finished}, now)
        track = replace(old.track, generation=old.track.generation + 1)
        await tracks.save(db, track)
        return await self._written(db, Whole(track, tuple(cuts), tuple(pieces), tuple(extents)))

    def _own(self, old: Whole, extent: Extent) -> Extent:
        """Frames that are part of a larger blob as a blob of their own: what was cut out of the sound must not stay on
        the disk for the sake of its neighbours. Blocking."""
        if any(
            (one.blob, one.offset, one.frames) == (extent.blob, extent.offset, extent.frames) for one in old.extents
        ):
            return extent
        size = byte_range(extent, old.form).bytes
        data = self._store.blobs.read(extent.blob, extent.offset, size)
        if len(data) != size:
            raise TryLater("a file of frames is shorter than it was")
        part = self._store.blobs.part(f"frames-{extent.blob}-{extent.offset}")
        with synced(part) as out:
            out.write(data)
        key = BlobKey(hashlib.sha256(data).hexdigest())
        self._store.blobs.add(part, key)
        return replace(extent, blob=key, offset=0)


async def forget(db: Connection, blobs: Collection[BlobKey], now: datetime) -> None:
    """A job that takes frames off the disk that no track needs."""
    if blobs:
        await jobs.add(db, orders.Forget(tuple(sorted(blobs))).job(), now)


def _decided_as(old: Cut, new: Cut) -> Cut:
    """The same piece in its new place."""
    return replace(new, gains=old.gains, level=old.level, off_by=old.off_by)


def _with(whole: Whole, extent: Extent, decided: Mapping[int, Cut]) -> Whole:
    """With frames that were made, and what was decided meanwhile."""
    cuts = tuple(decided.get(index, cut) for index, cut in enumerate(whole.cuts))
    return replace(whole, cuts=cuts, extents=tuple(sorted([*whole.extents, extent], key=lambda one: one.first)))


def grown_by(old: Whole, pieces: Sequence[Piece]) -> list[Cut] | None:
    """What stands behind the pieces of a track that only grew; None if it did not."""
    there = len(old.cuts)
    if tuple(pieces[:there]) != old.pieces:
        new = layout(pieces, old.form)
        return new[there:] if [cut.key for cut in new[:there]] == [cut.key for cut in old.cuts] else None
    first = there  # no further back than what a decoder remembers
    while first and sum(piece.samples for piece in pieces[first:there]) < PRE_ROLL:
        first -= 1
    new = layout(pieces[first:], old.form)[there - first :]
    return [replace(cut, ordinal=there + number) for number, cut in enumerate(new)]


def _matched(old: Sequence[Cut], new: Sequence[Cut]) -> dict[int, int]:
    """Which of the new pieces were there, each with its old place: behind its old neighbour first, else the first."""
    places: dict[str, list[int]] = {}
    for cut in old:
        places.setdefault(cut.key, []).append(cut.ordinal)
    found: dict[int, int] = {}
    behind = 0
    for cut in new:
        there = places.get(cut.key)
        if there:
            found[cut.ordinal] = behind if behind in there else there[0]
            behind = found[cut.ordinal] + 1
    return found


def _moved_extents(old: Whole, reused: Reused) -> list[Extent]:
    """Return where frames that are taken over lie, with their new numbers."""
    shift = reused.first - reused.origin
    parts = clip(old.extents, Span(reused.origin, reused.frames), old.form)
    return [replace(part, first=part.first + shift) for part in parts]


def _some(cuts: Sequence[Cut], first: int, end: int) -> int:
    """How many frames of a hole to make at once: whole pieces, some minutes of them."""
    borders = [*accumulate(cut.samples for cut in cuts)]
    enough = bisect_left(borders, first + frames_for(AT_ONCE), key=settled_frames)
    return min(settled_frames(borders[enough]) if enough < len(borders) else end, end) - first
