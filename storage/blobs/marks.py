"""Marks of blobs on their way into a media store or out of it, where that takes longer than a transaction may.

An arriving blob is named by no row yet, so its mark keeps it from being forgotten. A blob that is being removed must
not arrive again before that is over. A process that was killed leaves its marks; they end after a time, and a Forget
order looks at what they name.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, insert, select

from storage.database import Connection
from storage.errors import MediaStoreError
from storage.records import BlobKey
from storage.tables import blob_marks

LONGEST_ARRIVAL = timedelta(days=1)
LONGEST_REMOVAL = timedelta(hours=1)


async def arriving(db: Connection, keys: Collection[BlobKey], token: str, now: datetime) -> None:
    """Mark blobs that are about to arrive. Raises MediaStoreError while one of them is being removed."""
    leaving = select(blob_marks.c.blob).where(blob_marks.c.blob.in_(keys), blob_marks.c.leaving)
    if (await db.execute(leaving)).first() is not None:
        raise MediaStoreError("the same bytes are being removed from the media store at this moment")
    await _mark(db, keys, token, now, leaving=False)


async def leaving(db: Connection, keys: Collection[BlobKey], token: str, now: datetime) -> None:
    """Mark blobs that are about to be removed."""
    await _mark(db, keys, token, now, leaving=True)


async def of(db: Connection, keys: Collection[BlobKey]) -> frozenset[BlobKey]:
    """Return those of these blobs that are on their way."""
    marked = select(blob_marks.c.blob).where(blob_marks.c.blob.in_(list(keys)))
    return frozenset(BlobKey(key) for key in (await db.execute(marked)).scalars())


async def may_remove(db: Connection, token: str, now: datetime) -> bool:
    """Tell whether the marks of a removal are there and young: a process that was paused must not go on with it."""
    ours = select(blob_marks.c.since).where(blob_marks.c.token == token, blob_marks.c.leaving).limit(1)
    since = (await db.execute(ours)).scalar_one_or_none()
    return since is not None and now - since < LONGEST_REMOVAL / 2


async def done(db: Connection, token: str) -> int:
    """Delete the marks of this token; return how many there were."""
    return (await db.execute(delete(blob_marks).where(blob_marks.c.token == token))).rowcount


async def take_overdue(db: Connection, now: datetime) -> list[BlobKey]:
    """Delete the marks whose process must have died; return their blobs."""
    arrived = ~blob_marks.c.leaving & (blob_marks.c.since < now - LONGEST_ARRIVAL)
    left = blob_marks.c.leaving & (blob_marks.c.since < now - LONGEST_REMOVAL)
    gone = delete(blob_marks).where(arrived | left).returning(blob_marks.c.blob)
    return sorted({BlobKey(key) for key in (await db.execute(gone)).scalars()})


async def _mark(db: Connection, keys: Collection[BlobKey], token: str, now: datetime, *, leaving: bool) -> None:
    rows: Sequence[dict[str, object]] = [
        {"blob": key, "token": token, "leaving": leaving, "since": now} for key in sorted({*keys})
    ]
    await db.execute(insert(blob_marks), rows)
