"""The session that a voice message belongs to. Pure.

A message goes on with the session of the message before it in the timeline, in the same thread, if it was sent less
than `session_gap` after that one, whoever sent it. A message that comes late, as after a gap in the timeline, may also
belong to the session of the message after it.

A time is the word of its sender: it is clamped between the time of the message before and the time at which the message
was heard, so that it orders nothing.
"""

from collections.abc import Sequence
from datetime import datetime

from bot.recording.life import clamped
from bot.recording.policy import MAX_CHUNKS, Limits
from storage.records import Chunk, EndedBy, Recording, RecordingState, to_samples

CLOSED = frozenset({EndedBy.STOPPED, EndedBy.LIMIT, EndedBy.REMOVED, EndedBy.SWITCHED_OFF})
"""Ends after which a session takes no other message."""


def said_at(sent_at: datetime | None, before: Chunk | None, heard_at: datetime) -> datetime:
    """Return the time that counts for a message. `before`: the message before it, in any session of its thread."""
    return clamped(sent_at, before.sent_at if before else None, heard_at)


def follows(earlier: datetime | None, later: datetime | None, limits: Limits) -> bool:
    """Return whether a message goes on with the session of an earlier one."""
    return earlier is not None and later is not None and later - earlier < limits.session_gap


def has_room(recording: Recording, chunks: Sequence[Chunk], announced_ms: int | None, limits: Limits) -> bool:
    """Return whether a session takes another message. One that is full, or was closed, is followed by another one."""
    if recording.state is RecordingState.DELETED or recording.ended_by in CLOSED:
        return False
    heard = sum(_samples(chunk) for chunk in chunks) + to_samples(announced_ms or 0)
    return len(chunks) < MAX_CHUNKS and heard <= limits.max_samples


def _samples(chunk: Chunk) -> int:
    return chunk.facts.samples if chunk.facts else to_samples(chunk.announced_ms or 0)
