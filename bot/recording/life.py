"""Changes in the life of any recording: its end, its tombstone, the correction of its times. Pure."""

from dataclasses import replace
from datetime import datetime

from bot.recording.policy import Limits
from storage.records import EndedBy, Recording, RecordingState


def ended(recording: Recording, by: EndedBy, at: datetime, now: datetime, limits: Limits) -> Recording:
    """Return the recording as finishing: late chunks are waited for until the quiet period is over."""
    return replace(
        recording,
        state=RecordingState.FINISHING,
        paused=False,
        ended_by=by,
        ended_at=at,
        quiet_until=now + limits.quiet_period,
    )


def tombstone(recording: Recording, now: datetime) -> Recording:
    """Return the recording as deleted, without anything that people wrote or that shows who spoke."""
    return replace(
        recording,
        state=RecordingState.DELETED,
        paused=False,
        ended_at=recording.ended_at or now,
        quiet_until=None,
        title=None,
        description=None,
        broadcaster_name=None,
        device_id=None,
        resumes=(),
        transmissions=(),
        speakers=(),
        stems=(),
        aways=(),
        unheard=(),
        turns=(),
        notice=None,
        cover=None,
    )


def by_this_clock(recording: Recording, now: datetime, limits: Limits) -> Recording:
    """Clamp times written while the clock was ahead, so that no deadline lies too far in the future."""
    quiet_until = recording.quiet_until and min(recording.quiet_until, now + limits.quiet_period)
    return replace(recording, heard_at=min(recording.heard_at, now), quiet_until=quiet_until)


def clamped(at: datetime | None, earliest: datetime | None, now: datetime) -> datetime:
    """Return a time that a sender named, clamped between `earliest` and now; now where none was named."""
    if at is None:
        return now
    return min(max(at, earliest) if earliest else at, now)
