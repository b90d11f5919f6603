"""The keeping of slices and of whole stems: their bytes become blobs, then one transaction writes their rows.

A process that dies in between leaves the stem's file, from which recovery makes the same slices again. The file goes
only once all that it holds is in rows. The recording may refuse what it is given (`bot.recording.call.stems`): then
it orders the removal of the blobs.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from datetime import datetime

from bot import orders
from bot.calls.stems.slices import Slice
from bot.calls.stems.writer import Closed
from bot.recording.model import RecordingEvent, SlicesKept, StemClosed
from storage import archive, jobs
from storage.database import Connection
from storage.records import LeftBy, RecordingId, RecordingState
from storage.store import Store

Apply = Callable[[Connection, RecordingId, RecordingEvent], Awaitable[None]]
"""The recorder's `apply`."""


class Keeping:
    """A keeper of slices and stems. `threads`: where it writes files."""

    def __init__(self, store: Store, apply: Apply, clock: Callable[[], datetime], threads: Executor) -> None:
        self._store = store
        self._apply = apply
        self._clock = clock
        self._threads = threads

    async def keep(
        self, recording_id: RecordingId, slices: Sequence[Slice], closed: Sequence[tuple[Closed, LeftBy]] = ()
    ) -> None:
        """Store slices, and stems that have ended, and have the new sound mixed; nothing of a deleted recording. Raises
        StoreError, OSError; it can be tried again."""
        async with self._store.read() as db:
            recording = await archive.recording(db, recording_id)
        if recording is None or recording.state is RecordingState.DELETED:
            return  # its files are gone, or will be
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, self._store_bytes, recording_id, slices, closed)
        async with self._store.write() as db:
            # Again inside the transaction: a Forget order may have removed what was in no row so far. Not in the
            # threads of stems: every other write waits, and those may be stuck in the disk.
            await asyncio.to_thread(self._store_bytes, recording_id, slices, closed)
            if slices:
                await self._apply(db, recording_id, SlicesKept(tuple(each.chunk(recording_id) for each in slices)))
            for stem, by in closed:
                await self._apply(db, recording_id, _closed(stem, by))
            recording = await archive.recording(db, recording_id)
            if slices and recording is not None and recording.state.is_open:
                await jobs.add(db, orders.Encode(recording_id).job(), self._clock())

    def _store_bytes(
        self, recording_id: RecordingId, slices: Sequence[Slice], closed: Sequence[tuple[Closed, LeftBy]]
    ) -> None:
        for each in slices:
            if not self._store.blobs.exists(each.key):
                pages = self._store.stems.read(recording_id, each.stem.number, each.offset, each.pages_size)
                self._store.blobs.add_bytes(each.headers + pages, each.key)
        for stem, _ in closed:
            if stem.key is not None:
                self._store.blobs.add_copy(self._store.stems.path(recording_id, stem.stem.number), stem.key)


def _closed(stem: Closed, by: LeftBy) -> StemClosed:
    size = stem.bytes if stem.key is not None else None
    return StemClosed(stem.stem.number, stem.left, by, stem.received, stem.lost, stem.key, size, stem.count)
