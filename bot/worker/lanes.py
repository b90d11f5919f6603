"""Lanes of work: each claims due jobs of its kinds and runs a few at once. The jobs of one recording, room or person
take turns with those of others, and only a few of them run at once: a thousand slow or hostile chunks delay no other
recording.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from bot import orders
from bot.worker.attempts import Attempts, Handler
from storage import jobs
from storage.errors import StoreError
from storage.records import Job, JobKind
from storage.store import Store

log = logging.getLogger(__name__)

LOOK_AT_LEAST_EVERY_S = 60.0
CLOCK_STEP = timedelta(seconds=5)  # backwards; smaller steps are ordinary corrections
OF_ONE_RECORDING = 4
LONG_S = 3.0  # other jobs can wait this long
MOST_SERVED = 500  # turns in one round


@dataclass(frozen=True, slots=True)
class Lane:
    """A queue for some kinds of jobs: `width` run at once, `of_one` of them for one recording, room or person.

    Up to `long` jobs that take longer than LONG_S do not count: hours of sound in one chunk, or a slow homeserver,
    block no place. This starts no more decoders, since ffmpeg has a queue of its own.
    """

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
    Lane("finish", (orders.Finish,), 2, long=16),
    Lane("walk", (orders.Walk,), 4, long=16),
    Lane("reread", (orders.Reread, orders.HearAgain, orders.Redaction), 2, long=16),
    Lane("look", (orders.Refresh, orders.ChooseCover, orders.CatchUp), 2, long=16),
    Lane("pictures", (orders.Cover, orders.MakePortrait), 2, long=16),
    Lane("backfill", (orders.Backfill, orders.BackfillMessages, orders.MakeEpisode), 2, long=16, of_one=2),
    Lane("objections", (orders.ForgetMember, orders.CloseRefused, orders.LookAtStudios), 2, long=16, of_one=2),
    Lane("command", (orders.Command, orders.Confirm), 2, of_one=1),  # the commands of one room are handled in order
    Lane("floor", (orders.KeepFloor,), 8, long=16),
    Lane("calls", (orders.KeepCalls,), 8, long=16),
    Lane("original", (orders.KeepOriginal, orders.CheckEpisode, orders.Mend, orders.MendRoom), 1, long=2),
    Lane("hand back", (orders.HandBack, orders.HandBackPart), 1, long=4),
    Lane("broadcasts", (orders.SendBroadcast,), 4, long=16),
    Lane("talk", (orders.Notice, orders.Unsend, orders.Forewarn), 4, long=16, of_one=1),
    Lane("show", (orders.ShowRoom, orders.Pin, orders.React), 4, long=16),
    Lane("wishes", (orders.KeepWishes,), 4, long=16),
    Lane("panel", (orders.TakeAway, orders.PutButtons), 4, long=16, of_one=1),
    Lane("check", (orders.CheckFeed,), 2, of_one=1),
    Lane("hub", (orders.PingHub,), 2, long=4),
    Lane("direct", (orders.Direct,), 2, long=16, of_one=1),
    Lane("join", (orders.Invite, orders.Leave, orders.MakeWalkie), 2, long=16, of_one=2),
    Lane("expire", (orders.Expire,), 1),  # one podcast after the other: nothing else waits for it
    Lane(
        "desk",
        (
            *(orders.Tick, orders.End, orders.Forget, orders.ForgetStems),
            *(orders.ImportKeys, orders.RenewAddresses, orders.NoteEnded),
        ),
        1,
        long=4,
    ),
)


class _Running:
    """The jobs that a lane runs now. `changed` is set when a job ends, or has run for LONG_S."""

    def __init__(self, lane: Lane, changed: asyncio.Event) -> None:
        self._lane = lane
        self._changed = changed
        self._jobs: dict[asyncio.Task[None], Job] = {}
        self._late: set[asyncio.Task[None]] = set()

    @property
    def has_room(self) -> bool:
        return len(self._jobs) < self._lane.width + min(self._lane.long, len(self._late))

    def full_turns(self) -> list[str]:
        """Return the turns that already run as many jobs as allowed."""
        counts = Counter(job.turn for job in self._jobs.values())
        return [turn for turn, count in counts.items() if turn is not None and count >= self._lane.of_one]

    def start(self, job: Job, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=f"{job.kind} {job.subject}")
        self._jobs[task] = job
        task.add_done_callback(self._end)
        asyncio.get_running_loop().call_later(LONG_S, self._note_late, task)
        return task

    def _end(self, task: asyncio.Task[None]) -> None:
        self._jobs.pop(task, None)
        self._late.discard(task)
        self._changed.set()

    def _note_late(self, task: asyncio.Task[None]) -> None:
        if task in self._jobs:
            self._late.add(task)
            self._changed.set()


@dataclass(slots=True)
class _Asleep:
    """A lane that waits: what it knew when it fell asleep."""

    kinds: Collection[JobKind]
    changed: asyncio.Event
    due: datetime | None = None  # its first job, by the outlook
    picky: bool = False  # it passes by jobs, so that the outlook does not know which one is its first


class _Outlook:
    """The times at which jobs are due, looked up once after each commit that wrote jobs, for all lanes together. Of the
    lanes only those are woken for which a commit changed something: there are 25, and a chunk makes ten commits."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._looking = asyncio.Lock()
        self._after = -1  # the commit after which the times were looked up
        self._due: Mapping[JobKind, datetime] = {}
        self._asleep: list[_Asleep] = []

    @contextmanager
    def lane(self, lane: Lane) -> Iterator[_Asleep]:
        """Wake this lane from now on."""
        asleep = _Asleep(lane.kinds, asyncio.Event())
        self._asleep.append(asleep)
        try:
            yield asleep
        finally:
            self._asleep.remove(asleep)

    async def of(self, lane: _Asleep) -> datetime | None:
        """Return when the first job of a lane is due. Raises StoreError."""
        await self._look()
        lane.due = self._first(lane.kinds)
        return lane.due

    async def wake(self) -> None:
        """Wake the lanes for which there is news, after a commit. Raises StoreError."""
        await self._look()
        now = self._clock()
        for lane in self._asleep:
            due = self._first(lane.kinds)
            if lane.picky or due != lane.due or (due is not None and due <= now):
                lane.changed.set()

    def wake_all(self) -> None:
        for lane in self._asleep:
            lane.changed.set()

    async def _look(self) -> None:
        async with self._looking:
            after = self._store.changes.of("jobs")
            if self._after != after:
                async with self._store.read() as db:
                    self._due = await jobs.next_of_each(db)
                self._after = after

    def _first(self, kinds: Collection[JobKind]) -> datetime | None:
        return min((self._due[kind] for kind in kinds if kind in self._due), default=None)

    def forget(self) -> None:
        """Look again next time: another process may have written jobs without a notification."""
        self._after = -1


@dataclass(frozen=True, slots=True)
class Beside:
    """A worker beside the bot: its name on the list of workers, and how many jobs each of its lanes runs at once."""

    name: str
    width: int

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The lanes of orders that any process may take."""
        return tuple(replace(lane, width=self.width) for lane in LANES if all(order.anywhere for order in lane.orders))


class Worker:
    """All lanes over one store, or with `beside` those that a process beside the bot runs."""

    def __init__(
        self,
        store: Store,
        handlers: Mapping[JobKind, Handler],
        clock: Callable[[], datetime],
        beside: Beside | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._beside = beside
        self._lanes: list[asyncio.Task[None]] = []
        self._running: set[asyncio.Task[None]] = set()
        self._latest = clock()
        self._outlook = _Outlook(store, clock)
        self._stopping = asyncio.Event()
        self._attempts = Attempts(store, handlers, clock, self._stopping)

    @property
    def healthy(self) -> bool:
        """Whether every lane runs, or will: before the start nothing is wrong."""
        return not self._stopping.is_set() and not any(lane.done() for lane in self._lanes)

    async def start(self) -> None:
        """Take up the jobs that an earlier process of the bot left running, then run the lanes until `stop`."""
        if self._beside is None:
            async with self._store.write() as db:
                self._latest = await jobs.last_change(db) or self._latest
                left = await jobs.recover(db, self._clock())
            if left:
                log.info("jobs resumed after the last process: %d", left)
        lanes = LANES if self._beside is None else self._beside.lanes
        self._lanes = [asyncio.create_task(self._lane(lane), name=f"lane {lane.name}") for lane in lanes]
        self._lanes.append(asyncio.create_task(self._wake_lanes(), name="wake lanes"))

    async def stop(self, grace_s: float) -> None:
        """Start no new jobs; cancel jobs that still run after `grace_s` seconds. The next start runs them again."""
        self._stopping.set()
        self._store.changes.notify()
        self._outlook.wake_all()
        await asyncio.gather(*self._lanes)
        if self._running:
            await asyncio.wait(self._running, timeout=grace_s)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _wake_lanes(self) -> None:
        """Wake lanes after commits until the stop, and then all of them."""
        with self._store.changes.subscribe() as committed:
            while not self._stopping.is_set():
                committed.clear()
                try:
                    await self._heed_the_clock()
                    await self._outlook.wake()
                except StoreError:
                    self._outlook.wake_all()  # each says what it waits for, and tries again
                if not self._stopping.is_set():
                    await committed.wait()
        self._outlook.wake_all()

    async def _lane(self, lane: Lane) -> None:
        served: set[str] = set()
        trouble, tries = "", 0
        with self._outlook.lane(lane) as asleep:
            changed = asleep.changed
            running = _Running(lane, changed)
            while not self._stopping.is_set():
                changed.clear()
                try:
                    full = running.full_turns()
                    asleep.picky = bool(full)
                    due = await self._due(asleep, full) if running.has_room else None
                    if due is None or due > self._clock():
                        await self._wait(changed, due)
                        continue
                    for job in await self._claim(lane, full, served):
                        task = running.start(job, self._attempts.make(job))
                        self._running.add(task)
                        task.add_done_callback(self._running.discard)
                    trouble = ""
                    tries = 0
                except StoreError as error:
                    if str(error) != trouble:
                        log.error("lane %s waits for the store: %s", lane.name, error)
                    trouble = str(error)
                    await self._attempts.rest(tries)
                    tries += 1

    async def _heed_the_clock(self) -> None:
        """Clamp the times of waiting jobs after the clock was set back, since they were written while it was ahead."""
        before, now = self._latest, self._clock()
        self._latest = now
        if before - now > CLOCK_STEP and self._beside is None:
            log.warning("the clock was set back by %.0f s", (before - now).total_seconds())
            async with self._store.write() as db:
                await jobs.set_back(db, before, now)

    async def _due(self, lane: _Asleep, full: Collection[str]) -> datetime | None:
        await self._heed_the_clock()
        if not full:
            return await self._outlook.of(lane)
        async with self._store.read() as db:
            return await jobs.next_due(db, lane.kinds, full)

    async def _claim(self, lane: Lane, full: Collection[str], served: set[str]) -> tuple[Job, ...]:
        """Claim the oldest job whose turn was not `served` in this round. Only one, since it decides whose turn is
        next."""
        name = self._beside.name if self._beside is not None else None
        async with self._store.claim() as db:
            claimed = await jobs.claim(db, lane.kinds, self._clock(), 1, served.union(full), name)
            if not claimed and served:
                served.clear()
                claimed = await jobs.claim(db, lane.kinds, self._clock(), 1, full, name)
        if len(served) >= MOST_SERVED:
            served.clear()
        served.update(job.turn for job in claimed if job.turn is not None)
        return claimed

    async def _wait(self, changed: asyncio.Event, due: datetime | None) -> None:
        """Wait for a commit, the end of a job, or the time of the next one."""
        pause = LOOK_AT_LEAST_EVERY_S
        if due is not None:
            pause = min(pause, max(0.0, (due - self._clock()).total_seconds()))
        if not self._stopping.is_set():
            try:
                await asyncio.wait_for(changed.wait(), pause)
            except TimeoutError:
                self._outlook.forget()
