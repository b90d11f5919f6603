"""Gaps in timelines, read from the homeserver, one page a turn; rooms take turns.

Progress is written with each page, so a walk that was stopped continues from there. A page that the homeserver does not
give is requested again, after ten minutes once an hour, for a week; then the gap is given up. Known broadcasts are read
again meanwhile.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from bot import orders
from bot.errors import GiveUp, TryLater
from bot.intake import gapwalk
from bot.worker.room_history import RoomHistory
from storage.records import HeardEvent, Job, TimelineGap
from storage.store import Store

ASKED_AGAIN_S = 15.0
OVERDUE_AGAIN_S = 3600.0


class Intake(Protocol):
    """The part of the intake that accepts the events of a walk."""

    async def take_page(
        self, gap: TimelineGap, newest_first: Sequence[HeardEvent], next_cursor: str | None
    ) -> None: ...

    async def do_without(self, gap: TimelineGap) -> None: ...

    async def give_up(self, gap: TimelineGap) -> None: ...


class Walking:
    """The handler of Walk orders. Each reads one page; the intake orders the next one."""

    def __init__(self, store: Store, history: RoomHistory, intake: Intake, *, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._history = history
        self._intake = intake
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        async with self._store.read() as db:
            gap = await gapwalk.oldest(db, orders.Walk.of(job).room_id)
        if gap is None:
            return
        if gapwalk.is_endless(gap):
            await self._intake.give_up(gap)
            return
        try:
            events, next_cursor = await self._history.page(gap.room_id, gap.cursor, gap.until_token)
        except TryLater as error:
            await self._put_off(gap, error)
        except GiveUp:
            await self._intake.give_up(gap)
        else:
            await self._intake.take_page(gap, events, next_cursor)

    async def _put_off(self, gap: TimelineGap, error: TryLater) -> None:
        """Raise TryLater, or give up the gap."""
        now, again_s = self._clock(), ASKED_AGAIN_S
        if gapwalk.is_hopeless(gap, now):
            await self._intake.give_up(gap)
            return
        if gapwalk.is_overdue(gap, now):
            await self._intake.do_without(gap)
            again_s = OVERDUE_AGAIN_S
        raise TryLater(error.sentence, after_s=error.after_s, at_most_s=again_s, room=gap.room_id) from None
