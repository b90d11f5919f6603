"""While a broadcast runs its sound becomes frames, chunk by chunk: what is heard live, and what the episode is made of.

A track that somebody listens to only grows, in the order of the sound. Where a chunk is missing in front of one that
is there, it is waited for; then its silence goes in. What comes later than that is put in its place while nobody
listens, at the latest when the recording has ended: what stands behind it may have to be made anew.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot import orders
from bot.audio.plan import Piece, Silence
from bot.recording.kinds import lay_out
from bot.recording.ledger import Ledger
from bot.worker.pieces import channels_of, pieces_of
from bot.worker.tracks import Tracks
from storage import archive, jobs
from storage.records import BlobKey, Chunk, Cut, Job, Recording, RecordingId
from storage.store import Store

HELD_FOR = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class _Hold:
    """A live track that waits at a gap."""

    pieces: int  # in front of it
    until: datetime


class Encoding:
    """Handles Encode orders: the track of a running recording is brought up to its chunks."""

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
            cuts = whole.cuts if whole else ()
            ledger, there = await asyncio.to_thread(_compared, recording, chunks, cuts)
            channels = channels_of(ledger.entries, chunks)
            if before and there is not None and self._listened(recording_id):
                channels = whole.track.channels if whole else channels
            elif there is not None and there.late:
                before = tuple(pieces_of(ledger.entries[: there.behind]))
            if there is None and before:  # something that was heard is not there any more
                self._holds.pop(recording_id, None)
                pieces = _to_the_last_sound(pieces_of(ledger.entries))  # their gaps were waited for
            else:
                behind = ledger.entries[there.behind if there is not None else 0 :]
                pieces = self._grown(recording_id, before, pieces_of(behind))
            if pieces:
                await self._tracks.advance(recording, pieces, channels)
            elif before:
                await self._tracks.clear(recording_id)
            await self._look_again(recording_id)

    def _grown(self, recording_id: RecordingId, before: Sequence[Piece], behind: Iterable[Piece]) -> list[Piece]:
        """The pieces that were there, and those behind them that can be heard now: up to a gap that is waited for. A
        gap without anything behind it is none so far."""
        hold = self._holds.pop(recording_id, None)
        now = self._clock()
        grown = list(before)
        gap: list[Piece] = []
        for piece in behind:
            if isinstance(piece, Silence):
                gap.append(piece)
                continue
            if gap and (hold is None or hold.pieces != len(grown)):
                hold = _Hold(len(grown), now + HELD_FOR)
            if gap and hold is not None and now < hold.until:
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
    """Without the silence behind it: nothing is there yet that stands after it."""
    found = list(pieces)
    while found and isinstance(found[-1], Silence):
        found.pop()
    return found


@dataclass(frozen=True, slots=True)
class _There:
    """What a track holds of a ledger."""

    behind: int  # the first entry that it does not reach
    late: bool  # there is sound in front of that which the track does not hold


def _compared(recording: Recording, chunks: Iterable[Chunk], before: Iterable[Cut]) -> tuple[Ledger, _There | None]:
    """The ledger, and what of it a track holds; None if not all that it holds is in the ledger any more."""
    ledger = lay_out(recording, chunks)
    heard = [entry.blob if entry.sounds else None for entry in ledger.entries]
    held = [cut.blob for cut in before if cut.blob is not None]
    if not held or Counter[BlobKey | None](held) - Counter(heard):
        return ledger, None
    same = [index for index, blob in enumerate(heard) if blob == held[-1]]  # silence may be the same file many times
    behind = same[held.count(held[-1]) - 1] + 1
    return ledger, _There(behind, late=sum(blob is not None for blob in heard[:behind]) > len(held))
