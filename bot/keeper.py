"""Keeps the house: what was dealt with long ago is removed."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from storage import jobs, journal
from storage.store import Store

log = logging.getLogger(__name__)

EVERY_S = 3600.0
KEEP_HANDLED_EVENTS = timedelta(days=30)  # only that they were seen, so that none is dealt with twice
KEEP_FINISHED_JOBS = timedelta(days=7)


class Keeper:
    """Tidies up once an hour."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        while not self._stopping.is_set():
            await self.tidy()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), EVERY_S)

    def stop(self) -> None:
        self._stopping.set()

    async def tidy(self) -> None:
        now = self._clock()
        async with self._store.write() as db:
            events = await journal.prune(db, now - KEEP_HANDLED_EVENTS)
            done = await jobs.prune(db, now, KEEP_FINISHED_JOBS)
        if events or done:
            log.debug("tidied up: %d events, %d jobs", events, done)
