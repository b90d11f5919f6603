"""The deletion of many recordings at a member's wish, some at a time, so that nobody waits for it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from bot import orders, topics
from bot.intake import forgotten
from bot.worker.given import Apply
from storage import jobs
from storage.records import Job
from storage.store import Store


class ForgettingMember:
    """The handler of ForgetMember orders. `apply` is the recorder's."""

    def __init__(self, store: Store, *, apply: Apply, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._apply = apply
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        """Delete what is left, and report it. Each transaction writes down what is left after it."""
        order = orders.ForgetMember.of(job)
        while order.alone or order.shared:
            alone, shared = order.alone[: forgotten.AT_ONCE], order.shared[: forgotten.SHARED_AT_ONCE]
            order = replace(order, alone=order.alone[len(alone) :], shared=order.shared[len(shared) :])
            async with self._store.write() as db:
                await forgotten.remove(db, self._apply, order.user_id, alone, shared)
                await jobs.note(db, job.id, order.job(), self._clock())
        topic = topics.forgotten_in(order.event_id, order.room_id)
        report = orders.Notice(topic, order.room_id, order.report, reply_to=order.event_id)
        async with self._store.write() as db:
            await jobs.add(db, report.job(), self._clock())
