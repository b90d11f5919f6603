"""While a broadcast runs its sound becomes frames, chunk by chunk: what is heard live, and what the episode is made of.

A live track only grows, in the order of the sound. Where a chunk is missing in front of one that is there, it is
waited for; then its silence goes in. What comes later than that is put in its place when the recording has ended.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.audio.plan import Piece, Silence, Sound
from bot.recording.ledger import Entry, lay_out
from bot.worker.pieces import channels_of, piece_of, pieces_of
from bot.worker.tracks import Tracks
from storage import archive, jobs
from storage.records import BlobKey, Job, JobKind, NewJob, RecordingId, RecordingState
from storage.store import Store

RUNNING = {RecordingState.LIVE, RecordingState.FINISHING}
HELD_FOR = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class _Hold:
    """A live track that waits at a gap."""

    pieces: int  # in front of it
    until: datetime


class Encoding:
    """Handles ENCODE jobs: the track of a running recording is brought up to its chunks."""

    def __init__(self, store: Store, tracks: Tracks, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._tracks = tracks
        self._clock = clock
        self._holds: dict[RecordingId, _Hold] = {}

    async def __call__(self, job: Job) -> None:
        recording_id = RecordingId(int(job.subject))
        async with self._tracks.alone(recording_id):
            async with self._store.read() as db:
                recording = await archive.recording(db, recording_id)
                chunks = await archive.chunks(db, recording_id)
            if recording is None or recording.state not in RUNNING:
                self._holds.pop(recording_id, None)
                return
            ledger = await asyncio.to_thread(lay_out, recording, chunks)
            whole = await self._tracks.read(recording_id)
            before = [piece_of(cut, self._store) for cut in whole.cuts] if whole else []
            behind = _behind(ledger.entries, before)
            if behind is None and before:  # something that was heard is not there any more
                before = []
                pieces = _to_the_last_sound(pieces_of(ledger.entries, self._store))  # their gaps were waited for
            else:
                pieces = self._grown(recording_id, before, pieces_of(ledger.entries[behind or 0 :], self._store))
            if pieces:
                channels = whole.track.channels if whole and before else channels_of(ledger.entries, chunks)
                await self._tracks.advance(recording, pieces, channels)
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
                await jobs.add(db, NewJob(JobKind.ENCODE, str(recording_id), {}, hold.until), self._clock())


def _to_the_last_sound(pieces: Iterable[Piece]) -> list[Piece]:
    """Without the silence behind it: nothing is there yet that stands after it."""
    found = list(pieces)
    while found and isinstance(found[-1], Silence):
        found.pop()
    return found


def _behind(entries: Sequence[Entry], before: Sequence[Piece]) -> int | None:
    """The first entry behind what a track holds; None if not all of that is there any more."""
    heard = [entry.blob if entry.sounds else None for entry in entries]
    held = [BlobKey(piece.path.name) for piece in before if isinstance(piece, Sound)]
    if not held or Counter[BlobKey | None](held) - Counter(heard):
        return None
    return len(heard) - heard[::-1].index(held[-1])
