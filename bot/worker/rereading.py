"""Broadcasts read from the homeserver: events that the sync did not show are passed on to the recorder.

These events go through the journal like all others: one writer, one order, each event once. The started event is passed
on before the rest is read, so that events of a running broadcast are accepted as they come. A broadcast that is already
followed is read in the same way, for events that the sync left out and for redactions, of which a homeserver shows only
an event without content.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from bot import dialects, orders
from bot.dialects import studio, studio_in_room
from bot.dialects.fields import answers_for, type_of
from bot.dialects.redaction import carried_out
from bot.errors import GiveUp, TryLater
from bot.event_types import MEMBER
from bot.intake import consent
from bot.recording.broadcast.speakers import Speaker
from bot.recording.model import BroadcastChanged, BroadcastStarted, Change
from bot.recording.session.transmissions import alone, find, part
from bot.worker.retries import lacks_source
from bot.worker.room_history import RoomHistory
from storage import archive, backfill, gaps, history_checks, jobs, journal, replays, rooms
from storage.database import Connection
from storage.records import (
    Chunk,
    ChunkState,
    EventId,
    HeardEvent,
    Job,
    Recording,
    RecordingState,
    RoomId,
    UserId,
)
from storage.store import Store

log = logging.getLogger(__name__)

AT_ONCE = 100  # events in one transaction
MOST_LOOKED_FOR = 200  # chunks that are read one by one, by their ids


class Rereading:
    """The handler of Reread orders."""

    def __init__(self, store: Store, history: RoomHistory, us: UserId, *, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._history = history
        self._us = us
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        order = orders.Reread.of(job)
        if studio.is_ours(order.event_id):
            return  # the homeserver knows nothing of it
        try:
            await self._reread(order)
        except GiveUp:
            await self._answered(order.event_id)
            raise
        await self._answered(order.event_id)

    async def _answered(self, broadcast: EventId) -> None:
        """Record that the homeserver has returned all of its events, so that absent chunks may count as missing."""
        async with self._store.write() as db:
            recording = await archive.recording_of_broadcast(db, broadcast)
            if recording is not None and recording.state.is_open:
                await history_checks.note(db, recording.id, self._clock())
                await jobs.add(db, orders.Tick(recording.id).job(), self._clock())

    async def _reread(self, order: orders.Reread) -> None:
        room_id, broadcast = order.room_id, order.event_id
        recording = await self._recording(broadcast)
        if not await self._wanted(room_id, recording):
            return
        if recording is None and await self._may_lie_in_a_gap(room_id):
            raise TryLater(
                "waiting for a gap in the room to be read", after_s=1, at_most_s=5, room=room_id, event=broadcast
            )
        started = await self._read(room_id, broadcast)
        redaction = carried_out(started)
        if redaction is not None:
            await self._pass_on([redaction])
            return
        event = dialects.read(started)
        if not isinstance(event, BroadcastStarted) or not Speaker(order.sender, room_id).counts(event.sender, room_id):
            raise GiveUp(
                "the event is no broadcast of that user", reason="not_a_broadcast", room=room_id, event=broadcast
            )
        if studio_in_room.mark_of(self._us, started) is not None:
            log.info("broadcast not recorded: it was made in a studio: room=%s event=%s", room_id, broadcast)
            return
        if recording is None and not await self._may_begin(started, event):
            log.info("broadcast not recorded: not wanted: room=%s event=%s", room_id, broadcast)
            return
        anew = recording is None and order.unknown
        if anew and not await self._began_here(room_id, event):
            log.info("broadcast not recorded: it began before the bot joined: room=%s event=%s", room_id, broadcast)
            return
        if recording is None:
            await self._pass_on_start(started, event, anew=anew)
        passed_on = await self._pass_on_parts(started, event, anew=anew)
        log.info("broadcast read again: room=%s event=%s new_events=%d", room_id, broadcast, passed_on)

    async def _pass_on_parts(self, started: HeardEvent, event: BroadcastStarted, *, anew: bool) -> int:
        """Pass on the events of the broadcast that were not heard, and its redactions; return how many.

        `anew`: its start was just passed on, so parts that were heard before are handled again, after it.
        """
        room_id, broadcast = started.room_id, started.event_id
        chunks, related, passed_on = await self._chunks(broadcast), set[EventId](), 0
        goes_on = await self._may_go_on(broadcast)
        async for page in self._history.related(room_id, broadcast, event.sender):
            related |= {heard.event_id for heard in page}
            unheard = [heard for heard in page if (chunk := chunks.get(heard.event_id)) is None or lacks_source(chunk)]
            if not goes_on:
                unheard = [heard for heard in unheard if isinstance(dialects.read(heard), BroadcastChanged)]
            unheard = unheard if anew else await self._without_old_changes(unheard)
            await self._pass_on(unheard, anew=anew)
            passed_on += len(unheard)
        redactions = await self._redactions(room_id, chunks, related)
        await self._pass_on(redactions)
        return passed_on + len(redactions) + await self._pass_on_newest(started, event, related)

    async def _pass_on_newest(self, started: HeardEvent, event: BroadcastStarted, related: set[EventId]) -> int:
        """Pass on the speaker's newest info event in the room's state: this broadcast stopped, or another one began."""
        newest = await self._history.newest_info(started.room_id, type_of(started.event), event.sender)
        read = dialects.read(newest) if newest is not None else None
        if newest is None or newest.event_id in related:
            return 0
        if not isinstance(read, BroadcastChanged | BroadcastStarted):
            return 0
        if not Speaker(event.sender, started.room_id).counts(read.sender, newest.room_id):
            return 0
        if isinstance(read, BroadcastChanged) and read.broadcast == started.event_id:
            recording = await self._recording(started.event_id)
            broadcast = part(recording, started.event_id) if recording else None
            if read.change is Change.STOPPED and broadcast is not None and broadcast.state is RecordingState.LIVE:
                await self._pass_on([newest])
                return 1
        if isinstance(read, BroadcastStarted) and newest.event_id.startswith("$"):
            async with self._store.write() as db:
                if await journal.position_of(db, newest.event_id) is None:
                    reread = orders.Reread(newest.event_id, started.room_id, event.sender, unknown=True)
                    await jobs.add(db, reread.job(), self._clock())
        return 0

    async def _without_old_changes(self, events: Sequence[HeardEvent]) -> list[HeardEvent]:
        """Leave out pauses and resumptions that were heard before, which would count as signs of life again."""
        read = {heard.event_id: dialects.read(heard) for heard in events}
        changes = [
            name
            for name, event in read.items()
            if isinstance(event, BroadcastChanged) and event.change is not Change.STOPPED
        ]
        async with self._store.read() as db:
            heard = await journal.positions_of(db, changes)
        return [event for event in events if event.event_id not in heard]

    async def _may_lie_in_a_gap(self, room_id: RoomId) -> bool:
        """Return whether a gap is being read in which the start may lie; then the gap decides its position."""
        async with self._store.read() as db:
            return await gaps.is_walking(db, room_id, self._clock() - gaps.OVERDUE_AFTER)

    async def _began_here(self, room_id: RoomId, event: BroadcastStarted) -> bool:
        """Return whether the broadcast began after the bot joined and greeted the room, by the homeserver's times."""
        async with self._store.read() as db:
            own = await rooms.state(db, room_id, MEMBER, self._us)
            room = await rooms.room(db, room_id)
            told_at = await journal.received_at(db, room.told_at) if room and room.told_at else None
        marks = [at for at in (own.sent_at if own else None, told_at) if at is not None]
        return event.sent_at is None or all(at <= event.sent_at for at in marks)

    async def _pass_on_start(self, started: HeardEvent, event: BroadcastStarted, *, anew: bool) -> None:
        """Pass on the start of a broadcast that the sync did not show.

        If somebody has joined since, or the room was made public, its position is before all events heard, so that no
        later member may listen to it. The same holds if its speaker has begun another broadcast since, which this start
        must not end.
        """
        async with self._store.write() as db:
            in_front = anew and await journal.is_before_somebody(db, started.room_id, event.sent_at)
            if in_front or (anew and await _is_overtaken(db, started.room_id, event)):
                await backfill.add(db, [started], self._clock())
            await journal.requeue(db, started, self._clock())

    async def _wanted(self, room_id: RoomId, recording: Recording | None) -> bool:
        """Return whether the recording is not deleted or, where there is none, the room is recorded."""
        if recording is not None:
            return recording.room_id == room_id and recording.state is not RecordingState.DELETED
        async with self._store.read() as db:
            room = await rooms.room(db, room_id)
        return room is not None and room.joined and room.records

    async def _may_begin(self, started: HeardEvent, event: BroadcastStarted) -> bool:
        """Return whether the speaker of a broadcast that is not recorded may be recorded."""
        async with self._store.read() as db:
            began = await journal.position_of(db, started.event_id)
            return await consent.may_record(db, started.room_id, event.sender, began=began, sent_at=event.sent_at)

    async def _may_go_on(self, broadcast: EventId) -> bool:
        async with self._store.read() as db:
            recording = await archive.recording_of_broadcast(db, broadcast)
            return recording is None or await consent.may_go_on(db, part(recording, broadcast))

    async def _recording(self, broadcast: EventId) -> Recording | None:
        async with self._store.read() as db:
            return await archive.recording_of_broadcast(db, broadcast)

    async def _chunks(self, broadcast: EventId) -> dict[EventId, Chunk]:
        async with self._store.read() as db:
            recording = await archive.recording_of_broadcast(db, broadcast)
            chunks = await archive.chunks(db, recording.id) if recording else ()
        if recording is not None and find(recording, broadcast) is not None:
            _recording, chunks = alone(recording, broadcast, chunks)
        return {chunk.event_id: chunk for chunk in chunks if chunk.event_id}

    async def _read(self, room_id: RoomId, event_id: EventId) -> HeardEvent:
        """Read an event as it is now. Raises TryLater, GiveUp."""
        event = await self._history.event(room_id, event_id)
        if not answers_for(event, room_id, event_id):
            raise TryLater("the homeserver answered with another event", room=room_id, event=event_id)
        return event

    async def _redactions(
        self, room_id: RoomId, chunks: dict[EventId, Chunk], related: set[EventId]
    ) -> list[HeardEvent]:
        """Find redactions of chunks that the homeserver no longer lists: a redacted event refers to nothing."""
        redactions, unnamed = [], set(chunks) - related
        looked_for = [
            event_id
            for event_id, chunk in chunks.items()
            if event_id in unnamed and chunk.state is not ChunkState.REDACTED
        ]
        for event_id in looked_for[:MOST_LOOKED_FOR]:
            try:
                redaction = carried_out(await self._read(room_id, event_id))
            except GiveUp as error:  # the bot may not read it, which proves nothing about the chunk
                log.info("chunk not readable: room=%s event=%s reason=%s", room_id, event_id, error.reason)
                continue
            if redaction is not None:
                redactions.append(redaction)
        return redactions

    async def _pass_on(self, events: Sequence[HeardEvent], *, anew: bool = False) -> None:
        for start in range(0, len(events), AT_ONCE):
            async with self._store.write() as db:
                for event in await replays.originals(db, events[start : start + AT_ONCE], self._clock()):
                    await journal.requeue(db, event, self._clock(), behind_all=anew)


async def _is_overtaken(db: Connection, room_id: RoomId, event: BroadcastStarted) -> bool:
    """Return whether the speaker is live with another broadcast that began no earlier, by the homeserver's times."""
    live = await archive.open_broadcasts(db, room_id, event.sender)
    return event.sent_at is not None and any(recording.started_at >= event.sent_at for recording in live)
