"""Past broadcasts of a room: found page by page, each taken over whole in one transaction, reported at the end.

How far it came is written down after each page and each broadcast: whatever stops it, it goes on from there.
Nothing that was said to the bot in the past is carried out, for only broadcasts and what refers to them is read.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime

from bot import dialects, orders, words
from bot.errors import GiveUp, TryLater
from bot.recording.model import BroadcastStarted
from bot.worker.retries import ask_anew
from bot.worker.room_history import RoomHistory
from storage import archive, jobs, journal, rooms
from storage.database import Connection
from storage.records import (
    HeardEvent,
    Job,
    Recording,
    RecordingState,
    UserId,
)
from storage.store import Store

log = logging.getLogger(__name__)

LOOK_AGAIN_S = 1.0
MOST_PARTS = 20_000  # of one broadcast


Adopt = Callable[[Connection, Sequence[HeardEvent]], Awaitable[Recording | None]]


class Backfilling:
    """Handles Backfill orders. `adopt` is the recorder's: a whole broadcast into a recording."""

    def __init__(self, store: Store, history: RoomHistory, *, adopt: Adopt, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._history = history
        self._adopt = adopt
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        progress = orders.Backfill.of(job)
        async with self._store.read() as db:
            room = await rooms.room(db, progress.room_id)
        if room is not None and room.told_at is None:
            await self._tell(job, progress, words.NOT_TOLD)
            raise GiveUp("the room was not told yet that it is recorded", reason="not_told", room=room.room_id)
        if not progress.walked:
            try:
                progress = await self._walk(job, progress)
            except GiveUp:
                await self._tell(job, progress, words.HISTORY_REFUSED)
                raise
        found = await self._recordings(progress)
        if any(one.state.is_open for one in found):
            raise TryLater("the last chunks are still fetched", after_s=LOOK_AGAIN_S)
        await self._report(job, progress, found)

    async def _walk(self, job: Job, progress: orders.Backfill) -> orders.Backfill:
        """Takes over what it finds, newest first, until the beginning or `since`."""
        async for page in self._history.pages(progress.room_id, progress.cursor):
            for started in page.started:
                event = dialects.read(started)
                if not isinstance(event, BroadcastStarted):
                    continue
                if _is_before(event.sent_at, progress.since):
                    return await self._note(job, replace(progress, walked=True))
                progress = await self._take_over(job, progress, started, event.sender)
            progress = await self._note(job, replace(progress, cursor=page.next_cursor))
        return await self._note(job, replace(progress, walked=True))

    async def _take_over(
        self, job: Job, progress: orders.Backfill, started: HeardEvent, sender: UserId
    ) -> orders.Backfill:
        async with self._store.read() as db:
            known = await archive.recording_by_event(db, started.event_id)
        if known is not None:
            await self._read_anew(known)
            again = started.event_id in progress.adopted  # the page is walked anew after a stop
            return progress if again else replace(progress, known=progress.known + 1)
        pages = [page async for page in self._history.related(progress.room_id, started.event_id, sender)]
        related = [heard for page in pages for heard in page][:MOST_PARTS]
        async with self._store.write() as db:
            recording = await self._adopt(db, (started, *related))
            if recording is None:
                return progress
            progress = replace(progress, adopted=(*progress.adopted, started.event_id))
            await jobs.note(db, job.id, progress.job(), self._clock())
        log.info("a past broadcast: recording=%s room=%s event=%s", recording.code, recording.room_id, started.event_id)
        return progress

    async def _read_anew(self, known: Recording) -> None:
        """What is followed already may have holes that the homeserver can fill, and media that could not be used."""
        if known.state is RecordingState.DELETED:
            return
        reread = orders.Reread(known.event_id, known.room_id, known.broadcaster)
        async with self._store.write() as db:
            await jobs.add(db, reread.job(), self._clock())
            await ask_anew(db, known, self._clock())

    async def _note(self, job: Job, progress: orders.Backfill) -> orders.Backfill:
        async with self._store.write() as db:
            await jobs.note(db, job.id, progress.job(), self._clock())
        return progress

    async def _recordings(self, progress: orders.Backfill) -> tuple[Recording, ...]:
        async with self._store.read() as db:
            found = [await archive.recording_by_event(db, event) for event in progress.adopted]
        return tuple(one for one in found if one is not None)

    async def _report(self, job: Job, progress: orders.Backfill, found: tuple[Recording, ...]) -> None:
        """One notice: found, recorded, incomplete, already there."""
        states = Counter(one.state for one in found)
        body = words.backfilled(
            found=len(found) + progress.known,
            complete=states[RecordingState.COMPLETE],
            incomplete=states[RecordingState.INCOMPLETE],
            empty=states[RecordingState.EMPTY],
            known=progress.known,
        )
        log.info("backfilled: room=%s found=%d known=%d", progress.room_id, len(found), progress.known)
        await self._tell(job, progress, body)

    async def _tell(self, job: Job, progress: orders.Backfill, body: str) -> None:
        topic = orders.backfilled(job.id)
        notice = orders.Notice(topic, progress.room_id, body, reply_to=progress.reply_to)
        async with self._store.write() as db:
            await jobs.add(db, notice.job(), self._clock())
            await journal.put(db, topic, body)  # for the shell, which may have asked


def _is_before(began: datetime | None, since: datetime | None) -> bool:
    return since is not None and began is not None and began < since
