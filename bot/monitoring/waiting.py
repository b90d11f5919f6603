"""The look at a stand-by, which has no store yet: it works while the database answers it."""

from collections.abc import Callable
from datetime import datetime

from bot import health
from bot.health import Report, Vitals
from bot.monitoring.gauges import Probes, Seen
from bot.settings import Settings

PROBES = Probes(works=lambda: True, media_away_since=lambda: None)


class WaitingMonitor:
    """The monitor of a stand-by. `unanswered_since`: when it asked the database first that does not answer."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime]) -> None:
        self.unanswered_since: datetime | None = None
        self._min_free_bytes = settings.storage.min_free_bytes
        self._clock = clock
        self._started_at = clock()

    async def report(self) -> Report:
        """Say what is wrong."""
        vitals = Vitals(self._clock(), self._started_at, hears=False, unanswered_since=self.unanswered_since)
        return Report(not health.is_stuck(vitals), None, tuple(health.problems(vitals)))

    async def look(self) -> Seen:
        """Return the figures that there are without a store."""
        report = await self.report()
        return Seen(
            probes=PROBES,
            database="postgresql",
            works=report.works,
            problems=frozenset(problem.what for problem in report.problems),
            min_free_bytes=self._min_free_bytes,
        )
