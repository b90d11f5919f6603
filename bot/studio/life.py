"""The life of a studio: until when it takes anything, and from whom. Pure."""

from datetime import datetime, timedelta
from enum import StrEnum

from storage.records import Studio, StudioState

GOOD_FOR = timedelta(hours=24)
"""Time for which a studio waits for its broadcast to begin, and for which slices are taken after its end."""


class Problem(StrEnum):
    """The reason for which a step is refused."""

    OVER = "over"  # nothing more is taken
    ELSEWHERE = "elsewhere"  # another page, client or process broadcasts with this studio
    WAITING = "waiting"  # it has not begun
    OTHER_BYTES = "other_bytes"  # a slice of this number came before, with other bytes
    TOO_MANY = "too_many"  # slices or changes
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


def problem_for(studio: Studio, client: str | None, now: datetime, *, late: bool = False) -> Problem | None:
    """Return why a client may not go on with a studio now. `late`: with what is taken after its stop, too."""
    if is_closed(studio, now):
        return Problem.OVER
    if None not in (studio.client, client) and studio.client != client:
        return Problem.ELSEWHERE
    return Problem.OVER if studio.state is StudioState.OVER and not late else None
