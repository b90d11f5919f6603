"""The episodes of a room that its public feed lacks."""

from sqlalchemy import func, select

from storage.archive import listable
from storage.database import Connection
from storage.records import HistoryVisibility, Position, RoomId
from storage.tables import episodes, recordings


async def newest(db: Connection, room_id: RoomId) -> dict[HistoryVisibility, Position]:
    """Return where the newest recording with such an episode began, under each history visibility that has one."""
    private = (recordings.c.room_id == room_id) & ~recordings.c.public & listable()
    found = (
        select(recordings.c.history_visibility, func.max(recordings.c.position))
        .join(episodes, episodes.c.recording_id == recordings.c.id)
        .where(private)
        .group_by(recordings.c.history_visibility)
    )
    return {visibility: Position(position) for visibility, position in await db.execute(found)}
