"""The stems of all calls: their threads, and what a crash left of them."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from bot.calls.stems.call import CallStems
from bot.calls.stems.keeping import Apply, Keeping
from bot.calls.stems.recovery import recovered
from bot.calls.stems.writer import Closed
from storage import archive, calls
from storage.errors import StoreError
from storage.records import LeftBy, RecordingId, RecordingState, Samples
from storage.store import Store

log = logging.getLogger(__name__)

THREADS = 4
"""Threads that write. Journaling file systems sync the files of several at once."""


class Stems:
    """The stems of all calls. `apply`: the recorder's."""

    def __init__(self, store: Store, apply: Apply, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="stems")
        self._keeping = Keeping(store, apply, clock, self._threads)

    def of(self, recording_id: RecordingId) -> CallStems:
        """Return the writer of a call's stems, with none open."""
        return CallStems(recording_id, self._store.stems, self._keeping, self._threads)

    async def recover(self) -> None:
        """Keep what a crash left in files, and close the stems that were open, as lost. At the start, before a call is
        joined. The trouble of one call keeps no other from it. Raises StoreError; it can be tried again."""
        troubles: list[StoreError] = []
        async with self._store.read() as db:
            running = [recording.id for recording in await calls.running(db)]
        for recording_id in sorted({*running, *await self._in_files()}):
            try:
                await self._recover_recording(recording_id)
            except OSError as error:  # its files stay: the next start tries again
                log.error("stems can't be recovered: recording=%d: %s", recording_id, error)
            except StoreError as error:
                log.error("stems can't be recovered for now: recording=%d: %s", recording_id, error)
                troubles.append(error)
        for trouble in troubles:
            raise trouble

    async def _in_files(self) -> list[RecordingId]:
        """Return the calls that have files."""
        try:
            return await asyncio.to_thread(self._store.stems.recordings)
        except OSError as error:
            log.error("the folder of stems can't be read: %s", error)
            return []

    async def _recover_recording(self, recording_id: RecordingId) -> None:
        files = self._store.stems
        async with self._store.read() as db:
            recording = await archive.recording(db, recording_id)
            chunks = await archive.chunks(db, recording_id)
        numbers = await asyncio.to_thread(files.numbers, recording_id)
        for stem in recording.stems if recording is not None and recording.state is not RecordingState.DELETED else ():
            mine = [chunk for chunk in chunks if chunk.stem == stem.number]
            if stem.number in numbers and not stem.removed:
                position = max((chunk.position for chunk in mine), default=stem.position)
                found = await asyncio.to_thread(recovered, files, recording_id, stem, mine, position)
            elif stem.left is None:
                found = Closed(stem, stem.joined, Samples(0), Samples(0), None, 0, (), 0)
            else:
                continue
            closed = () if stem.left is not None else ((found, LeftBy.LOST),)
            await self._keeping.keep(recording_id, found.slices, closed)
            log.warning("stem recovered: recording=%d stem=%d slices=%d", recording_id, stem.number, len(found.slices))
        await asyncio.to_thread(files.remove_all, recording_id)

    def stop(self) -> None:
        """End the threads."""
        self._threads.shutdown()
