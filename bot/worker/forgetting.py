"""The removal of blobs that nothing refers to any more, and of the stems of deleted calls that still grow."""

import asyncio
import logging

from bot import orders
from storage import archive
from storage.records import Job, RecordingState
from storage.store import Store

log = logging.getLogger(__name__)


class Forgetting:
    """The handler of Forget orders."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __call__(self, job: Job) -> None:
        keys = orders.Forget.of(job).blobs
        # Inside a write transaction no new reference can appear while the files go.
        async with self._store.write() as db:
            needed = await archive.referenced(db, keys)
            for key in keys:
                if key not in needed:
                    await asyncio.to_thread(self._store.blobs.remove, key)
                    log.info("forgotten: blob=%s", key[:12])


class ForgettingStems:
    """The handler of ForgetStems orders. A writer that still has such a file open writes into nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __call__(self, job: Job) -> None:
        recording_id = orders.ForgetStems.of(job).recording
        async with self._store.read() as db:
            recording = await archive.recording(db, recording_id)
        if recording is None or recording.state is RecordingState.DELETED:
            await asyncio.to_thread(self._store.stems.remove_all, recording_id)
            log.info("forgotten: stems of recording=%d", recording_id)
