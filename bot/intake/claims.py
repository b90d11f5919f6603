"""Chunks name their broadcast, and anybody can send them: whose are taken is asked before anything is written down.

Element Web itself doesn't check the sender. One look-up for each broadcast of a batch, none for each event, and one
line in the log: a member who sends ten thousand of them costs no more than that.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from bot.recording.model import ChunkSealed, ChunkSent
from storage import archive, journal
from storage.database import Connection
from storage.records import EventId, Recording, RecordingState, RoomId, UserId

log = logging.getLogger(__name__)

Unknown = Callable[[EventId, UserId], Awaitable[bool]]
KEYS_MAY_COME_FOR = timedelta(days=1)


class Claims:
    """For one batch, in one transaction: what was looked up stays true."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._followed: dict[EventId, Recording] = {}
        self._left_out: Counter[tuple[RoomId, str]] = Counter()

    async def holds(
        self, db: Connection, room_id: RoomId, chunk: ChunkSent | ChunkSealed, unknown: Unknown | None = None
    ) -> bool:
        """Whether it may be a chunk of a broadcast that is followed, or will be: of its speaker, in its room. Of one
        that nobody knows `unknown` says it."""
        recording = self._followed.get(chunk.broadcast) or await archive.recording_by_event(db, chunk.broadcast)
        if recording is None:
            started = await journal.pending(db, chunk.broadcast)
            known = started is not None and started.room_id == room_id
            holds = known and started is not None and started.event.get("sender") == chunk.sender
            rule = "foreign_sender" if known else "not_followed"
            if started is None and unknown is not None:
                holds = await unknown(chunk.broadcast, chunk.sender)
        else:
            self._followed[chunk.broadcast] = recording
            rule = self._refusal(recording, room_id, chunk)
            holds = not rule
        if not holds:
            self._left_out[room_id, rule] += 1
        return holds

    def tell(self) -> None:
        """One line for each room and reason."""
        for (room_id, rule), count in self._left_out.items():
            log.info("left out: rule=%s room=%s events=%d", rule, room_id, count)

    def _refusal(self, recording: Recording, room_id: RoomId, chunk: ChunkSent | ChunkSealed) -> str:
        """The machine's rules that need none of the recording's chunks."""
        if recording.room_id != room_id:
            return "other_room"
        if recording.broadcaster != chunk.sender:
            return "foreign_sender"
        if recording.state is RecordingState.DELETED:
            return "deleted"
        # Nobody knows what is in an unreadable one: it is kept only while keys come.
        ended_at = recording.ended_at if isinstance(chunk, ChunkSealed) else None
        return "too_late" if ended_at is not None and ended_at <= self._now - KEYS_MAY_COME_FOR else ""
