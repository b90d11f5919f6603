"""The search for past broadcasts of a room: page by page, each broadcast adopted whole in one transaction, with a
report at the end.

Progress is written down after each page and each broadcast; so a search that was stopped continues from there.
Only broadcasts and events that refer to them are read, so commands of the past are not carried out.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime

from bot import dialects, orders, topics, words
from bot.errors import GiveUp, TryLater
from bot.intake import consent
from bot.language import _, speaking
from bot.recording.kinds import kind_of
from bot.recording.model import BroadcastStarted
from bot.worker.retries import ask_anew
from bot.worker.room_history import RoomHistory
from storage import archive, backfill, jobs, journal, rooms
from storage.database import Connection
from storage.records import (
    HeardEvent,
    Job,
    Recording,
    RecordingState,
    Room,
)
from storage.store import Store

log = logging.getLogger(__name__)

LOOK_AGAIN_S = 1.0
MOST_PARTS = 20_000  # of one broadcast


Adopt = Callable[[Connection, Sequence[HeardEvent]], Awaitable[Recording | None]]


class Backfilling:
    """The handler of Backfill orders. `adopt` is the recorder's function: it makes a recording of a whole broadcast."""

    def __init__(self, store: Store, history: RoomHistory, *, adopt: Adopt, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._history = history
        self._adopt = adopt
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        progress = orders.Backfill.of(job)
        async with self._store.read() as db:
            room = await rooms.room(db, progress.room_id)
        with speaking(room.language if room else None):
            await self._search(job, progress, room)

    async def _search(self, job: Job, progress: orders.Backfill, room: Room | None) -> None:
        if room is not None and room.told_at is None:
            await self._tell(job, progress, _(words.NOT_TOLD))
            raise GiveUp("the room has no notice yet that it is recorded", reason="not_told", room=room.room_id)
        if not progress.walked:
            try:
                progress = await self._walk(job, progress)
            except GiveUp:
                await self._tell(job, progress, _(words.HISTORY_REFUSED))
                raise
        adopted = await self._recordings(progress)
        if any(recording.state.is_open for recording in adopted):
            raise TryLater("the last chunks are still being fetched", after_s=LOOK_AGAIN_S)
        await self._report(job, progress, adopted)

    async def _walk(self, job: Job, progress: orders.Backfill) -> orders.Backfill:
        """Adopt the broadcasts of the history, newest first, back to its beginning or to `since`."""
        async for page in self._history.pages(progress.room_id, progress.cursor):
            for started in page.started:
                event = dialects.read(started)
                if not isinstance(event, BroadcastStarted):
                    continue
                if _is_before(event.sent_at, progress.since):
                    return await self._note(job, replace(progress, walked=True))
                progress = await self._adopt_one(job, progress, started, event)
            progress = await self._note(job, replace(progress, cursor=page.next_cursor))
        return await self._note(job, replace(progress, walked=True))

    async def _adopt_one(
        self, job: Job, progress: orders.Backfill, started: HeardEvent, event: BroadcastStarted
    ) -> orders.Backfill:
        async with self._store.read() as db:
            known = await archive.recording_of_broadcast(db, started.event_id)
        if known is not None:
            await self._read_anew(known)
            again = started.event_id in progress.adopted  # after a stop the page is read again
            return progress if again else replace(progress, known=progress.known + 1)
        if not await self._is_wanted(started, event):
            return progress
        pages = [page async for page in self._history.related(progress.room_id, started.event_id, event.sender)]
        related = [heard for page in pages for heard in page][:MOST_PARTS]
        async with self._store.write() as db:
            recording = await self._adopt(db, (started, *related))
            if recording is None:
                return progress
            progress = replace(progress, adopted=(*progress.adopted, started.event_id))
            await jobs.note(db, job.id, progress.job(), self._clock())
        log.info(
            "past broadcast adopted: recording=%s room=%s event=%s", recording.code, recording.room_id, started.event_id
        )
        return progress

    async def _is_wanted(self, started: HeardEvent, event: BroadcastStarted) -> bool:
        """Return whether the speaker of a past broadcast may be recorded."""
        async with self._store.read() as db:
            began = await journal.position_of(db, started.event_id) or backfill.BEFORE_ALL
            return await consent.may_record(db, started.room_id, event.sender, began=began, sent_at=event.sent_at)

    async def _read_anew(self, known: Recording) -> None:
        """Read a known broadcast again, to fill its holes and to fetch media that can be used now."""
        if known.state is RecordingState.DELETED:
            return
        async with self._store.write() as db:
            if kind_of(known).related:
                await jobs.add(db, orders.Reread.known(known).job(), self._clock())
            await ask_anew(db, known, self._clock())

    async def _note(self, job: Job, progress: orders.Backfill) -> orders.Backfill:
        async with self._store.write() as db:
            await jobs.note(db, job.id, progress.job(), self._clock())
        return progress

    async def _recordings(self, progress: orders.Backfill) -> tuple[Recording, ...]:
        async with self._store.read() as db:
            adopted = [await archive.recording_by_event(db, event) for event in progress.adopted]
        return tuple(recording for recording in adopted if recording is not None)

    async def _report(self, job: Job, progress: orders.Backfill, adopted: tuple[Recording, ...]) -> None:
        """Tell the room how many broadcasts were found, recorded, incomplete or known before."""
        body = words.backfilled(found_of(adopted, progress.known))
        log.info("backfilled: room=%s adopted=%d known=%d", progress.room_id, len(adopted), progress.known)
        await self._tell(job, progress, body)

    async def _tell(self, job: Job, progress: orders.Backfill, body: str) -> None:
        topic = topics.backfilled(job.id)
        notice = orders.Notice(topic, progress.room_id, body, reply_to=progress.reply_to)
        async with self._store.write() as db:
            await jobs.add(db, notice.job(), self._clock())
            await journal.put(db, journal.report_of(job.id), body)  # for the shell, which may have ordered the search


def found_of(made: Sequence[Recording], known: int) -> words.Found:
    """Count the recordings that a search made, by their states."""
    states = Counter(recording.state for recording in made)
    return words.Found(
        complete=states[RecordingState.COMPLETE],
        incomplete=states[RecordingState.INCOMPLETE],
        empty=states[RecordingState.EMPTY],
        known=known,
        waiting=sum(recording.unreviewed and recording.state.may_have_audio for recording in made),
    )


def _is_before(began: datetime | None, since: datetime | None) -> bool:
    return since is not None and began is not None and began < since
