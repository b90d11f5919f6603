"""The closing of recordings that had ended before an objection, some at a time, so that nobody waits for it."""

from collections.abc import Callable
from datetime import datetime

from bot import orders
from bot.intake import consent
from bot.worker.given import Apply
from storage import jobs
from storage.records import Job
from storage.store import Store


class ClosingRefused:
    """The handler of CloseRefused orders. `apply` is the recorder's."""

    def __init__(self, store: Store, *, apply: Apply, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._apply = apply
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        """Close what is left. Each transaction writes down what is left after it."""
        rest: orders.CloseRefused | None = orders.CloseRefused.of(job)
        while rest is not None:
            async with self._store.write() as db:
                rest = await consent.close_ended(db, self._apply, rest)
                if rest is not None:
                    await jobs.note(db, job.id, rest.job(), self._clock())
