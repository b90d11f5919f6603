"""The keeping of slices and of whole stems: their bytes become blobs, then one transaction writes their rows.

A process that dies in between leaves the stem's file, from which recovery makes the same slices again. The file goes
only once all that it holds is in rows. The recording may refuse what it is given (`bot.recording.call.stems`): then
it orders the removal of the blobs.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from datetime import datetime
from pathlib import Path

from bot import orders
from bot.calls.stems.slices import Slice
from bot.calls.stems.writer import Closed
from bot.recording.model import RecordingEvent, SlicesKept, StemClosed
from storage import archive, jobs
from storage.database import Connection
from storage.private import synced
from storage.records import BlobKey, LeftBy, RecordingId, RecordingState
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
        parts = {each.key: self._store.blobs.part(f"slice-{each.key}") for each in slices}
        files = [*((part, key) for key, part in parts.items()), *self._whole(recording_id, closed)]
        try:
            await loop.run_in_executor(self._threads, self._write, recording_id, slices, parts)
            async with self._store.blobs.arriving(*files, stays=True) as new, self._store.write() as db:
                await new.keep(db)
                await self._keep(db, recording_id, slices, closed)
        finally:
            for part in parts.values():
                await asyncio.to_thread(part.unlink, missing_ok=True)

    async def _keep(
        self,
        db: Connection,
        recording_id: RecordingId,
        slices: Sequence[Slice],
        closed: Sequence[tuple[Closed, LeftBy]],
    ) -> None:
        """Write the rows of slices and stems, and order the mix of what is new."""
        if slices:
            await self._apply(db, recording_id, SlicesKept(tuple(each.chunk(recording_id) for each in slices)))
        for stem, by in closed:
            await self._apply(db, recording_id, _closed(stem, by))
        recording = await archive.recording(db, recording_id)
        if slices and recording is not None and recording.state.is_open:
            await jobs.add(db, orders.Encode(recording_id).job(), self._clock())

    def _whole(
        self, recording_id: RecordingId, closed: Sequence[tuple[Closed, LeftBy]]
    ) -> Iterator[tuple[Path, BlobKey]]:
        """Yield the files of the stems that have ended, which stay where they are."""
        for stem, _ in closed:
            if stem.key is not None:
                yield self._store.stems.path(recording_id, stem.stem.number), stem.key

    def _write(self, recording_id: RecordingId, slices: Sequence[Slice], parts: Mapping[BlobKey, Path]) -> None:
        """Write each slice into a file of its own."""
        for each in slices:
            pages = self._store.stems.read(recording_id, each.stem.number, each.offset, each.pages_size)
            with synced(parts[each.key]) as out:
                out.write(each.headers + pages)


def _closed(stem: Closed, by: LeftBy) -> StemClosed:
    size = stem.bytes if stem.key is not None else None
    return StemClosed(stem.stem.number, stem.left, by, stem.received, stem.lost, stem.key, size, stem.count)
