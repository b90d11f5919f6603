"""Review: which recordings wait for approval once a room wants that."""

from dataclasses import replace
from datetime import datetime

from bot.intake import disclosing
from storage import archive
from storage.database import Connection
from storage.records import Change, Recording, RecordingState, Room

WAITS, APPROVED = "waits", "approved"
"""The states of a recording in the log of changes, under `approve`."""


async def is_unheard(db: Connection, recording: Recording) -> bool:
    """Return whether a recording is live, or has no episode yet: it can still be held back."""
    return recording.state is RecordingState.LIVE or await archive.episode(db, recording.id) is None


async def hold(db: Connection, room: Room, now: datetime) -> None:
    """Let all that runs in a room wait, since it has taken `review` over."""
    for recording in await archive.open_recordings(db, room.room_id):
        if not recording.unreviewed and await is_unheard(db, recording):
            await archive.save_recording(db, replace(recording, unreviewed=True))
            change = Change(0, now, room.room_id, None, "approve", recording.code, APPROVED, WAITS)
            await disclosing.note(db, change)
