"""The check of chunks against the broadcast that they name: anybody can send one, so its sender must be the speaker.

Element Web itself doesn't check the sender. There is one look-up for each broadcast of a batch, and one line in the log
for each room and reason: a member who sends ten thousand chunks costs no more.
"""

import logging
from collections import Counter
from datetime import datetime, timedelta

from bot import dialects
from bot.intake import consent
from bot.recording.broadcast.speakers import NOT_RECORDED, Speaker, speaker_of
from bot.recording.chunks import NOT_WANTED
from bot.recording.model import BroadcastStarted, ChunkSealed, ChunkSent
from bot.recording.session.transmissions import part
from storage import archive, journal
from storage.database import Connection
from storage.records import EventId, Position, Recording, RecordingState, RoomId, UserId

log = logging.getLogger(__name__)

KEYS_MAY_COME_FOR = timedelta(days=1)


class Claims:
    """The chunks of one batch. A batch is one transaction, so look-ups stay true."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._followed: dict[EventId, Recording] = {}
        self._wanted: dict[tuple[RoomId, UserId, Position | None], bool] = {}
        self._left_out: Counter[tuple[RoomId, str]] = Counter()

    async def refusal(self, db: Connection, room_id: RoomId, chunk: ChunkSent | ChunkSealed) -> str | None:
        """Return why the chunk can't belong to its broadcast: NOT_RECORDED if the broadcast is not known, NOT_WANTED if
        its speaker may not be recorded; None if the chunk may."""
        recording = self._followed.get(chunk.broadcast) or await self._broadcast(db, chunk.broadcast)
        if recording is None:
            started = await journal.pending(db, chunk.broadcast)
            event = dialects.read(started) if started else None
            if started is None or not isinstance(event, BroadcastStarted):
                return NOT_RECORDED if await self.wanted(db, room_id, chunk.sender) else NOT_WANTED
            refusal = Speaker(event.sender, started.room_id).refusal(chunk.sender, room_id)
            return refusal or await self._objection(db, room_id, chunk, started.position)
        self._followed[chunk.broadcast] = recording
        refusal = speaker_of(recording).refusal(chunk.sender, room_id)
        if refusal is not None:
            return refusal
        if recording.state is RecordingState.DELETED:
            return "deleted"
        if (objection := await self._objection(db, room_id, chunk, recording.position)) is not None:
            return objection
        # An unreadable chunk may be anything, so it is kept only while keys come.
        ended_at = recording.ended_at if isinstance(chunk, ChunkSealed) else None
        return "too_late" if ended_at is not None and ended_at <= self._now - KEYS_MAY_COME_FOR else None

    async def _broadcast(self, db: Connection, started: EventId) -> Recording | None:
        recording = await archive.recording_of_broadcast(db, started)
        return part(recording, started) if recording else None

    async def wanted(self, db: Connection, room_id: RoomId, sender: UserId, began: Position | None = None) -> bool:
        """Return whether a member's sound may be recorded (`consent`), asked once a batch."""
        key = (room_id, sender, began)
        if key not in self._wanted:
            self._wanted[key] = await consent.may_record(db, room_id, sender, began=began)
        return self._wanted[key]

    async def _objection(
        self, db: Connection, room_id: RoomId, chunk: ChunkSent | ChunkSealed, began: Position
    ) -> str | None:
        return None if await self.wanted(db, room_id, chunk.sender, began) else NOT_WANTED

    def leave_out(self, room_id: RoomId, rule: str) -> None:
        """Count an event that is ignored."""
        self._left_out[room_id, rule] += 1

    def log(self) -> None:
        """Log one line for each room and reason."""
        for (room_id, rule), count in self._left_out.items():
            log.info("events ignored: rule=%s room=%s events=%d", rule, room_id, count)
