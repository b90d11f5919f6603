"""The stems of all calls: their threads, and what a crash left of them."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from bot.calls.stems.call import CallStems
from bot.calls.stems.keeping import Apply, Keeping
from bot.calls.stems.recovery import recovered, silent, unread
from storage import archive, calls
from storage.errors import StoreError
from storage.records import Chunk, LeftBy, RecordingId, RecordingState, Stem
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
        """Recover the stems of a recording. A file that can't be read stays for the next start, and keeps no device
        from coming back."""
        files = self._store.stems
        async with self._store.read() as db:
            recording = await archive.recording(db, recording_id)
            chunks = await archive.chunks(db, recording_id)
        numbers = set(await asyncio.to_thread(files.numbers, recording_id))
        unreadable: set[int] = set()
        for stem in recording.stems if recording is not None and recording.state is not RecordingState.DELETED else ():
            mine = [chunk for chunk in chunks if chunk.stem == stem.number]
            try:
                await self._recover_stem(recording_id, stem, mine, has_file=stem.number in numbers)
            except OSError as error:
                log.error("stem can't be recovered: recording=%d stem=%d: %s", recording_id, stem.number, error)
                unreadable.add(stem.number)
                if stem.left is None and recording is not None and recording.state is RecordingState.LIVE:
                    await self._keeping.keep(recording_id, (), ((unread(stem, mine), LeftBy.LOST),))
        if not unreadable:
            await asyncio.to_thread(files.remove_all, recording_id)
        for number in numbers - unreadable if unreadable else ():
            await asyncio.to_thread(files.remove, recording_id, number)

    async def _recover_stem(self, recording_id: RecordingId, stem: Stem, mine: list[Chunk], *, has_file: bool) -> None:
        """Keep what is on the disk of a stem, and close it if it is open. Raises OSError, StoreError."""
        files = self._store.stems
        is_open = stem.left is None
        if has_file and not stem.removed:
            position = max((chunk.position for chunk in mine), default=stem.position)
            found = await asyncio.to_thread(recovered, files, recording_id, stem, mine, position)
        elif not is_open:
            return
        elif stem.removed or mine:
            found = unread(stem, mine)
        else:
            found = await asyncio.to_thread(silent, files, recording_id, stem)
        closed = ((found, LeftBy.LOST),) if is_open or stem.blob is None else ()
        await self._keeping.keep(recording_id, found.slices, closed)
        log.warning("stem recovered: recording=%d stem=%d slices=%d", recording_id, stem.number, len(found.slices))

    def stop(self) -> None:
        """End the threads."""
        self._threads.shutdown()
