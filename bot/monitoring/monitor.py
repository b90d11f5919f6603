"""The look at a running process: at most one every few seconds, whoever asks, and never one that keeps anybody waiting.

A database or disk that hangs keeps one look waiting; everybody else is told that it hangs, and no figures of before.
"""

import asyncio
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from bot import health
from bot.health import Report, Vitals
from bot.monitoring.gauges import Probes, Seen
from bot.settings import Settings
from storage import overview
from storage.errors import StoreError
from storage.overview import Overview, Totals
from storage.records import JobKind
from storage.store import Store

FRESH_FOR = timedelta(seconds=5)
TOTALS_FRESH_FOR = timedelta(minutes=5)
WAIT_S = 1.0
"""Seconds that whoever asks waits for the database and the disk."""


class Monitor:
    """The monitor of one process."""

    def __init__(self, store: Store, settings: Settings, clock: Callable[[], datetime], probes: Probes) -> None:
        self._store = store
        self._storage = settings.storage
        self._clock = clock
        self._probes = probes
        self._started_at = clock()
        self._overview: Overview | None = None
        self._database_bytes: int | None = None
        self._totals: Totals | None = None
        self._free_bytes: int | None = None
        self._looked_at: datetime | None = None
        self._added_up_at: datetime | None = None
        self._looking: asyncio.Task[None] | None = None
        self._adding_up: asyncio.Task[None] | None = None
        self._unanswered_since: datetime | None = None
        self._first_seen: dict[str, datetime] = {}

    async def close(self) -> None:
        tasks = [task for task in (self._looking, self._adding_up) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def report(self) -> Report:
        """Say what is wrong, within WAIT_S."""
        await self._refresh()
        heard_at = self._probes.heard_at() if self._probes.heard_at is not None else None
        vitals = self._vitals(heard_at)
        found = tuple(health.problems(vitals))
        self._first_seen = {each.what: self._first_seen.get(each.what, vitals.now) for each in found}
        dated = tuple(replace(each, since=each.since or self._first_seen[each.what]) for each in found)
        return Report(self._probes.works() and not health.is_stuck(vitals), heard_at, dated)

    async def look(self) -> Seen:
        """Return all figures, within WAIT_S."""
        report = await self.report()
        answers = self._unanswered_since is None
        return Seen(
            probes=self._probes,
            database="postgresql" if self._store.place.database_url is not None else "sqlite",
            works=report.works,
            problems=frozenset(problem.what for problem in report.problems),
            overview=self._overview if answers else None,
            totals=self._totals if answers else None,
            database_bytes=self._database_bytes if answers else None,
            free_bytes=self._free_bytes if answers else None,
            min_free_bytes=self._storage.min_free_bytes,
        )

    # ---- looking

    async def _refresh(self) -> None:
        now = self._clock()
        if self._looking is None and not _is_fresh(self._looked_at, now, FRESH_FOR):
            self._looking = asyncio.create_task(self._look_now(now), name="monitor")
        if self._adding_up is None and not _is_fresh(self._added_up_at, now, TOTALS_FRESH_FOR):
            self._adding_up = asyncio.create_task(self._add_up(now), name="monitor totals")
        if self._looking is not None:
            await asyncio.wait({self._looking}, timeout=WAIT_S)

    async def _look_now(self, now: datetime) -> None:
        """Look at the disk and the database. What does not answer is known by when it was asked first."""
        self._unanswered_since = self._unanswered_since or now
        try:
            self._free_bytes = await asyncio.to_thread(_free_bytes, self._store.directory)
            async with self._store.read() as db:
                self._overview = await overview.look(db, now)
                self._database_bytes = await self._store.database.size(db)
            self._unanswered_since = None
        except StoreError:
            self._overview = None
        finally:
            self._looked_at = self._clock()
            self._looking = None

    async def _add_up(self, now: datetime) -> None:
        try:
            async with self._store.read() as db:
                self._totals = await overview.totals(db)
        except StoreError:
            self._totals = None
        finally:
            self._added_up_at = now
            self._adding_up = None

    def _vitals(self, heard_at: datetime | None) -> Vitals:
        vitals = Vitals(
            now=self._clock(),
            started_at=self._started_at,
            hears=self._probes.heard_at is not None,
            heard_at=heard_at,
            refused=self._probes.refused(),
            unkept_since=self._probes.wishes_troubled_since(),
            unwritten_since=self._probes.unwritten_since(),
            unanswered_since=self._unanswered_since,
            media_away_since=self._probes.media_away_since(),
            free_bytes=self._free_bytes,
            min_free_bytes=self._storage.min_free_bytes,
        )
        if self._totals is not None:
            limit = self._storage.max_bytes_per_room * health.NEARLY_FULL
            vitals = replace(vitals, full_rooms=sum(size > limit for size in self._totals.room_bytes))
        if self._overview is None or self._unanswered_since is not None:
            return vitals
        due_kind, due_since = _oldest(self._overview.oldest_due)
        running_kind, running_since = _oldest(self._overview.running_since)
        return replace(
            vitals,
            unhandled_since=self._overview.oldest_unhandled,
            due_since=due_since,
            due_kind=due_kind,
            running_since=running_since,
            running_kind=running_kind,
            keyless=self._overview.sealed,
            keyless_since=self._overview.oldest_sealed,
        )


def _oldest(times: Mapping[JobKind, datetime]) -> tuple[JobKind | None, datetime | None]:
    return min(times.items(), key=lambda each: each[1], default=(None, None))


def _free_bytes(directory: Path) -> int | None:
    """Return the free bytes of the disk; None where it refuses to say. Blocking, for ever on a disk that hangs."""
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return None


def _is_fresh(at: datetime | None, now: datetime, fresh_for: timedelta) -> bool:
    """Return whether something was looked at lately; not where the clock was set back since."""
    return at is not None and timedelta(0) <= now - at < fresh_for
