"""The recordings that somebody listens to while they are live: how many players, as each web process has noted it."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select

from storage.database import Connection
from storage.records import RecordingId
from storage.rows import put_all
from storage.tables import live_listening

LISTENED_FOR = timedelta(seconds=30)
"""Time after a player's last request in which somebody is taken to listen: players ask at least twice in it."""
KEPT_FOR = timedelta(hours=1)


async def note(db: Connection, process: str, listeners: Mapping[RecordingId, int], now: datetime) -> None:
    """Note how many listen to these now, by a process, and delete old notes."""
    rows = [
        {"recording_id": each, "process": process, "heard_at": now, "listeners": count}
        for each, count in listeners.items()
    ]
    await put_all(db, live_listening, rows)
    await db.execute(delete(live_listening).where(live_listening.c.heard_at < now - KEPT_FOR))


async def is_listened(db: Connection, recording_id: RecordingId, now: datetime) -> bool:
    """Tell whether somebody listens to it."""
    return await count(db, recording_id, now) > 0


async def count(db: Connection, recording_id: RecordingId, now: datetime, *, but: str | None = None) -> int:
    """Return how many listen to it, by all processes, or all but this one."""
    noted = live_listening.c
    lately = select(func.sum(noted.listeners)).where(
        noted.recording_id == recording_id, noted.heard_at > now - LISTENED_FOR
    )
    others = lately if but is None else lately.where(noted.process != but)
    return int((await db.execute(others)).scalar_one_or_none() or 0)


async def forget(db: Connection, recording_id: RecordingId) -> None:
    await db.execute(delete(live_listening).where(live_listening.c.recording_id == recording_id))
