"""History checks: the time at which the homeserver last returned all events of a recording, before any counts as
missing."""

from datetime import datetime

from sqlalchemy import delete, select

from storage.database import Connection
from storage.dialect import insert
from storage.records import RecordingId
from storage.tables import asked


async def note(db: Connection, recording_id: RecordingId, answered_at: datetime) -> None:
    """Record that the homeserver has answered, and that its events are in the journal."""
    statement = insert(asked).values(recording_id=recording_id, answered_at=answered_at)
    await db.execute(
        statement.on_conflict_do_update(index_elements=["recording_id"], set_={"answered_at": answered_at})
    )


async def answered_at(db: Connection, recording_id: RecordingId) -> datetime | None:
    """Return when the homeserver last answered; None when it was never asked."""
    at: datetime | None = (
        await db.execute(select(asked.c.answered_at).where(asked.c.recording_id == recording_id))
    ).scalar_one_or_none()
    return at


async def forget(db: Connection, recording_id: RecordingId) -> None:
    await db.execute(delete(asked).where(asked.c.recording_id == recording_id))
