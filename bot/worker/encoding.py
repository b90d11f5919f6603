"""Frames of a running broadcast, made chunk by chunk: the live stream, and later the episode.

A track that somebody listens to only grows, in the order of the sound. If a chunk is missing before one that has come,
the track waits for it; then silence takes its place. A chunk that comes after that is inserted while nobody listens, at
the latest when the recording has ended, since the frames after it may have to be made again.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot import orders
from bot.audio.plan import Mix, Piece, Silence, Sound
from bot.recording.kinds import lay_out
from bot.recording.ledger import Ledger
from bot.worker.pieces import channels_of, piece_of_entry, pieces_of
from bot.worker.tracks import Tracks
from storage import archive, jobs
from storage.records import Chunk, Job, Recording, RecordingId, StemPart
from storage.store import Store

HELD_FOR = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class _Hold:
    """A live track that waits at a missing chunk."""

    pieces: int  # before the missing chunk
    until: datetime


class Encoding:
    """The handler of Encode orders: it extends the track of a running recording by its new chunks."""

    def __init__(
        self,
        store: Store,
        tracks: Tracks,
        clock: Callable[[], datetime],
        *,
        listened: Callable[[RecordingId], bool],
    ) -> None:
        self._store = store
        self._tracks = tracks
        self._clock = clock
        self._listened = listened
        self._holds: dict[RecordingId, _Hold] = {}

    async def __call__(self, job: Job) -> None:
        recording_id = orders.Encode.of(job).recording
        async with self._tracks.alone(recording_id):
            async with self._store.read() as db:
                recording = await archive.recording(db, recording_id)
                if recording is None or not recording.state.is_open:
                    self._holds.pop(recording_id, None)
                    return
                chunks = await self._store.chunks.of(db, recording_id)
                whole = await self._tracks.read(db, recording_id)
            before = whole.pieces if whole else ()
            ledger, there = await asyncio.to_thread(_compared, recording, chunks, before)
            channels = channels_of(ledger.entries, chunks)
            if before and there is not None and self._listened(recording_id):
                channels = whole.track.channels if whole else channels
            elif there is not None and there.late:
                before = tuple(pieces_of(ledger.entries[: there.behind]))
            if there is None and before:  # the track holds sound that is no longer in the ledger
                self._holds.pop(recording_id, None)
                pieces = _to_the_last_sound(pieces_of(ledger.entries))  # the wait for their missing chunks is over
            else:
                behind = ledger.entries[there.behind if there is not None else 0 :]
                pieces = self._grown(recording_id, before, pieces_of(behind))
            if pieces:
                await self._tracks.advance(recording, pieces, channels)
            elif before:
                await self._tracks.clear(recording_id)
            await self._look_again(recording_id)

    def _grown(self, recording_id: RecordingId, before: Sequence[Piece], behind: Iterable[Piece]) -> list[Piece]:
        """Return the track's pieces and those after them that can be heard now, up to a missing chunk that is waited
        for.

        Silence counts only once a piece follows it. Nothing is missing in a pause.
        """
        hold = self._holds.pop(recording_id, None)
        now = self._clock()
        grown = list(before)
        gap: list[Silence] = []
        for piece in behind:
            if isinstance(piece, Silence):
                gap.append(piece)
                continue
            missing = any(not silence.pause for silence in gap)
            if missing and (hold is None or hold.pieces != len(grown)):
                hold = _Hold(len(grown), now + HELD_FOR)
            if missing and hold is not None and now < hold.until:
                self._holds[recording_id] = hold
                break
            grown += [*gap, piece]
            gap = []
        return grown

    async def _look_again(self, recording_id: RecordingId) -> None:
        hold = self._holds.get(recording_id)
        if hold is not None:
            async with self._store.write() as db:
                await jobs.add(db, orders.Encode(recording_id).job(hold.until), self._clock())


def _to_the_last_sound(pieces: Iterable[Piece]) -> list[Piece]:
    """Leave out the silence at the end: no sound follows it yet."""
    kept = list(pieces)
    while kept and isinstance(kept[-1], Silence):
        kept.pop()
    return kept


@dataclass(frozen=True, slots=True)
class _There:
    """The part of a ledger that a track holds."""

    behind: int  # index of the first entry that the track does not reach
    late: bool  # before that entry there is sound that the track does not hold


def _compared(recording: Recording, chunks: Iterable[Chunk], before: Iterable[Piece]) -> tuple[Ledger, _There | None]:
    """Lay out the ledger and find the part that a track holds; None if the track holds sound that was removed. A window
    of a call may have gained a stem since."""
    ledger = lay_out(recording, chunks)
    there = [(index, piece_of_entry(entry)) for index, entry in enumerate(ledger.entries) if entry.sounds]
    track = [piece for piece in before if not isinstance(piece, Silence)]
    if not track:
        return ledger, None
    same = next((n for n, (piece, (_, heard)) in enumerate(zip(track, there, strict=False)) if piece != heard), None)
    if same is None and len(track) <= len(there):  # by far the most frequent case
        return ledger, _There(there[len(track) - 1][0] + 1, late=False)
    same = min(len(track), len(there)) if same is None else same
    held = [sound for piece in track[same:] for sound in _sounds_of(piece)]
    heard = [(index, _sounds_of(piece)) for index, piece in there[same:]]
    if Counter(held) - Counter(sound for _, sounds in heard for sound in sounds):
        return ledger, None
    last = [index for index, sounds in heard if held[-1] in sounds]  # silence may be the same file many times
    behind = last[held.count(held[-1]) - 1] + 1
    return ledger, _There(behind, late=sum(len(sounds) for index, sounds in heard if index < behind) > len(held))


def _sounds_of(piece: Piece) -> Sequence[Hashable]:
    """Return what is heard in a piece: a chunk, or the slices of stems."""
    match piece:
        case Sound():
            return (piece.blob,)
        case Mix():
            return [sound for part in piece.parts for sound in _slices_of(part)]
    return ()


def _slices_of(part: StemPart) -> Iterator[Hashable]:
    """Yield the slices that are heard in a part: the end of the one before it, which stays where it was when a late
    slice continues it, then its own."""
    if part.lead:
        yield part.stem, part.before, "end"
    if part.blob is not None:
        yield part.stem, part.blob
