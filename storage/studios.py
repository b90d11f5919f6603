"""Studios, and the slices that they have uploaded."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import bindparam, delete, exists, func, literal, or_, select, update

from storage.database import Connection
from storage.records import (
    STARTED,
    STUDIO_EVENTS,
    BlobKey,
    ChunkState,
    EventId,
    RecordingState,
    RoomId,
    Studio,
    StudioId,
    StudioSlice,
    StudioState,
    UserId,
)
from storage.rows import columns, find, put, record
from storage.tables import chunks, recordings, studio_events, studio_slices, studios

ON_AIR = tuple(state for state in StudioState if state.is_on_air)
AT_ONCE = 200
_STARTED = literal(STUDIO_EVENTS) + studios.c.key + f".{STARTED}"
"""The name of the event that begins a studio's broadcast, as `Studio.event_id`."""


BYTES = select(func.sum(studio_slices.c.bytes)).where(
    studio_slices.c.studio_id.in_(select(studios.c.id).where(studios.c.room_id == bindparam("room"))),
    studio_slices.c.blob.is_not(None),
    ~exists().where(chunks.c.blob == studio_slices.c.blob),
)
"""The size of the slices of a `room` whose sound is no chunk's so far, in bytes."""


async def add(db: Connection, studio: Studio) -> Studio:
    """Store a new studio and return it with its id."""
    values = columns(studio)
    del values["id"]
    result = await db.execute(studios.insert().values(**values).returning(studios.c.id))
    return replace(studio, id=StudioId(result.scalar_one()))


async def save(db: Connection, studio: Studio) -> None:
    await put(db, studios, columns(studio))


async def get(db: Connection, studio_id: StudioId) -> Studio | None:
    return await find(Studio, db, studios, id=studio_id)


async def by_key(db: Connection, key: str) -> Studio | None:
    """Return the studio whose events have this key in their names."""
    return await find(Studio, db, studios, key=key)


async def by_token(db: Connection, token_sha256: str) -> Studio | None:
    """Return the studio of a token, by its look-up hash."""
    return await find(Studio, db, studios, token_sha256=token_sha256)


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


async def expired(db: Connection, now: datetime) -> tuple[Studio, ...]:
    """Return the studios whose broadcast has not begun in time."""
    waiting = (studios.c.state == StudioState.WAITING) & (studios.c.expires_at <= now)
    return tuple(record(Studio, row) for row in await db.execute(select(studios).where(waiting).order_by("id")))


async def silent(db: Connection, since: datetime) -> tuple[Studio, ...]:
    """Return the studios on air of whose client nothing was heard since a time, and whose recording is live no more."""
    is_live = exists().where(recordings.c.event_id == _STARTED, recordings.c.state == RecordingState.LIVE)
    idle = studios.c.state.in_(ON_AIR) & (studios.c.heard_at < since) & ~is_live
    return tuple(record(Studio, row) for row in await db.execute(select(studios).where(idle).order_by("id")))


async def settled(db: Connection, ended_before: datetime) -> tuple[Studio, ...]:
    """Return the studios that ended before a time and have rows about slices, or texts, that nothing needs any more:
    their recording has all of their sound, or there is none."""
    waits = (chunks.c.state == ChunkState.WAITING_FOR_MEDIA) & (chunks.c.recording_id == recordings.c.id)
    needed = exists().where(
        recordings.c.event_id == _STARTED,
        recordings.c.state.in_([state for state in RecordingState if state.is_open]) | exists().where(waits),
    )
    has_slices = exists().where(studio_slices.c.studio_id == studios.c.id)
    over = (studios.c.state == StudioState.OVER) & (studios.c.ended_at < ended_before)
    told = (studios.c[name].is_not(None) for name in ("client", "cover", "title", "description"))
    left = or_(has_slices, *told)
    rows = await db.execute(select(studios).where(over, left, ~needed).order_by("id"))
    return tuple(record(Studio, row) for row in rows)


async def without_recording(db: Connection, ended_before: datetime) -> tuple[Studio, ...]:
    """Return the studios that ended before a time and made no recording, or one that is deleted."""
    kept = exists().where(recordings.c.event_id == _STARTED, recordings.c.state != RecordingState.DELETED)
    over = (studios.c.state == StudioState.OVER) & (studios.c.ended_at < ended_before)
    rows = await db.execute(select(studios).where(over, ~kept).order_by("id"))
    return tuple(record(Studio, row) for row in rows)


async def close_late(db: Connection) -> None:
    """Let nothing more come to studios that are over."""
    late = (studios.c.state == StudioState.OVER, studios.c.last.is_not(None))
    await db.execute(update(studios).where(*late).values(last=None))


async def begun_as(db: Connection, key: str, event_id: EventId) -> None:
    """Note the event that begins a studio's broadcast in its room."""
    await db.execute(update(studios).where(studios.c.key == key).values(info_event=event_id))


# ---- slices


async def slice_of(db: Connection, studio_id: StudioId, number: int) -> StudioSlice | None:
    return await find(StudioSlice, db, studio_slices, studio_id=studio_id, number=number)


async def slices_of(db: Connection, studio_id: StudioId) -> tuple[StudioSlice, ...]:
    """Return a studio's slices, in their order."""
    wanted = select(studio_slices).where(studio_slices.c.studio_id == studio_id)
    return tuple(record(StudioSlice, row) for row in await db.execute(wanted.order_by(studio_slices.c.number)))


async def last_number(db: Connection, studio_id: StudioId) -> int | None:
    """Return the number of the last slice that a studio has uploaded; None where there is none."""
    wanted = select(func.max(studio_slices.c.number)).where(studio_slices.c.studio_id == studio_id)
    number: int | None = (await db.execute(wanted)).scalar_one_or_none()
    return number


async def length_ms(db: Connection, studio_id: StudioId) -> int:
    """Return the length of all slices of a studio, as their client says."""
    wanted = select(func.sum(studio_slices.c.duration_ms)).where(studio_slices.c.studio_id == studio_id)
    return int((await db.execute(wanted)).scalar_one_or_none() or 0)


async def ranges_of(db: Connection, studio_id: StudioId, most: int) -> list[tuple[int, int]]:
    """Return the numbers of the slices that a studio has uploaded as ranges, the first `most` of them."""
    place = studio_slices.c.number - func.row_number().over(order_by=studio_slices.c.number)
    numbered = select(studio_slices.c.number, place.label("place")).where(studio_slices.c.studio_id == studio_id)
    numbers = numbered.subquery()
    ends = select(func.min(numbers.c.number), func.max(numbers.c.number)).group_by(numbers.c.place)
    rows = await db.execute(ends.order_by(func.min(numbers.c.number)).limit(most))
    return [(int(first), int(last)) for first, last in rows]


async def save_slice(db: Connection, piece: StudioSlice) -> None:
    await put(db, studio_slices, columns(piece))


async def drop_sound(db: Connection, studio_id: StudioId, numbers: Collection[int] | None = None) -> set[BlobKey]:
    """Drop the sound of a studio's slices, of all or of these numbers; return the blobs that their rows named. The rows
    stay, so that their client sends none of them again."""
    dropped = set[BlobKey]()
    wanted = [None] if numbers is None else [*batched(sorted(numbers))]
    for some in wanted:
        these = (studio_slices.c.studio_id == studio_id) & studio_slices.c.blob.is_not(None)
        if some is not None:
            these &= studio_slices.c.number.in_(some)
        dropped |= set((await db.execute(select(studio_slices.c.blob).where(these))).scalars())
        await db.execute(update(studio_slices).where(these).values(blob=None))
    return dropped


async def forget_numbers(db: Connection, studio_id: StudioId) -> None:
    """Delete the rows of a studio's slices: nobody uploads any more."""
    await db.execute(delete(studio_slices).where(studio_slices.c.studio_id == studio_id))


async def erase(db: Connection, studio: Studio, now: datetime) -> set[BlobKey]:
    """Leave nothing of a studio whose recording is deleted but its ids, which refuse what comes late; return the blobs
    that its rows named."""
    named = await drop_sound(db, studio.id) | ({studio.cover} if studio.cover is not None else set())
    await db.execute(delete(studio_slices).where(studio_slices.c.studio_id == studio.id))
    over = replace(studio, state=StudioState.OVER, ended_at=studio.ended_at or now, last=None)
    await save(db, replace(over, client=None, title=None, description=None, cover=None, bytes=0))
    return named


async def forget(db: Connection, studio_id: StudioId) -> tuple[BlobKey, ...]:
    """Delete a studio with its slices; return the blobs that its rows named."""
    named = await drop_sound(db, studio_id)
    studio = await get(db, studio_id)
    if studio is not None and studio.cover is not None:
        named.add(studio.cover)
    if studio is not None:
        await db.execute(delete(studio_events).where(studio_events.c.key == studio.key))
    await db.execute(delete(studio_slices).where(studio_slices.c.studio_id == studio_id))
    await db.execute(delete(studios).where(studios.c.id == studio_id))
    return tuple(sorted(named))


def batched(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """Cut numbers into as many as one statement takes."""
    for start in range(0, len(numbers), AT_ONCE):
        yield numbers[start : start + AT_ONCE]
