"""The removal of blobs that nothing refers to any more, and of the stems of deleted calls that still grow."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime

from bot import orders
from storage import archive, checking, jobs
from storage.checking import Use
from storage.records import BlobKey, Job, RecordingState
from storage.store import Store

log = logging.getLogger(__name__)


class Forgetting:
    """The handler of Forget orders."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __call__(self, job: Job) -> None:
        gone = await self._store.blobs.forget(orders.Forget.of(job).blobs)
        for key in gone:
            log.info("forgotten: blob=%s", key[:12])
        if gone and self._store.blobs.remote is not None:
            await self._look_again(gone)

    async def _look_again(self, gone: Sequence[BlobKey]) -> None:
        """Have files brought back that have rows by now: a process that is paused between its last look and the removal
        can take a file away that has arrived anew."""
        async with self._store.read() as db:
            uses = await checking.uses(db, gone)
        if uses:
            log.warning("%d files have rows again that were being removed", len({use.blob for use in uses}))
            async with self._store.write() as db:
                for order in dict.fromkeys(map(_mends, uses)):
                    await jobs.add(db, order.job(), datetime.now(UTC))


def _mends(use: Use) -> orders.Order:
    if use.recording is not None:
        return orders.Mend(use.recording)
    assert use.room is not None, "a blob is of a recording or of a room"
    return orders.MendRoom(use.room)


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
