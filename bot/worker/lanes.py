"""Lanes of work: each claims due jobs of its kinds and runs a few at once.

A handler is safe to repeat: it may be killed at any point, and then runs again from the start. It ends its job by
returning (done), by TryLater (put back, with growing pauses), or by GiveUp (failed, with its reason).
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from bot import orders
from bot.errors import AircheckError, GiveUp, TryLater
from storage import jobs
from storage.database import Connection
from storage.errors import StoreError
from storage.records import Job, JobKind
from storage.store import Store

log = logging.getLogger(__name__)

Handler = Callable[[Job], Awaitable[None]]

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0  # so long may something wait that could go on, as when the homeserver is back
STORE_TROUBLE_PAUSE_S = 60.0
LONGEST_WISH_S = 7 * 86_400.0
TRIES_AFTER_A_MISTAKE = 5
TRIES_BEFORE_A_WARNING = 10
LOOK_AT_LEAST_EVERY_S = 60.0
CLOCK_STEP = timedelta(seconds=5)  # backwards; less is how clocks are kept right


OF_ONE_RECORDING = 4
"""So many jobs of one recording run at once in a lane: a thousand slow or hostile chunks delay nobody else's."""
LONG_S = 3.0  # what others can wait for
MOST_SERVED = 500  # turns in one round


@dataclass(frozen=True, slots=True)
class Lane:
    """Jobs of these kinds, so many at once, and `of_one` of one recording, room or person; these take turns. Up to
    `long` that take longer than LONG_S don't count: hours of somebody's sound, or a slow homeserver, hold no place. It
    is not more work at once: what they do with ffmpeg waits there."""

    name: str
    orders: tuple[type[orders.Order], ...]
    width: int
    long: int = 0
    of_one: int = OF_ONE_RECORDING

    @property
    def kinds(self) -> tuple[JobKind, ...]:
        return tuple(order.kind for order in self.orders)


LANES = (
    Lane("fetch", (orders.Fetch,), 8, long=16),
    Lane("sound", (orders.Encode,), 2, long=16),
    Lane("finish", (orders.Finish, orders.Cover), 2, long=16),
    Lane("walk", (orders.Walk,), 4, long=16),
    Lane("reread", (orders.Reread, orders.Redaction), 2, long=16),
    Lane("look", (orders.Refresh,), 2, long=16),
    Lane("backfill", (orders.Backfill,), 2, long=16, of_one=2),
    Lane("command", (orders.Command,), 2, of_one=1),  # those of one room in their order
    Lane("talk", (orders.Notice,), 4, long=16, of_one=1),
    Lane("direct", (orders.Direct,), 2, long=16, of_one=1),
    Lane("join", (orders.Invite,), 2, long=16, of_one=2),
    Lane("desk", (orders.Tick, orders.End, orders.Forget, orders.ImportKeys, orders.RenewAddresses), 1, long=4),
)


def pause_after(attempts: int, wished_s: float | None = None, longest_s: float | None = None) -> float:
    """Seconds to wait before the next try: doubled each time, with jitter, never less than the other side's wish."""
    pause = min(longest_s or LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(attempts - 1, 20))
    return max(min(wished_s or 0.0, LONGEST_WISH_S), pause * random.uniform(0.75, 1.25))


def _with_enough(lane: Lane, running: Collection[Job]) -> list[str]:
    """Whose turn it can't be: as many of their jobs run as may."""
    named = Counter(job.turn for job in running)
    return [turn for turn, count in named.items() if turn is not None and count >= lane.of_one]


class _Outlook:
    """When jobs are due: looked up once after each commit that wrote jobs, for all lanes together."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._looking = asyncio.Lock()
        self._after = -1  # which commit
        self._due: Mapping[JobKind, datetime] = {}

    async def of(self, kinds: Collection[JobKind]) -> datetime | None:
        """The first of these kinds. Raises StoreError."""
        async with self._looking:
            after = self._store.changes.of("jobs")
            if self._after != after:
                async with self._store.read() as db:
                    self._due = await jobs.next_of_each(db)
                self._after = after
        return min((self._due[kind] for kind in kinds if kind in self._due), default=None)

    def forget(self) -> None:
        """Another process may have written without a word."""
        self._after = -1


class Worker:
    """Runs the lanes over one store."""

    def __init__(self, store: Store, handlers: Mapping[JobKind, Handler], clock: Callable[[], datetime]) -> None:
        self._store = store
        self._handlers = handlers
        self._clock = clock
        self._lanes: list[asyncio.Task[None]] = []
        self._running: set[asyncio.Task[None]] = set()
        self._latest = clock()
        self._outlook = _Outlook(store)
        self._stopping = asyncio.Event()

    @property
    def healthy(self) -> bool:
        """Whether every lane runs."""
        return bool(self._lanes) and not any(lane.done() for lane in self._lanes)

    async def start(self) -> None:
        """Takes up what an earlier process left, then runs the lanes until `stop`."""
        async with self._store.write() as db:
            self._latest = await jobs.last_change(db) or self._latest
            left = await jobs.recover(db, self._clock())
        if left:
            log.info("taking up %d jobs that were under way", left)
        self._lanes = [asyncio.create_task(self._lane(lane), name=f"lane {lane.name}") for lane in LANES]

    async def stop(self, grace_s: float) -> None:
        """No new jobs; those that run get `grace_s` seconds, then they are cancelled and run again after a start."""
        self._stopping.set()
        self._store.changes.notify()
        await asyncio.gather(*self._lanes)
        if self._running:
            await asyncio.wait(self._running, timeout=grace_s)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _lane(self, lane: Lane) -> None:
        running: dict[asyncio.Task[None], Job] = {}
        late: set[asyncio.Task[None]] = set()
        served: set[str] = set()
        trouble = ""
        with self._store.changes.subscribe() as changed:

            def ended(task: asyncio.Task[None]) -> None:
                running.pop(task, None)
                late.discard(task)
                self._running.discard(task)
                changed.set()

            def takes_long(task: asyncio.Task[None]) -> None:
                if task in running:
                    late.add(task)
                    changed.set()

            while not self._stopping.is_set():
                changed.clear()
                try:
                    full = _with_enough(lane, running.values())
                    free = len(running) < lane.width + min(lane.long, len(late))
                    due = await self._due(lane, full) if free else None
                    if due is None or due > self._clock():
                        await self._wait(changed, due)
                        continue
                    for job in await self._claim(lane, full, served):
                        task = asyncio.create_task(self._run(job), name=f"{job.kind} {job.subject}")
                        running[task] = job
                        self._running.add(task)
                        task.add_done_callback(ended)
                        asyncio.get_running_loop().call_later(LONG_S, takes_long, task)
                    trouble = ""
                except StoreError as error:
                    if str(error) != trouble:
                        log.error("no new work in the lane %s for now: %s", lane.name, error)
                    trouble = str(error)
                    await self._rest()

    async def _heed_the_clock(self) -> None:
        """Set back (it was wrong until the network told the time), it must not keep everything waiting for so long."""
        before, now = self._latest, self._clock()
        self._latest = now
        if before - now > CLOCK_STEP:
            log.warning("the clock was set back by %.0f s", (before - now).total_seconds())
            async with self._store.write() as db:
                await jobs.set_back(db, before, now)

    async def _due(self, lane: Lane, full: Collection[str]) -> datetime | None:
        await self._heed_the_clock()
        if not full:
            return await self._outlook.of(lane.kinds)
        async with self._store.read() as db:
            return await jobs.next_due(db, lane.kinds, full)

    async def _claim(self, lane: Lane, full: Collection[str], served: set[str]) -> tuple[Job, ...]:
        """One: whose turn it is afterwards depends on it. The oldest, of the turns not `served` in this round."""
        async with self._store.write() as db:
            claimed = await jobs.claim(db, lane.kinds, self._clock(), 1, served.union(full))
            if not claimed and served:
                served.clear()
                claimed = await jobs.claim(db, lane.kinds, self._clock(), 1, full)
        if len(served) >= MOST_SERVED:
            served.clear()
        served.update(job.turn for job in claimed if job.turn is not None)
        return claimed

    async def _wait(self, changed: asyncio.Event, due: datetime | None) -> None:
        """Until something was committed, a job ended, or the next one is due."""
        pause = LOOK_AT_LEAST_EVERY_S
        if due is not None:
            pause = min(pause, max(0.0, (due - self._clock()).total_seconds()))
        if not self._stopping.is_set():
            try:
                await asyncio.wait_for(changed.wait(), pause)
            except TimeoutError:
                self._outlook.forget()

    async def _rest(self) -> None:
        """A short while, or until the stop."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), STORE_TROUBLE_PAUSE_S)

    async def _run(self, job: Job) -> None:
        """Does the job and writes down how it ended, however long that takes: a row that says running is nobody's."""
        end = await self._end_of(job)
        trouble = ""
        while True:
            try:
                async with self._store.write() as db:
                    await end(db)
                return
            except StoreError as error:
                if str(error) != trouble:
                    log.error("the end of %s %s can't be written: %s", job.kind, job.subject, error)
                trouble = str(error)
                if self._stopping.is_set():
                    return  # the next start takes it up
                await self._rest()

    async def _end_of(self, job: Job) -> Callable[[Connection], Awaitable[None]]:
        """Does the job; gives what is to be written about its end. When it is cancelled its row still says running:
        the next start takes it up."""
        try:
            await self._handlers[job.kind](job)
        except TryLater as error:
            pause_s = pause_after(job.attempts + 1, error.after_s, error.at_most_s)
            return self._put_back(job, error.sentence, pause_s)
        except (StoreError, OSError) as error:  # the disk's trouble, not the job's
            sentence = str(error) if isinstance(error, StoreError) else f"the disk: {error.strerror}"
            log.error("%s: %s %s waits", sentence, job.kind, job.subject)
            return self._put_back(job, sentence, pause_after(job.attempts + 1, STORE_TROUBLE_PAUSE_S))
        except GiveUp as error:
            return self._give_up(job, f"{error.reason}: {error.sentence}")
        except AircheckError as error:
            return self._give_up(job, error.sentence)
        except Exception as error:
            log.exception("a mistake of ours in %s %s", job.kind, job.subject)
            if job.attempts + 1 >= TRIES_AFTER_A_MISTAKE and not orders.KINDS[job.kind].lasting:
                return self._give_up(job, type(error).__name__)
            return self._put_back(job, type(error).__name__, pause_after(job.attempts + 1))
        return partial(jobs.done, job_id=job.id, now=self._clock())

    def _put_back(self, job: Job, error: str, pause_s: float) -> Callable[[Connection], Awaitable[None]]:
        now = self._clock()
        level = logging.WARNING if job.attempts + 1 == TRIES_BEFORE_A_WARNING else logging.DEBUG
        log.log(level, "later: %s %s in %.0f s: %s", job.kind, job.subject, pause_s, error)
        return partial(jobs.put_back, job=job, error=error, run_at=now + timedelta(seconds=pause_s), now=now)

    def _give_up(self, job: Job, error: str) -> Callable[[Connection], Awaitable[None]]:
        log.warning("given up: %s %s: %s", job.kind, job.subject, error)
        return partial(jobs.failed, job_id=job.id, error=error, now=self._clock())
