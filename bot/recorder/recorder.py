"""The recorder: it follows the journal, one transaction an event, and looks at clocks when their time has come."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from bot import orders
from bot.errors import TryLater
from bot.recorder.adopting import Adopting
from bot.recorder.applying import Applying
from bot.recorder.hearing import Hearing
from bot.recorder.starting import Starting
from bot.recording.model import Ended, Tick
from bot.recording.policy import Limits
from storage import archive, gaps, journal
from storage.errors import StoreError
from storage.records import Job, RecordingState
from storage.store import Store

log = logging.getLogger(__name__)

BATCH = 100
STORE_TROUBLE_PAUSE_S = 60.0
UNREAD_AT_MOST_S = 30.0  # after an outage, however long it was, clocks are looked at as soon


class Recorder:
    """Follows the journal. `hears`: what the homeserver had to say is written.

    `apply` puts one event into one recording, `adopt` takes a whole broadcast of the past.
    """

    def __init__(
        self, store: Store, limits: Limits, clock: Callable[[], datetime], *, hears: Callable[[], bool] = lambda: True
    ) -> None:
        applying = Applying(store.chunks, limits, clock)
        starting = Starting(applying, limits, clock)
        self._store = store
        self._hears = hears
        self._clock = clock
        self._hearing = Hearing(applying, starting, clock)
        self._stopping = False
        self.apply = applying.apply
        self.adopt = Adopting(applying, starting, limits, clock).adopt

    async def run(self) -> None:
        """Deals with what the journal holds until `stop`."""
        with self._store.changes.subscribe() as changed:
            begun, heard, trouble = False, (-1, -1), ""
            while not self._stopping:
                changed.clear()
                try:
                    if not begun:
                        await self._begin()
                        begun = True
                    while not self._stopping and (now := self._written()) != heard:
                        if not await self.catch_up():
                            heard = now
                    trouble = ""
                    release = await self._next_release()
                except StoreError as error:
                    if str(error) != trouble:
                        log.error("the journal waits: %s", error)
                    trouble = str(error)
                    await self._rest(changed, STORE_TROUBLE_PAUSE_S)
                    continue
                if release is not None:
                    await self._rest(changed, release)
                    heard = heard if changed.is_set() else (-1, -1)
                elif not self._stopping:
                    await changed.wait()

    def _written(self) -> tuple[int, int]:
        """Commits to what may be dealt with now."""
        return self._store.changes.of("journal"), self._store.changes.of("gaps")

    async def _next_release(self) -> float | None:
        """In how many seconds a gap stops holding up what was heard after it, whether it was read or not."""
        now = self._clock()
        async with self._store.read() as db:
            release = await gaps.next_release(db, now)
        return None if release is None else max(0.0, (release - now).total_seconds())

    async def _begin(self) -> None:
        """What a mistake of an earlier version's kept from being dealt with gets another chance."""
        async with self._store.write() as db:
            await journal.try_again(db)

    async def _rest(self, changed: asyncio.Event, seconds: float) -> None:
        """So long, or until something could be written."""
        if not self._stopping:
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), seconds)

    def stop(self) -> None:
        """No further event after the one under way."""
        self._stopping = True
        self._store.changes.notify()

    async def catch_up(self) -> int:
        """Deals with the next events of the journal; how many. Raises StoreError."""
        async with self._store.read() as db:
            waiting = await journal.unhandled(db, BATCH, self._clock())
        for heard in waiting:
            if self._stopping:
                break
            try:
                async with self._store.write() as db:
                    # As it is now: its key may have come since it was read.
                    now = await journal.waiting_at(db, heard.position)
                    if now is not None:
                        await self._hearing.hear(db, now)
            except StoreError:
                raise
            except Exception:
                # A mistake of ours about one event must not keep the others waiting; it is tried again after a start.
                log.exception("an event could not be handled: room=%s event=%s", heard.room_id, heard.event_id)
                async with self._store.write() as db:
                    await journal.handled(db, heard, keep=True)
        return len(waiting)

    # ---- jobs

    async def tick(self, job: Job) -> None:
        """The time has come to look at a recording's clocks."""
        recording_id = orders.Tick.of(job).recording
        async with self._store.read() as db:
            recording = await archive.recording(db, recording_id)
            unread = recording is not None and await journal.waits_in(db, recording.room_id)
        if recording is not None and recording.state is RecordingState.LIVE and (unread or not self._hears()):
            # Signs of life may lie on the homeserver or in the journal: nothing is abandoned before they were read.
            raise TryLater("what was said meanwhile is waited for", after_s=5, at_most_s=UNREAD_AT_MOST_S)
        if unread:
            raise TryLater("what was read anew is dealt with first", after_s=0.2, at_most_s=5)
        async with self._store.write() as db:
            await self.apply(db, recording_id, Tick())

    async def end(self, job: Job) -> None:
        """Something outside the broadcast ends it."""
        order = orders.End.of(job)
        async with self._store.write() as db:
            await self.apply(db, order.recording, Ended(order.by))
