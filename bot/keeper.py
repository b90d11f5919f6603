"""Housekeeping: rows that were handled long ago are removed, and files that no row names; once a day each podcast's
retention is looked at, and every file of an episode, and what lacks beside it is ordered."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from bot import orders
from bot.intake import expiry, portraying
from bot.settings import RetentionSettings
from bot.studio import ending as studio
from bot.studio.writing import GOOD_FOR
from storage import (
    archive,
    early_redactions,
    ended_addresses,
    feed_editions,
    floor_marks,
    jobs,
    journal,
    originals,
    orphans,
    questions,
    replays,
    sealed_messages,
    withheld_keys,
)
from storage.blobs import marks
from storage.database import Connection
from storage.errors import MediaHeldError, StoreError
from storage.records import BlobKey, Episode, Original, RecordingId
from storage.store import Store

log = logging.getLogger(__name__)

EVERY_S = 3600.0
DAILY = timedelta(days=1)
FILES_AT_ONCE = 500
MISSING_A_DAY = 500
ORDERS_AT_ONCE = 50
FEW = 50  # files that some crashes may leave behind
KEEP_HANDLED_EVENTS = timedelta(days=30)  # their ids alone, so that none is handled twice
KEEP_CANDIDATES = timedelta(days=7)  # after the end of their broadcast, if its own look (`orphans`) never came
KEEP_FLOOR_MARKS = KEEP_HANDLED_EVENTS  # those events may still be handled
KEEP_SEALED_MESSAGES = timedelta(days=7)  # their keys come no more
KEEP_QUESTIONS = timedelta(days=1)
KEEP_ENDED_ADDRESSES = timedelta(days=5 * 365)  # podcast apps ask for years; after that the address is unknown
KEEP_FINISHED_JOBS = timedelta(days=7)


class Keeper:
    """Housekeeping once an hour."""

    def __init__(self, store: Store, clock: Callable[[], datetime], retention: RetentionSettings) -> None:
        self._store = store
        self._clock = clock
        self._retention = retention
        self._expired_at: datetime | None = None
        self._checked_at: datetime | None = None
        self._swept_at: datetime | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self.tidy()
                await self.sweep()
                await self.expire()
                await self.check_daily()
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
            await feed_editions.prune(db)
            await early_redactions.prune(db, now - KEEP_HANDLED_EVENTS)
            await ended_addresses.prune(db, now - KEEP_ENDED_ADDRESSES)
            await studio.tidy(db, now, GOOD_FOR)
            done = await jobs.prune(db, now, KEEP_FINISHED_JOBS)
            if overdue := await marks.take_overdue(db, now):
                await jobs.add(db, orders.Forget(tuple(overdue)).job(), now)
        if events or done:
            log.debug("housekeeping: %d events, %d jobs removed", events, done)

    async def expire(self) -> None:
        """Order a look at the retention of every podcast, at the start and once a day."""
        now = self._clock()
        if not _is_due(self._expired_at, now):
            return
        async with self._store.read() as db:
            podcasts = await expiry.podcasts(db, self._retention)
        async with self._store.write() as db:
            for room_id in podcasts:
                await jobs.add(db, orders.Expire(room_id).job(), now)
        self._expired_at = now

    async def check_daily(self) -> None:
        """Compare all files of episodes with their rows, and order what lacks, at the start and once a day."""
        now = self._clock()
        if _is_due(self._checked_at, now):
            await self.check_files()
            await self.order_missing()
            self._checked_at = now

    async def check_files(self) -> None:
        """Order a look at every episode whose file is gone or cut, or was, and at every such original sound."""
        last: RecordingId | None = RecordingId(0)
        while last is not None:
            last = await self._check_some(archive.episodes_after, orders.CheckEpisode, last)
        last = RecordingId(0)
        while last is not None:
            last = await self._check_some(originals.after, orders.KeepOriginal, last)

    async def _check_some(
        self,
        behind: Callable[[Connection, RecordingId, int], Awaitable[Sequence[Episode | Original]]],
        order: type[orders.CheckEpisode] | type[orders.KeepOriginal],
        last: RecordingId,
    ) -> RecordingId | None:
        """Look at the next files `behind` a recording; return the last of them, None where there are none."""
        async with self._store.read() as db:
            stored = await behind(db, last, FILES_AT_ONCE)
        unlike = await self._store.blobs.unlike({each.blob: each.bytes for each in stored})
        known_lost = {each.blob for each in stored if isinstance(each, Episode) and each.lost_at is not None}
        wrong = [each.recording_id for each in stored if each.blob in unlike | known_lost]
        if wrong:
            async with self._store.write() as db:
                for recording_id in wrong:
                    await jobs.add(db, order(recording_id).job(), self._clock())
        return stored[-1].recording_id if stored else None

    async def order_missing(self) -> None:
        """Order the original sound and the portraits that episodes have not, such as those of before there were any: so
        many a day, spread over it."""
        async with self._store.read() as db:
            portraits = await portraying.missing(db, MISSING_A_DAY)
            unfinished = await jobs.unfinished(db, orders.KeepOriginal.kind)
            wanting = await originals.wanting(db, MISSING_A_DAY)
        waiting = {orders.KeepOriginal.of(job).recording for job in unfinished}
        some = [each for each in wanting if each not in waiting][: max(0, MISSING_A_DAY - len(waiting))]
        await self._spread([orders.KeepOriginal(recording_id) for recording_id in some])
        await self._spread(portraits)

    async def _spread(self, missing: Sequence[orders.Order]) -> None:
        now = self._clock()
        for start in range(0, len(missing), ORDERS_AT_ONCE):
            async with self._store.write() as db:
                for number, order in enumerate(missing[start : start + ORDERS_AT_ONCE], start):
                    await jobs.add(db, order.job(now + number * DAILY / MISSING_A_DAY), now)

    async def sweep(self) -> None:
        """Order the removal of files that no row names.

        A process that dies between a file and its row leaves such a file, and it may hold sound that was redacted
        since. The Forget order looks again before it removes one, while nobody writes. None goes while a row names no
        file by what should be a name: any of them may be the one that is meant. A media store is listed at the
        start and once a day: that costs requests, and `storage.blobs.marks` name what a dead process leaves there.
        """
        now = self._clock()
        if self._store.blobs.remote is not None and not _is_due(self._swept_at, now):
            return
        try:
            await self._store.hold_media()
        except MediaHeldError as error:
            log.error("no file is removed: %s", error)
            return
        known, lost = 0, set[BlobKey]()
        async for keys in self._store.blobs.pages():
            async with self._store.read() as db:
                needed = await archive.referenced(db, keys) if keys else frozenset()
            known, lost = known + len(needed), lost | (set(keys) - needed)
        async with self._store.read() as db:
            for job in await jobs.unfinished(db, orders.Forget.kind) if lost else ():
                lost -= set(orders.Forget.of(job).blobs)  # an order removes them at a time of its own
            torn = await archive.torn_names(db) if lost else 0
        if torn:
            log.error("%s; `aircheck verify` names the rows", keeps_all(len(lost), torn))
        elif are_too_many(len(lost), known):
            log.error("%d files are in no row, %d are: is this the right database? None is removed", len(lost), known)
        elif lost:
            log.warning("removing %d files that are in no row", len(lost))
            async with self._store.write() as db:
                await jobs.add(db, orders.Forget(tuple(sorted(lost))).job(), now)
        self._swept_at = now


def are_too_many(unnamed: int, named: int) -> bool:
    """Tell whether so many files are in no row that the database must be the wrong one."""
    return unnamed > max(named, FEW)


def keeps_all(unnamed: int, torn: int) -> str:
    """Say that files without a row stay, as rows don't tell any more which files they name."""
    return f"no file is removed: {unnamed} are in no row, and any may be meant by the torn names in {torn} rows"


def _is_due(last: datetime | None, now: datetime) -> bool:
    """Return whether something daily that was done `last` is to be done again, also after the clock was set back."""
    return last is None or not last <= now < last + DAILY
