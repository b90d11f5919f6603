"""Attempts at jobs: they run the handler and record its outcome.

A handler is safe to repeat: it may be killed at any point, and then runs again from the start. It ends its job by
returning (done), by TryLater (put back, with growing pauses), or by GiveUp (failed, with its reason).
"""

import asyncio
import itertools
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

from bot import counted, orders
from bot.errors import AircheckError, GiveUp, MisfitJob, TryLater
from storage import claims, jobs
from storage.database import Connection
from storage.errors import ClaimLostError, StoreBusyError, StoreError
from storage.records import Job, JobKind
from storage.store import Store

log = logging.getLogger(__name__)

Handler = Callable[[Job], Awaitable[None]]
WriteEnd = Callable[[Connection], Awaitable[None]]

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0  # the longest pause of a job that could continue, as when the homeserver is back
STORE_TROUBLE_PAUSE_S = 60.0
LONGEST_WISH_S = 7 * 86_400.0
TRIES_AFTER_A_MISTAKE = 5
TRIES_BEFORE_A_WARNING = 10


def pause_after(attempts: int, wished_s: float | None = None, longest_s: float | None = None) -> float:
    """Return the seconds until the next attempt: doubled each time, with jitter, and at least what the other side asks
    for."""
    pause = min(longest_s or LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(attempts - 1, 20))
    return max(min(wished_s or 0.0, LONGEST_WISH_S), pause * random.uniform(0.75, 1.25))


class Attempts:
    """Attempts at the jobs of one store. `stopping` is set when no further attempt should wait for the store."""

    def __init__(
        self,
        store: Store,
        handlers: Mapping[JobKind, Handler],
        clock: Callable[[], datetime],
        stopping: asyncio.Event,
    ) -> None:
        self._store = store
        self._handlers = handlers
        for kind in handlers:
            counted.JOBS.begin(kind)
        self._clock = clock
        self._stopping = stopping

    async def make(self, job: Job) -> None:
        """Do the job and write its outcome, however long the store refuses: no other process handles a running job.

        When the bot is stopping, or the attempt is cancelled, the row stays as it is; the next start takes it up.
        """
        try:
            with claims.holding(job):
                await self._make(job)
        except ClaimLostError:
            log.warning("job was given to another process meanwhile: %s %s", job.kind, job.subject)

    async def _make(self, job: Job) -> None:
        began = time.perf_counter()
        write_end = await self._do(job)
        counted.JOB_S.note(time.perf_counter() - began, job.kind)
        trouble = ""
        for tries in itertools.count():
            try:
                async with self._store.write() as db:
                    await write_end(db)
                return
            except StoreError as error:
                if str(error) != trouble:
                    log.error("the outcome of job %s %s can't be written: %s", job.kind, job.subject, error)
                trouble = str(error)
                if self._stopping.is_set():
                    return
                await self.rest(tries)

    async def rest(self, tries: int) -> None:
        """Wait before the store is tried again after so many tries more than one, at most until the stop."""
        with suppress(TimeoutError):
            pause_s = min(STORE_TROUBLE_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(tries, 20))
            await asyncio.wait_for(self._stopping.wait(), pause_s)

    async def _do(self, job: Job) -> WriteEnd:
        """Run the handler; return the function that writes its outcome."""
        try:
            await self._handlers[job.kind](job)
        except TryLater as error:
            pause_s = pause_after(job.attempts + 1, error.after_s, error.at_most_s)
            return self._put_back(job, error.sentence, pause_s)
        except ClaimLostError:
            raise
        except (StoreError, OSError) as error:  # the disk is the cause, not the job
            sentence = str(error) if isinstance(error, StoreError) else f"the disk: {error.strerror}"
            log.error("job waits: %s %s: %s", job.kind, job.subject, sentence)
            passing = isinstance(error, StoreBusyError)  # such as a database that is started anew
            wished_s = None if passing else STORE_TROUBLE_PAUSE_S
            longest_s = STORE_TROUBLE_PAUSE_S if passing else None
            return self._put_back(job, sentence, pause_after(job.attempts + 1, wished_s, longest_s))
        except GiveUp as error:
            return self._give_up(job, f"{error.reason}: {error.sentence}")
        except AircheckError as error:
            return self._give_up(job, error.sentence)
        except MisfitJob as error:
            log.error("job can't be read: %s %s: %s", job.kind, job.subject, error)
            if not orders.KINDS[job.kind].lasting:
                return self._give_up(job, str(error))
            return self._put_back(job, str(error), pause_after(job.attempts + 1))
        except Exception as error:
            log.exception("unexpected error in job %s %s", job.kind, job.subject)
            if job.attempts + 1 >= TRIES_AFTER_A_MISTAKE and not orders.KINDS[job.kind].lasting:
                return self._give_up(job, type(error).__name__)
            return self._put_back(job, type(error).__name__, pause_after(job.attempts + 1))
        counted.JOBS.add(job.kind, "done")
        return partial(jobs.done, job_id=job.id, now=self._clock())

    def _put_back(self, job: Job, error: str, pause_s: float) -> WriteEnd:
        counted.JOBS.add(job.kind, "later")
        now = self._clock()
        level = logging.WARNING if job.attempts + 1 == TRIES_BEFORE_A_WARNING else logging.DEBUG
        log.log(level, "job tried again in %.0f s: %s %s: %s", pause_s, job.kind, job.subject, error)
        return partial(jobs.put_back, job=job, error=error, run_at=now + timedelta(seconds=pause_s), now=now)

    def _give_up(self, job: Job, error: str) -> WriteEnd:
        counted.JOBS.add(job.kind, "given_up")
        log.warning("job given up: %s %s: %s", job.kind, job.subject, error)
        return partial(jobs.failed, job_id=job.id, error=error, now=self._clock())
