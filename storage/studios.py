"""Studios, and the slices that they have uploaded."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from sqlalchemy import delete, func, select

from storage.database import Connection
from storage.records import BlobKey, RoomId, Studio, StudioId, StudioSlice, StudioState, UserId
from storage.rows import columns, put, record
from storage.tables import studio_slices, studios

ON_AIR = tuple(state for state in StudioState if state.is_on_air)


async def add(db: Connection, studio: Studio) -> Studio:
    """Store a new studio and return it with its id."""
    values = columns(studio)
    del values["id"]
    result = await db.execute(studios.insert().values(**values).returning(studios.c.id))
    return replace(studio, id=StudioId(result.scalar_one()))


async def save(db: Connection, studio: Studio) -> None:
    await put(db, studios, columns(studio))


async def get(db: Connection, studio_id: StudioId) -> Studio | None:
    row = (await db.execute(select(studios).where(studios.c.id == studio_id))).one_or_none()
    return record(Studio, row) if row else None


async def by_key(db: Connection, key: str) -> Studio | None:
    """Return the studio whose events have this key in their names."""
    row = (await db.execute(select(studios).where(studios.c.key == key))).one_or_none()
    return record(Studio, row) if row else None


async def by_token(db: Connection, token_sha256: str) -> Studio | None:
    """Return the studio of a token, by its look-up hash."""
    row = (await db.execute(select(studios).where(studios.c.token_sha256 == token_sha256))).one_or_none()
    return record(Studio, row) if row else None


async def of(db: Connection, room_id: RoomId, user_id: UserId) -> tuple[Studio, ...]:
    """Return a member's studios in a room that are not over, the oldest first."""
    theirs = (studios.c.room_id == room_id, studios.c.user_id == user_id, studios.c.state != StudioState.OVER)
    return tuple(record(Studio, row) for row in await db.execute(select(studios).where(*theirs).order_by("id")))


async def open_in(db: Connection, room_id: RoomId | None = None, user_id: UserId | None = None) -> tuple[Studio, ...]:
    """Return the studios that are not over: of a room, of a member, or all, the oldest first."""
    wanted = select(studios).where(studios.c.state != StudioState.OVER)
    if room_id is not None:
        wanted = wanted.where(studios.c.room_id == room_id)
    if user_id is not None:
        wanted = wanted.where(studios.c.user_id == user_id)
    return tuple(record(Studio, row) for row in await db.execute(wanted.order_by("id")))


# ---- slices


async def slice_of(db: Connection, studio_id: StudioId, number: int) -> StudioSlice | None:
    wanted = select(studio_slices).where(studio_slices.c.studio_id == studio_id, studio_slices.c.number == number)
    row = (await db.execute(wanted)).one_or_none()
    return record(StudioSlice, row) if row else None


async def slices_of(db: Connection, studio_id: StudioId, after: int = 0) -> tuple[StudioSlice, ...]:
    """Return a studio's slices behind a number, in their order."""
    wanted = select(studio_slices).where(studio_slices.c.studio_id == studio_id, studio_slices.c.number > after)
    return tuple(record(StudioSlice, row) for row in await db.execute(wanted.order_by(studio_slices.c.number)))


async def numbers_of(db: Connection, studio_id: StudioId) -> Sequence[int]:
    """Return the numbers of the slices that a studio has uploaded, in their order."""
    wanted = select(studio_slices.c.number).where(studio_slices.c.studio_id == studio_id)
    return (await db.execute(wanted.order_by(studio_slices.c.number))).scalars().all()


async def bytes_in(db: Connection, room_id: RoomId) -> int:
    """Return the size of the slices of a room that are not forgotten, in bytes."""
    here = select(studios.c.id).where(studios.c.room_id == room_id)
    total = select(func.sum(studio_slices.c.bytes)).where(studio_slices.c.studio_id.in_(here))
    return int((await db.execute(total)).scalar_one_or_none() or 0)


async def save_slice(db: Connection, piece: StudioSlice) -> None:
    await put(db, studio_slices, columns(piece))


async def forget_slices(db: Connection, blobs: Collection[BlobKey]) -> None:
    """Delete the rows of slices with these bytes: what is removed from a recording is kept nowhere else."""
    await db.execute(delete(studio_slices).where(studio_slices.c.blob.in_(list(blobs))))


async def forget(db: Connection, studio_id: StudioId) -> tuple[BlobKey, ...]:
    """Delete a studio with its slices; return the blobs that its rows named."""
    named = {piece.blob for piece in await slices_of(db, studio_id)}
    studio = await get(db, studio_id)
    if studio is not None and studio.cover is not None:
        named.add(studio.cover)
    await db.execute(delete(studio_slices).where(studio_slices.c.studio_id == studio_id))
    await db.execute(delete(studios).where(studios.c.id == studio_id))
    return tuple(sorted(named))
