"""The life of a studio: until when it takes anything, and from whom. Pure."""

from datetime import datetime, timedelta
from enum import StrEnum

from storage.records import Studio, StudioState

GOOD_FOR = timedelta(hours=24)
"""Time for which a studio waits for its broadcast to begin, and for which slices are taken after its end."""


HELD_FOR = timedelta(seconds=20)
"""Time after the last sign of life of a source client in which another process of the web does not take its place."""
RESUMES_AT_ONCE = 200
RESUME_EACH = timedelta(seconds=10)
"""Resumptions of a broadcast: so many, and one more in each such time since it began. A source on a poor network may
break off all day; one that does nothing else fills neither the archive nor the room."""


class Problem(StrEnum):
    """The reason for which a step is refused."""

    OVER = "over"  # nothing more is taken
    ELSEWHERE = "elsewhere"  # another page, client or process broadcasts with this studio
    WAITING = "waiting"  # it has not begun
    OTHER_BYTES = "other_bytes"  # a slice of this number came before, with other bytes
    TOO_MANY = "too_many"  # slices, or changes
    TOO_FAST = "too_fast"  # more than are taken now
    TOO_LARGE = "too_large"
    BROADCAST_FULL = "broadcast_full"  # more than a broadcast of the longest length can be
    ROOM_FULL = "room_full"
    DISK_FULL = "disk_full"


def closes_at(studio: Studio) -> datetime | None:
    """Return when a studio takes nothing more by itself; None while it is on the air."""
    if studio.state is StudioState.WAITING:
        return studio.expires_at
    if studio.state is not StudioState.OVER:
        return None
    ended_at = studio.ended_at or studio.made_at
    # Without the number of its last slice it was not its client that ended it: nothing is missing.
    return ended_at if studio.last is None else ended_at + GOOD_FOR


def is_closed(studio: Studio, now: datetime) -> bool:
    """Return whether a studio takes nothing more, whatever it is."""
    at = closes_at(studio)
    return at is not None and now >= at


def is_held(studio: Studio, now: datetime) -> bool:
    """Return whether a source client has a studio's broadcast, and has shown it lately."""
    return studio.state is StudioState.LIVE and studio.heard_at is not None and now < studio.heard_at + HELD_FOR


def may_resume(studio: Studio, now: datetime) -> bool:
    """Return whether a broadcast that paused may go on now: it has not done so too often."""
    since = now - (studio.started_at or studio.made_at)
    return studio.changes // 2 < RESUMES_AT_ONCE + max(0, since // RESUME_EACH)


def problem_for(studio: Studio, client: str | None, now: datetime, *, late: bool = False) -> Problem | None:
    """Return why a client may not go on with a studio now. `late`: with what is taken after its stop, too."""
    if is_closed(studio, now):
        return Problem.OVER
    if None not in (studio.client, client) and studio.client != client:
        return Problem.ELSEWHERE
    return Problem.OVER if studio.state is StudioState.OVER and not late else None
