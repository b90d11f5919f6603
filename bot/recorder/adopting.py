"""Adoption of past broadcasts: one found in a room's history becomes a recording at once."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from bot import dialects
from bot.recorder.applying import Applying
from bot.recorder.starting import Starting, may_begin, past_visibility
from bot.recording.broadcast import machine
from bot.recording.model import (
    BroadcastChanged,
    BroadcastStarted,
    ChunkSealed,
    ChunkSent,
    Ended,
    Outcome,
    RecordingEvent,
)
from bot.recording.policy import Limits
from storage import archive, backfill, history_checks, journal, replays
from storage.database import Connection
from storage.records import EndedBy, HeardEvent, Recording, RecordingState


class Adopting:
    """An adopter: it makes recordings of broadcasts that the bot did not follow while they ran."""

    def __init__(self, applying: Applying, starting: Starting, limits: Limits, clock: Callable[[], datetime]) -> None:
        self._effects = applying.effects
        self._begin = starting.begin
        self._limits = limits
        self._clock = clock

    async def adopt(self, db: Connection, events: Sequence[HeardEvent]) -> Recording | None:
        """Record a whole past broadcast, its started event first, in the caller's transaction.

        Returns None if the first event starts no broadcast, or one whose speaker may not be recorded. The recording is
        private, and gets no notice of its own.
        """
        now = self._clock()
        first = dialects.read(events[0])
        if not isinstance(first, BroadcastStarted) or not await self._is_wanted(db, events[0], first):
            return None
        placed = await backfill.add(db, await replays.originals(db, events, now), now)
        started = dialects.read(placed[0])
        if not isinstance(started, BroadcastStarted):
            return None
        visibility = await past_visibility(db, placed[0].room_id, placed[0].position)
        recording = replace(await self._begin(db, placed[0], started, visibility, public=False), past=True)
        outcome = await asyncio.to_thread(self._retell, recording, placed[1:], now)
        await archive.save_recording(db, outcome.recording)
        await archive.save_chunks(db, outcome.chunks)
        await history_checks.note(db, outcome.recording.id, outcome.recording.quiet_until or now)
        await self._effects(db, outcome.recording, outcome.effects)
        await backfill.renumber(db, recording.room_id)
        return outcome.recording

    async def _is_wanted(self, db: Connection, heard: HeardEvent, event: BroadcastStarted) -> bool:
        place = await journal.position_of(db, heard.event_id) or backfill.BEFORE_ALL
        return await may_begin(db, replace(heard, position=place), event)

    def _retell(self, recording: Recording, events: Sequence[HeardEvent], now: datetime) -> Outcome:
        """Apply all events of a past broadcast in turn. One that gave no sign of life for long was abandoned."""
        told = Outcome(recording, (), machine.first_effects(recording, self._limits))
        last = recording.started_at
        for heard in events:
            event = dialects.read(heard)
            if isinstance(event, BroadcastChanged | ChunkSent | ChunkSealed) and event.broadcast == recording.event_id:
                last = max(last, event.sent_at or last)
                told = self._then(told, event, now, heard)
        running = told.recording.state is RecordingState.LIVE
        if running and now - last > self._limits.patience(paused=told.recording.paused):
            told = self._then(told, Ended(EndedBy.ABANDONED), now)
        return replace(told, effects=tuple(dict.fromkeys(told.effects)))

    def _then(self, told: Outcome, event: RecordingEvent, now: datetime, heard: HeardEvent | None = None) -> Outcome:
        event_id, position = (heard.event_id, heard.position) if heard else (None, None)
        outcome = machine.step(
            told.recording, told.chunks, event, event_id=event_id, position=position, now=now, limits=self._limits
        )
        return replace(outcome, effects=told.effects + outcome.effects)
