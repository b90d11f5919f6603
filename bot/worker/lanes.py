"""Lanes of work: each claims due jobs of its kinds and runs a few at once.

A handler is safe to repeat: it may be killed at any point, and then runs again from the start. It ends its job by
returning (done), by TryLater (put back, with growing pauses), or by GiveUp (failed, with its reason).
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.errors import AircheckError, GiveUp, TryLater
from storage import jobs
from storage.errors import DiskFullError
from storage.records import Job, JobKind
from storage.store import Store

log = logging.getLogger(__name__)

Handler = Callable[[Job], Awaitable[None]]

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 3600.0
DISK_FULL_PAUSE_S = 60.0
TRIES_AFTER_A_MISTAKE = 5
LOOK_AT_LEAST_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Lane:
    """Jobs of these kinds, so many at once."""

    name: str
    kinds: tuple[JobKind, ...]
    width: int


LANES = (
    Lane("fetch", (JobKind.FETCH,), 8),
    Lane("sound", (JobKind.FINISH, JobKind.COVER), 2),
    Lane("look", (JobKind.REFRESH,), 2),
    Lane("talk", (JobKind.NOTICE, JobKind.DIRECT, JobKind.INVITE), 4),
    Lane("desk", (JobKind.TICK, JobKind.END, JobKind.COMMAND, JobKind.FORGET), 1),
)


def pause_after(attempts: int, wished_s: float | None = None) -> float:
    """Seconds to wait before the next try: doubled each time, with jitter, never less than the other side's wish."""
    pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(attempts - 1, 20))
    return max(wished_s or 0.0, pause * random.uniform(0.75, 1.25))


class Worker:
    """Runs the lanes over one store."""

    def __init__(self, store: Store, handlers: Mapping[JobKind, Handler], clock: Callable[[], datetime]) -> None:
        self._store = store
        self._handlers = handlers
        self._clock = clock
        self._lanes: list[asyncio.Task[None]] = []
        self._running: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    @property
    def healthy(self) -> bool:
        """Whether every lane runs."""
        return bool(self._lanes) and not any(lane.done() for lane in self._lanes)

    async def start(self) -> None:
        """Takes up what an earlier process left, then runs the lanes until `stop`."""
        async with self._store.write() as db:
            left = await jobs.recover(db, self._clock())
        if left:
            log.info("taking up %d jobs that were under way", left)
        self._lanes = [asyncio.create_task(self._lane(lane), name=f"lane {lane.name}") for lane in LANES]

    async def stop(self, grace_s: float) -> None:
        """No new jobs; those that run get `grace_s` seconds, then they are cancelled and run again after a start."""
        self._stopping.set()
        self._store.changes.tell()
        await asyncio.gather(*self._lanes)
        if self._running:
            await asyncio.wait(self._running, timeout=grace_s)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _lane(self, lane: Lane) -> None:
        running: set[asyncio.Task[None]] = set()
        with self._store.changes.follow() as changed:

            def ended(task: asyncio.Task[None]) -> None:
                running.discard(task)
                self._running.discard(task)
                changed.set()

            while not self._stopping.is_set():
                changed.clear()
                for job in await self._claim(lane, lane.width - len(running)):
                    task = asyncio.create_task(self._run(job), name=f"{job.kind} {job.subject}")
                    running.add(task)
                    self._running.add(task)
                    task.add_done_callback(ended)
                await self._wait(lane, changed, full=len(running) >= lane.width)

    async def _claim(self, lane: Lane, limit: int) -> tuple[Job, ...]:
        now = self._clock()
        async with self._store.read() as db:
            due = await jobs.next_due(db, lane.kinds)
        if due is None or due > now or limit < 1:
            return ()
        async with self._store.write() as db:
            return await jobs.claim(db, lane.kinds, now, limit)

    async def _wait(self, lane: Lane, changed: asyncio.Event, *, full: bool) -> None:
        """Until something was committed, a job ended, or the next one is due and there is room for it."""
        pause = LOOK_AT_LEAST_EVERY_S
        if not full:
            async with self._store.read() as db:
                due = await jobs.next_due(db, lane.kinds)
            if due is not None:
                pause = min(pause, max(0.0, (due - self._clock()).total_seconds()))
        if not self._stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), pause)

    async def _run(self, job: Job) -> None:
        try:
            await self._handlers[job.kind](job)
        except asyncio.CancelledError:
            raise  # the row still says running: the next start takes it up
        except TryLater as error:
            await self._put_back(job, error.sentence, pause_after(job.attempts + 1, error.after_s))
        except DiskFullError as error:
            log.error("%s: %s %s waits", error, job.kind, job.subject)
            await self._put_back(job, str(error), DISK_FULL_PAUSE_S)
        except GiveUp as error:
            await self._give_up(job, f"{error.reason}: {error.sentence}")
        except AircheckError as error:
            await self._give_up(job, error.sentence)
        except Exception as error:
            log.exception("a mistake of ours in %s %s", job.kind, job.subject)
            if job.attempts + 1 >= TRIES_AFTER_A_MISTAKE:
                await self._give_up(job, type(error).__name__)
            else:
                await self._put_back(job, type(error).__name__, pause_after(job.attempts + 1))
        else:
            async with self._store.write() as db:
                await jobs.done(db, job.id, self._clock())

    async def _put_back(self, job: Job, error: str, pause_s: float) -> None:
        now = self._clock()
        log.debug("later: %s %s in %.0f s: %s", job.kind, job.subject, pause_s, error)
        async with self._store.write() as db:
            await jobs.put_back(db, job, error, now + timedelta(seconds=pause_s), now)

    async def _give_up(self, job: Job, error: str) -> None:
        log.warning("given up: %s %s: %s", job.kind, job.subject, error)
        async with self._store.write() as db:
            await jobs.failed(db, job.id, error, self._clock())
