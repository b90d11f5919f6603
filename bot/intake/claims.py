"""Chunks name their broadcast, and anybody can send them: whose are taken is looked up before anything is written.

Element Web itself doesn't check the sender. One look-up for each broadcast of a batch, none for each event, and one
line in the log: a member who sends ten thousand of them costs no more than that.
"""

import logging
from collections import Counter
from datetime import datetime, timedelta

from bot import dialects
from bot.recording.broadcast.speakers import NOT_RECORDED, Speaker, speaker_of
from bot.recording.model import BroadcastStarted, ChunkSealed, ChunkSent
from storage import archive, journal
from storage.database import Connection
from storage.records import EventId, Recording, RecordingState, RoomId

log = logging.getLogger(__name__)

KEYS_MAY_COME_FOR = timedelta(days=1)


class Claims:
    """The chunks of one batch. It is one transaction: what was looked up stays true."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._followed: dict[EventId, Recording] = {}
        self._left_out: Counter[tuple[RoomId, str]] = Counter()

    async def refusal(self, db: Connection, room_id: RoomId, chunk: ChunkSent | ChunkSealed) -> str | None:
        """Return why the chunk can't belong to its broadcast: NOT_RECORDED if nobody knows that; None if it may."""
        recording = self._followed.get(chunk.broadcast) or await archive.recording_by_event(db, chunk.broadcast)
        if recording is None:
            started = await journal.pending(db, chunk.broadcast)
            event = dialects.read(started) if started else None
            if started is None or not isinstance(event, BroadcastStarted):
                return NOT_RECORDED
            return Speaker(event.sender, started.room_id).refusal(chunk.sender, room_id)
        self._followed[chunk.broadcast] = recording
        refusal = speaker_of(recording).refusal(chunk.sender, room_id)
        if refusal is not None:
            return refusal
        if recording.state is RecordingState.DELETED:
            return "deleted"
        # An unreadable chunk may be anything, so it is kept only while keys come.
        ended_at = recording.ended_at if isinstance(chunk, ChunkSealed) else None
        return "too_late" if ended_at is not None and ended_at <= self._now - KEYS_MAY_COME_FOR else None

    def leave_out(self, room_id: RoomId, rule: str) -> None:
        """Count an event that is not taken."""
        self._left_out[room_id, rule] += 1

    def log(self) -> None:
        """Log one line for each room and reason."""
        for (room_id, rule), count in self._left_out.items():
            log.info("events ignored: rule=%s room=%s events=%d", rule, room_id, count)
