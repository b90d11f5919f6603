"""Housekeeping: rows that were handled long ago are removed, and files that no row names; once a day each podcast's
retention is looked at."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from bot import orders
from bot.intake import expiry
from bot.settings import RetentionSettings
from storage import (
    archive,
    early_redactions,
    floor_marks,
    jobs,
    journal,
    orphans,
    questions,
    replays,
    sealed_messages,
    withheld_keys,
)
from storage.errors import StoreError
from storage.records import BlobKey
from storage.store import Store

log = logging.getLogger(__name__)

EVERY_S = 3600.0
RETENTION_EVERY = timedelta(days=1)
FEW = 50  # files that some crashes may leave behind
KEEP_HANDLED_EVENTS = timedelta(days=30)  # their ids alone, so that none is handled twice
KEEP_CANDIDATES = timedelta(days=7)  # after the end of their broadcast, if its own look (`orphans`) never came
KEEP_FLOOR_MARKS = KEEP_HANDLED_EVENTS  # those events may still be handled
KEEP_SEALED_MESSAGES = timedelta(days=7)  # their keys come no more
KEEP_QUESTIONS = timedelta(days=1)
KEEP_FINISHED_JOBS = timedelta(days=7)


class Keeper:
    """Housekeeping once an hour."""

    def __init__(self, store: Store, clock: Callable[[], datetime], retention: RetentionSettings) -> None:
        self._store = store
        self._clock = clock
        self._retention = retention
        self._expired_at: datetime | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self.tidy()
                await self.sweep()
                await self.expire()
            except (StoreError, OSError) as error:
                log.error("housekeeping failed, trying again: %s", error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), EVERY_S)

    def stop(self) -> None:
        self._stopping.set()

    async def tidy(self) -> None:
        now = self._clock()
        async with self._store.write() as db:
            events = await journal.prune(db, now - KEEP_HANDLED_EVENTS)
            await withheld_keys.prune(db, now - KEEP_HANDLED_EVENTS)
            await orphans.prune(db, now - KEEP_CANDIDATES)
            await replays.prune(db, now - KEEP_HANDLED_EVENTS)
            await floor_marks.prune(db, now - KEEP_FLOOR_MARKS)
            await sealed_messages.prune(db, now - KEEP_SEALED_MESSAGES)
            await questions.prune(db, now - KEEP_QUESTIONS)
            await early_redactions.prune(db, now - KEEP_HANDLED_EVENTS)
            done = await jobs.prune(db, now, KEEP_FINISHED_JOBS)
        if events or done:
            log.debug("housekeeping: %d events, %d jobs removed", events, done)

    async def expire(self) -> None:
        """Order a look at the retention of every podcast, at the start and once a day."""
        now, last = self._clock(), self._expired_at
        if last is not None and last <= now < last + RETENTION_EVERY:
            return
        async with self._store.read() as db:
            podcasts = await expiry.podcasts(db, self._retention)
        async with self._store.write() as db:
            for room_id in podcasts:
                await jobs.add(db, orders.Expire(room_id).job(), now)
        self._expired_at = now

    async def sweep(self) -> None:
        """Order the removal of files that no row names.

        A process that dies between a file and its row leaves such a file, and it may hold sound that was redacted
        since. The Forget order looks again before it removes one, while nobody writes.
        """
        folders = self._store.blobs.key_batches()
        known, lost = 0, set[BlobKey]()
        while (keys := await asyncio.to_thread(next, folders, None)) is not None:
            async with self._store.read() as db:
                needed = await archive.referenced(db, keys) if keys else frozenset()
            known, lost = known + len(needed), lost | (set(keys) - needed)
        async with self._store.read() as db:
            for job in await jobs.unfinished(db, orders.Forget.kind) if lost else ():
                lost -= set(orders.Forget.of(job).blobs)  # an order removes them at a time of its own
        if len(lost) > max(known, FEW):
            log.error("%d files are in no row, %d are: is this the right database? None is removed", len(lost), known)
        elif lost:
            log.warning("removing %d files that are in no row", len(lost))
            async with self._store.write() as db:
                await jobs.add(db, orders.Forget(tuple(sorted(lost))).job(), self._clock())
