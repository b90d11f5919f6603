"""Requests to the homeserver before anything counts as missing: a sync may leave events out without saying so.

A job reads all events of the broadcast (`worker.rereading`). The homeserver has `ASKING_MAY_TAKE` to answer; a later
answer heals a recording that was decided without it.
"""

from datetime import datetime, timedelta

from bot import orders
from bot.dialects import studio
from bot.recording.model import ChunkSent, RecordingEvent
from bot.recording.policy import ASKING_MAY_TAKE, Limits
from storage import gaps, history_checks, jobs
from storage.database import Connection
from storage.records import Chunk, EndedBy, JobState, Recording, RecordingState

GAP_MAY_TAKE = timedelta(minutes=15)
"""Time that reading a gap may take: longer than events wait for a gap (`storage.gaps`)."""
AFTER_AN_END = timedelta(seconds=10)
AFTER_A_HOLE = timedelta(seconds=20)
NOBODY_ASKS = frozenset({EndedBy.SWITCHED_OFF, EndedBy.REMOVED})


async def is_answered(db: Connection, recording: Recording, now: datetime, limits: Limits) -> bool:
    """Return whether absent chunks may be called missing now, or a broadcast abandoned."""
    if not recording.state.is_open or recording.ended_by in NOBODY_ASKS or studio.is_ours(recording.event_id):
        return True
    is_live = recording.state is RecordingState.LIVE
    due = recording.heard_at + limits.patience(paused=recording.paused) if is_live else recording.quiet_until
    if due is None or now < due:
        return True  # no recording is decided so early
    if await gaps.is_walking(db, recording.room_id, now - GAP_MAY_TAKE):
        return False
    answered_at = await history_checks.answered_at(db, recording.id)
    return now >= due + ASKING_MAY_TAKE or (answered_at is not None and answered_at >= due)


async def ask(db: Connection, recording: Recording, at: datetime, now: datetime) -> None:
    """Have all events of a broadcast read again at this time, or earlier if a job will do so anyway."""
    if studio.is_ours(recording.event_id):
        return  # the homeserver knows nothing of it
    known = await jobs.find(db, orders.Reread.about(recording.event_id))
    if known is not None and known.state is JobState.READY and known.run_at <= at:
        return
    await jobs.add(db, orders.Reread.known(recording).job(at), now)


async def ask_early(
    db: Connection,
    before: Recording,
    after: Recording,
    chunks: tuple[Chunk, ...],
    event: RecordingEvent,
    now: datetime,
) -> None:
    """Ask at the end, and when a number is skipped, so that events that a sync left out come sooner."""
    if after.past or after.ended_by in NOBODY_ASKS:
        return
    if before.state is RecordingState.LIVE and after.state is RecordingState.FINISHING:
        await ask(db, after, now + AFTER_AN_END, now)
    elif after.state is RecordingState.LIVE and isinstance(event, ChunkSent) and event.sequence is not None:
        highest = max((chunk.sequence for chunk in chunks if chunk.sequence is not None), default=0)
        if event.sequence > highest + 1:
            await ask(db, after, now + AFTER_A_HOLE, now)
