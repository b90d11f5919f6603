"""When the homeserver last answered for all of a recording: before something counts as missing it was asked."""

from datetime import datetime

from sqlalchemy import select

from storage.database import Connection
from storage.dialect import insert
from storage.records import RecordingId
from storage.tables import asked


async def note(db: Connection, recording_id: RecordingId, answered_at: datetime) -> None:
    """What it had is written down."""
    statement = insert(asked).values(recording_id=recording_id, answered_at=answered_at)
    await db.execute(
        statement.on_conflict_do_update(index_elements=["recording_id"], set_={"answered_at": answered_at})
    )


async def answered_at(db: Connection, recording_id: RecordingId) -> datetime | None:
    """None: it was never asked."""
    found: datetime | None = (
        await db.execute(select(asked.c.answered_at).where(asked.c.recording_id == recording_id))
    ).scalar_one_or_none()
    return found
