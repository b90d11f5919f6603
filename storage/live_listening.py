"""The recordings that somebody listens to while they are live, as all web processes have noted it."""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import delete, select

from storage.database import Connection
from storage.records import RecordingId
from storage.rows import put_all
from storage.tables import live_listening

LISTENED_FOR = timedelta(seconds=30)
"""Time after a player's last request in which somebody is taken to listen: players ask at least twice in it."""
KEPT_FOR = timedelta(hours=1)


async def note(db: Connection, recordings: Collection[RecordingId], now: datetime) -> None:
    """Note that somebody listens to these now, and delete old notes."""
    await put_all(db, live_listening, [{"recording_id": each, "heard_at": now} for each in recordings])
    await db.execute(delete(live_listening).where(live_listening.c.heard_at < now - KEPT_FOR))


async def is_listened(db: Connection, recording_id: RecordingId, now: datetime) -> bool:
    """Tell whether somebody listens to it."""
    noted = select(live_listening.c.heard_at).where(live_listening.c.recording_id == recording_id)
    heard_at: datetime | None = (await db.execute(noted)).scalar_one_or_none()
    return heard_at is not None and now - heard_at < LISTENED_FOR


async def forget(db: Connection, recording_id: RecordingId) -> None:
    await db.execute(delete(live_listening).where(live_listening.c.recording_id == recording_id))
