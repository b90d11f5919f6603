"""The original sound of recordings, where it is one Ogg Opus stream."""

from collections.abc import Sequence

from sqlalchemy import delete, exists, select

from storage.database import Connection
from storage.records import BlobKey, Original, RecordingId
from storage.rows import AT_ONCE, columns, put, record
from storage.tables import episodes, originals


async def of(db: Connection, recording_id: RecordingId) -> Original | None:
    """Return the original sound that was made of a recording, which may be that of an earlier episode."""
    row = (await db.execute(select(originals).where(originals.c.recording_id == recording_id))).one_or_none()
    return record(Original, row) if row else None


async def current(db: Connection, recording_ids: Sequence[RecordingId]) -> dict[RecordingId, Original]:
    """Return the original sound of those of these recordings whose episode has the same sound: what feeds, pages and
    downloads may show."""
    found: dict[RecordingId, Original] = {}
    same = (originals.c.recording_id == episodes.c.recording_id) & (originals.c.fingerprint == episodes.c.fingerprint)
    for start in range(0, len(recording_ids), AT_ONCE):
        these = originals.c.recording_id.in_(recording_ids[start : start + AT_ONCE])
        rows = await db.execute(select(originals).join(episodes, same).where(these))
        found |= {original.recording_id: original for original in (record(Original, row) for row in rows)}
    return found


async def after(db: Connection, last: RecordingId, limit: int) -> tuple[Original, ...]:
    """Return the next ones behind a recording, in the order of their recordings."""
    behind = select(originals).where(originals.c.recording_id > last).order_by(originals.c.recording_id).limit(limit)
    return tuple(record(Original, row) for row in await db.execute(behind))


async def wanting(db: Connection, limit: int) -> tuple[RecordingId, ...]:
    """Return the newest recordings whose episode has no original sound, and of whose sound it is not known that there
    can be none."""
    kept = exists().where(
        originals.c.recording_id == episodes.c.recording_id, originals.c.fingerprint == episodes.c.fingerprint
    )
    unknown = episodes.c.unjoined.is_(None) | (episodes.c.unjoined != episodes.c.fingerprint)
    newest = episodes.c.recording_id.desc()
    found = await db.execute(select(episodes.c.recording_id).where(~kept, unknown).order_by(newest).limit(limit))
    return tuple(map(RecordingId, found.scalars()))


async def save(db: Connection, value: Original) -> None:
    await put(db, originals, columns(value))


async def remove(db: Connection, recording_id: RecordingId) -> BlobKey | None:
    """Delete the row of a recording's original sound; return the blob that it no longer needs."""
    gone = delete(originals).where(originals.c.recording_id == recording_id).returning(originals.c.blob)
    blob = (await db.execute(gone)).scalar_one_or_none()
    return BlobKey(blob) if blob is not None else None
