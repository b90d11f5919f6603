"""The recorder: it handles the journal, one transaction for each event, and the jobs that check recordings'
deadlines."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from bot import orders
from bot.errors import TryLater
from bot.intake import consent
from bot.recorder.adopting import Adopting
from bot.recorder.applying import Applying
from bot.recorder.calling import Calling
from bot.recorder.gathering import Gathering
from bot.recorder.hearing import Hearing
from bot.recorder.joining import Joining
from bot.recorder.starting import Starting
from bot.recorder.transmitting import Transmitting, over
from bot.recording.model import Ended, Release, Tick
from bot.recording.policy import Limits
from bot.settings import Settings
from storage import archive, gaps, journal
from storage.database import Connection
from storage.errors import StoreError
from storage.records import Job, Recording, RecordingState
from storage.store import Store

log = logging.getLogger(__name__)

BATCH = 100
STORE_TROUBLE_PAUSE_S = 60.0
UNREAD_AT_MOST_S = 30.0  # deadlines are checked after this time in any case, however long an outage was


def limits_of(settings: Settings) -> Limits:
    return Limits(**settings.recording.model_dump())


_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Read:
    """The time at which the next gap is released, as it was read."""

    commits: int  # to the table of gaps by then
    at: datetime
    release: datetime | None


class Recorder:
    """The handler of the journal. `hears` tells whether all of the homeserver's events were written to it.

    `apply` applies an event to a recording, `adopt` records a whole past broadcast, `gathering` past voice messages,
    `calling` calls.
    """

    def __init__(
        self, store: Store, limits: Limits, clock: Callable[[], datetime], *, hears: Callable[[], bool] = lambda: True
    ) -> None:
        async def release(db: Connection, recording: Recording, released: Release) -> None:
            await joining.take_back(db, recording, released)

        applying = Applying(store.chunks, limits, clock, release)
        joining = Joining(applying, store.chunks, limits, clock)
        starting = Starting(applying, limits, clock)
        self._store = store
        self._hears = hears
        self._clock = clock
        self._hearing = Hearing(applying, starting, joining, Transmitting(joining, clock), clock)
        self._stopping = False
        self._release = _Read(-1, clock(), None)
        self.apply = applying.apply
        self.gathering = Gathering(applying, store.chunks, limits, clock)
        self.calling = Calling(applying, limits, clock)
        self.adopt = Adopting(applying, starting, limits, clock).adopt

    async def run(self) -> None:
        """Handle the events of the journal until `stop`."""
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
                        log.error("journal handling paused: %s", error)
                    trouble = str(error)
                    await self._rest(changed, STORE_TROUBLE_PAUSE_S)
                    continue
                if release is not None:
                    await self._rest(changed, release)
                    heard = heard if changed.is_set() else (-1, -1)
                elif not self._stopping:
                    await changed.wait()

    def _written(self) -> tuple[int, int]:
        """Return the commit counts of the tables that hold events to handle."""
        return self._store.changes.of("journal"), self._store.changes.of("gaps")

    async def _next_release(self) -> float | None:
        """Return the seconds until a gap stops holding up the events after it, whether it was read or not."""
        now, written, known = self._clock(), self._store.changes.of("gaps"), self._release
        if known.commits != written or not known.at <= now < (known.release or _NEVER):
            async with self._store.read() as db:
                self._release = _Read(written, now, await gaps.next_release(db, now))
        release = self._release.release
        return None if release is None else max(0.0, (release - now).total_seconds())

    async def _begin(self) -> None:
        """Retry events whose handling failed because of a bug: this version may have fixed it."""
        async with self._store.write() as db:
            await journal.try_again(db)

    async def _rest(self, changed: asyncio.Event, seconds: float) -> None:
        """Wait for some seconds, or until a commit."""
        if not self._stopping:
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), seconds)

    def stop(self) -> None:
        """Stop after the event that is being handled."""
        self._stopping = True
        self._store.changes.notify()

    async def catch_up(self) -> int:
        """Handle the next events of the journal, and return how many they were. Raises StoreError."""
        async with self._store.read() as db:
            waiting = await journal.unhandled(db, BATCH, self._clock())
        for heard in waiting:
            if self._stopping:
                break
            try:
                async with self._store.write() as db:
                    # Read it again: its key may have come since.
                    now = await journal.waiting_at(db, heard.position)
                    if now is not None:
                        await self._hearing.hear(db, now)
            except StoreError:
                raise
            except Exception:
                # A bug that one event triggers must not hold up the others; the event is tried again after a restart.
                log.exception("event not handled: room=%s event=%s", heard.room_id, heard.event_id)
                async with self._store.write() as db:
                    await journal.handled(db, heard, keep=True)
        return len(waiting)

    # ---- jobs

    async def tick(self, job: Job) -> None:
        """Check a recording's deadlines."""
        recording_id = orders.Tick.of(job).recording
        async with self._store.read() as db:
            recording = await archive.recording(db, recording_id)
            unread = recording is not None and await journal.waits_in(db, recording.room_id)
        hears = self._hears() or (recording is not None and recording.via is not None)
        if recording is not None and recording.state is RecordingState.LIVE and (unread or not hears):
            # Signs of life may still be on the homeserver or in the journal: read them before anything is abandoned.
            raise TryLater("waiting for events from the homeserver", after_s=5, at_most_s=UNREAD_AT_MOST_S)
        if unread:
            raise TryLater("waiting for events that were read again to be handled", after_s=0.2, at_most_s=5)
        async with self._store.write() as db:
            for end in await over(db, recording) if recording is not None else ():
                await self.apply(db, recording_id, end)
            await self.apply(db, recording_id, Tick())

    async def end(self, job: Job) -> None:
        """End a recording for an outside cause."""
        order = orders.End.of(job)
        async with self._store.write() as db:
            if order.since is None:
                await self.apply(db, order.recording, Ended(order.by))
            elif (recording := await archive.recording(db, order.recording)) is not None:
                await consent.refuse_what_runs(db, self.apply, recording, order.since)
