"""The session that a voice message belongs to. Pure.

A message goes on with the session of the message before it in the timeline, in the same thread, if it was sent less
than `session_gap` after that one, whoever sent it. A message that comes late, as after a gap in the timeline, may also
belong to the session of the message after it. One that would belong to both joins the earlier: neither gives up its id.

A time is the word of its sender: it is clamped between the times of the messages beside it, and to the time at which
the message was heard, so that times rise with the timeline. A time before the gap of the message before is no time: a
clock that is that wrong would go on with a session of long ago.
"""

from collections.abc import Sequence
from datetime import datetime

from bot.recording.chunks import is_removed
from bot.recording.life import clamped
from bot.recording.model import BroadcastStarted, VoiceMessage
from bot.recording.policy import MAX_CHUNKS, Limits
from bot.recording.session.layout import MAX_GAP
from storage.records import Chunk, EndedBy, Recording, RecordingState, to_samples

FULL_OR_UNWANTED = frozenset({EndedBy.LIMIT, EndedBy.SWITCHED_OFF})
"""Ends after which a session takes no other message."""
CLOSED = FULL_OR_UNWANTED | {EndedBy.STOPPED, EndedBy.REMOVED}
"""Ends after which a session takes no message behind its last."""


def said_at(
    message: VoiceMessage | BroadcastStarted,
    before: Chunk | None,
    after: Chunk | None,
    heard_at: datetime,
    limits: Limits,
    *,
    past: bool,
) -> datetime:
    """Return the time that counts for a message. `before`, `after`: the messages beside it, in any session of its
    thread. `past`: it was heard long after it was sent, so that `heard_at` tells little."""
    earliest = before.sent_at if before else None
    latest = min(heard_at, after.sent_at) if after and after.sent_at else heard_at
    claimed = message.sent_at
    if claimed and earliest and claimed <= earliest - limits.session_gap and not past:
        claimed = None
    return clamped(claimed, earliest, latest)


def follows(earlier: datetime | None, later: datetime | None, limits: Limits) -> bool:
    """Return whether a message goes on with the session of an earlier one."""
    return earlier is not None and later is not None and later - earlier < limits.session_gap


def takes(session: Recording, *, between: bool) -> bool:
    """Return whether a session takes another message. `between`: it stands between two of the session's own. One that
    was made of the past takes none: it is a choice of messages."""
    if (
        session.past
        or session.chosen
        or session.state is RecordingState.DELETED
        or session.ended_by in FULL_OR_UNWANTED
    ):
        return False
    return between or session.ended_by not in CLOSED


def has_room(chunks: Sequence[Chunk], announced_ms: int | None, limits: Limits) -> bool:
    """Return whether a message of this length fits into a session. One that is full is followed by another.

    Of messages that are not here the length is a stranger's word, so it is bounded: whatever is longer finds out when
    it is here.
    """
    heard = sum(chunk.facts.samples for chunk in chunks if chunk.facts and not is_removed(chunk))
    announced = [chunk.announced_ms for chunk in chunks if not chunk.facts and not is_removed(chunk)]
    expected = sum(min(to_samples(length or 0), MAX_GAP) for length in (*announced, announced_ms))
    return len(chunks) < MAX_CHUNKS and heard + expected <= limits.max_samples
