"""Frames of a running broadcast, made chunk by chunk: the live stream, and later the episode.

A track that somebody listens to only grows, in the order of the sound. If a chunk is missing before one that has come,
the track waits for it; then silence takes its place. A chunk that comes after that is inserted while nobody listens, at
the latest when the recording has ended, since the frames after it may have to be made again.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot import orders
from bot.audio.plan import Mix, Piece, Silence, Sound
from bot.recording.kinds import lay_out
from bot.recording.ledger import Ledger
from bot.worker.pieces import channels_of, piece_of_entry, pieces_of
from bot.worker.tracks import Tracks
from storage import archive, jobs
from storage.database import Connection
from storage.records import Chunk, Job, Recording, RecordingId, StemPart
from storage.store import Store

HELD_FOR = timedelta(seconds=10)


class Encoding:
    """The handler of Encode orders: it extends the track of a running recording by its new chunks."""

    def __init__(
        self,
        store: Store,
        tracks: Tracks,
        clock: Callable[[], datetime],
        *,
        listened: Callable[[Connection, RecordingId], Awaitable[bool]],
    ) -> None:
        self._store = store
        self._tracks = tracks
        self._clock = clock
        self._listened = listened

    async def __call__(self, job: Job) -> None:
        order = orders.Encode.of(job)
        recording_id = order.recording
        async with self._tracks.alone(recording_id):
            async with self._store.read() as db:
                recording = await archive.recording(db, recording_id)
                if recording is None or not recording.state.is_open:
                    return
                chunks = await self._store.chunks.of(db, recording_id)
                whole = await self._tracks.read(db, recording_id)
                listened = await self._listened(db, recording_id)
            before = whole.pieces if whole else ()
            ledger, there = await asyncio.to_thread(_compared, recording, chunks, before)
            channels = channels_of(ledger.entries, chunks)
            if before and there is not None and listened:
                channels = whole.track.channels if whole else channels
            elif there is not None and there.late:
                before = tuple(pieces_of(ledger.entries[: there.behind]))
            if there is None and before:  # the track holds sound that is no longer in the ledger
                hold = None
                pieces = _to_the_last_sound(pieces_of(ledger.entries))  # the wait for their missing chunks is over
            else:
                behind = ledger.entries[there.behind if there is not None else 0 :]
                pieces, hold = self._grown(order, before, pieces_of(behind))
            if pieces:
                await self._tracks.advance(recording, pieces, channels)
            elif before:
                await self._tracks.clear(recording_id)
            if hold is not None:
                async with self._store.write() as db:
                    await jobs.add(db, hold.job(hold.until), self._clock())

    def _grown(
        self, order: orders.Encode, before: Sequence[Piece], behind: Iterable[Piece]
    ) -> tuple[list[Piece], orders.Encode | None]:
        """Return the track's pieces and those after them that can be heard now, up to a missing chunk that is waited
        for; and the order to go on then, if there is one.

        Silence counts only once a piece follows it. Nothing is missing in a pause.
        """
        now = self._clock()
        held, until = order.held, order.until and min(order.until, now + HELD_FOR)  # the clock may have been set back
        grown = list(before)
        gap: list[Silence] = []
        for piece in behind:
            if isinstance(piece, Silence):
                gap.append(piece)
                continue
            missing = any(not silence.pause for silence in gap)
            if missing and (until is None or held != len(grown)):
                held, until = len(grown), now + HELD_FOR
            if missing and until is not None and now < until:
                return grown, orders.Encode(order.recording, held, until)
            grown += [*gap, piece]
            gap = []
        return grown, None


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
