"""Tracks of recordings: their pieces, the gain and peaks of each, and the places of their frames."""

import asyncio
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import bindparam, delete, func, select, update

from storage.cache import Edition, new_edition
from storage.database import Connection
from storage.records import BlobKey, Cut, Extent, Recording, RecordingId, Samples, Track
from storage.rows import AT_ONCE, columns, find, put, put_all, record, records
from storage.tables import chunks, recordings
from storage.tables import cuts as cut_table
from storage.tables import extents as extent_table
from storage.tables import tracks as track_table

DECIDED = ("gains", "level", "off_by", "kept")
"""The columns of a piece that are decided when it is decoded for the first time, beside its peaks."""

# ---- statements that each chunk needs, made once: to make one takes as long as to execute it

_EDITION = select(track_table.c.edition).where(track_table.c.recording_id == bindparam("of"))
_CHANGED = update(track_table).where(track_table.c.recording_id == bindparam("of")).values(edition=bindparam("new"))
_CUTS = select(*(column for column in cut_table.c if column.name not in ("recording_id", "peaks"))).where(
    cut_table.c.recording_id == bindparam("of")
)
_IN_ORDER = _CUTS.order_by(cut_table.c.ordinal)
_DECIDE = (
    update(cut_table)
    .where(
        cut_table.c.recording_id == bindparam("of"),
        cut_table.c.ordinal == bindparam("place"),
        cut_table.c.key == bindparam("named"),
    )
    .values({name: bindparam(f"new_{name}") for name in (*DECIDED, "peaks")})
)
_EXTENTS = select(extent_table).where(extent_table.c.recording_id == bindparam("of")).order_by(extent_table.c.first)


async def track(db: Connection, recording_id: RecordingId) -> Track | None:
    return await find(Track, db, track_table, recording_id=recording_id)


async def edition(db: Connection, recording_id: RecordingId) -> Edition | None:
    """Return the edition of a track with its pieces and frames (`storage.cache`); None when there is no track."""
    value = (await db.execute(_EDITION, {"of": recording_id})).scalar_one_or_none()
    return None if value is None else Edition(value)


async def _changed(db: Connection, recording_id: RecordingId) -> None:
    """Give a track a new edition. Every function of this module that writes calls it."""
    await db.execute(_CHANGED, {"of": recording_id, "new": new_edition()})


async def save(db: Connection, value: Track) -> None:
    await put(db, track_table, columns(value))
    await _changed(db, value.recording_id)


async def cuts(db: Connection, recording_id: RecordingId) -> tuple[Cut, ...]:
    """Return all pieces of a track in the order of the sound."""
    return await records(Cut, await db.execute(_IN_ORDER, {"of": recording_id}))


async def newest_cuts(db: Connection, recording_id: RecordingId, most: int) -> tuple[Cut, ...]:
    """Return the last pieces of a track, at most so many, in the order of the sound."""
    newest_first = _CUTS.order_by(cut_table.c.ordinal.desc()).limit(most)
    return (await records(Cut, await db.execute(newest_first, {"of": recording_id})))[::-1]


async def add_cuts(db: Connection, recording_id: RecordingId, pieces: Collection[Cut]) -> None:
    """Append pieces to a track."""
    await _changed(db, recording_id)
    await put_all(db, cut_table, [{"recording_id": recording_id, **columns(piece)} for piece in pieces])


async def replace_cuts(
    db: Connection, recording_id: RecordingId, pieces: Sequence[Cut], kept: Mapping[int, int]
) -> None:
    """Replace the pieces of a track. `kept` maps the new ordinals of pieces that stay to their old ones: their peaks
    stay too."""
    await _changed(db, recording_id)
    statement = select(cut_table.c.ordinal, cut_table.c.peaks).where(cut_table.c.recording_id == recording_id)
    peaks = {row.ordinal: row.peaks for row in await db.execute(statement)}
    await db.execute(delete(cut_table).where(cut_table.c.recording_id == recording_id))
    rows = [
        {"recording_id": recording_id, **columns(piece), "peaks": peaks.get(kept.get(piece.ordinal, -1))}
        for piece in pieces
    ]
    await put_all(db, cut_table, rows)


async def decide(db: Connection, recording_id: RecordingId, decided: Collection[tuple[Cut, bytes]]) -> None:
    """Save gain, level and peaks of pieces."""
    await _changed(db, recording_id)
    for piece, peaks in decided:
        decision = {f"new_{name}": getattr(piece, name) for name in DECIDED}
        its = {"of": recording_id, "place": piece.ordinal, "named": piece.key}
        await db.execute(_DECIDE, {**its, **decision, "new_peaks": peaks})


async def peaks(db: Connection, recording_id: RecordingId) -> tuple[tuple[Samples, bytes | None], ...]:
    """Return length and peaks of each piece in the order of the sound; None for a piece that was not decoded yet."""
    statement = select(cut_table.c.samples, cut_table.c.peaks).where(cut_table.c.recording_id == recording_id)
    rows = await db.execute(statement.order_by(cut_table.c.ordinal))
    return tuple((Samples(row.samples), row.peaks) for row in rows)


async def lengths(db: Connection, recording_id: RecordingId) -> tuple[tuple[Samples, bool], ...]:
    """Return the length of each piece in the order of the sound, and whether it is sound."""
    statement = select(cut_table.c.samples, cut_table.c.blob.is_not(None)).order_by(cut_table.c.ordinal)
    rows = await db.execute(statement.where(cut_table.c.recording_id == recording_id))
    found: list[tuple[Samples, bool]] = []
    for some in rows.partitions(AT_ONCE):
        found += ((Samples(samples), bool(sounds)) for samples, sounds in some)
        await asyncio.sleep(0)
    return tuple(found)


async def off_by(db: Connection, recording_id: RecordingId) -> tuple[Samples, ...]:
    """Return the surplus of decoded samples of each piece whose length differs from the ledger's."""
    statement = select(cut_table.c.off_by).where(cut_table.c.recording_id == recording_id, cut_table.c.off_by != 0)
    return tuple((await db.execute(statement)).scalars())


async def extents(db: Connection, recording_id: RecordingId) -> tuple[Extent, ...]:
    """Return the places of all frames, in their order."""
    return await records(Extent, await db.execute(_EXTENTS, {"of": recording_id}))


async def reach(db: Connection, recording_id: RecordingId) -> int:
    """Return the number of frames from the beginning up to the first hole."""
    here, behind = extent_table, extent_table.alias()
    end = here.c.first + here.c.frames
    goes_on = select(behind.c.first).where(behind.c.recording_id == recording_id, behind.c.first == end).exists()
    begins = select(behind.c.first).where(behind.c.recording_id == recording_id, behind.c.first == 0).exists()
    statement = select(func.min(end)).where(here.c.recording_id == recording_id, ~goes_on, begins)
    return (await db.execute(statement)).scalar_one() or 0


async def extents_of(db: Connection, recording_id: RecordingId, first: int, end: int) -> tuple[Extent, ...]:
    """Return the places of the frames from `first` up to `end`, in their order."""
    statement = select(extent_table).where(
        extent_table.c.recording_id == recording_id,
        extent_table.c.first < end,
        extent_table.c.first + extent_table.c.frames > first,
    )
    return tuple(record(Extent, row) for row in await db.execute(statement.order_by(extent_table.c.first)))


async def holds(db: Connection, recording_id: RecordingId) -> bool:
    """Tell whether all chunks that a track was made from may still be heard, and none was redacted since."""
    stored = select(chunks.c.blob).where(chunks.c.recording_id == recording_id, chunks.c.blob.is_not(None))
    gone = select(cut_table.c.ordinal).where(
        cut_table.c.recording_id == recording_id, cut_table.c.blob.is_not(None), cut_table.c.blob.not_in(stored)
    )
    if (await db.execute(gone.limit(1))).first() is not None:
        return False
    taken_out = select(chunks.c.id).where(
        chunks.c.recording_id == recording_id, chunks.c.stem.is_not(None), chunks.c.blob.is_(None)
    )
    if (await db.execute(taken_out.limit(1))).first() is None:
        return True
    return not await _mixes_others(db, recording_id, frozenset((await db.execute(stored)).scalars()))


async def _mixes_others(db: Connection, recording_id: RecordingId, stored: frozenset[BlobKey]) -> bool:
    """Tell whether a window of a call holds other slices than these."""
    windows = select(cut_table.c.parts).where(cut_table.c.recording_id == recording_id, cut_table.c.parts.is_not(None))
    for some in (await db.execute(windows)).partitions(AT_ONCE):
        for (parts,) in some:
            if any(part.blob not in stored for part in parts if part.blob is not None):
                return True
        await asyncio.sleep(0)
    return False


async def add_extent(db: Connection, recording_id: RecordingId, extent: Extent) -> None:
    await _changed(db, recording_id)
    await put(db, extent_table, {"recording_id": recording_id, **columns(extent)})


async def replace_extents(db: Connection, recording_id: RecordingId, new: Sequence[Extent]) -> frozenset[BlobKey]:
    """Replace the places of a track's frames; return the blobs that it no longer needs."""
    await _changed(db, recording_id)
    before = {extent.blob for extent in await extents(db, recording_id)}
    await db.execute(delete(extent_table).where(extent_table.c.recording_id == recording_id))
    await put_all(db, extent_table, [{"recording_id": recording_id, **columns(extent)} for extent in new])
    return frozenset(before - {extent.blob for extent in new})


async def empty(db: Connection, recording_id: RecordingId) -> frozenset[BlobKey]:
    """Delete a track's pieces and frames; return the blobs that it needed. Later frames are of another generation."""
    gone = await replace_extents(db, recording_id, ())
    await db.execute(delete(cut_table).where(cut_table.c.recording_id == recording_id))
    left = update(track_table).where(track_table.c.recording_id == recording_id)
    await db.execute(left.values(generation=track_table.c.generation + 1, live_from=None))
    await _changed(db, recording_id)
    return gone


async def forget(db: Connection, recording_id: RecordingId) -> frozenset[BlobKey]:
    """Delete a track; return the blobs that it needed."""
    gone = await replace_extents(db, recording_id, ())
    await db.execute(delete(cut_table).where(cut_table.c.recording_id == recording_id))
    await db.execute(delete(track_table).where(track_table.c.recording_id == recording_id))
    return gone


async def last_level(db: Connection, before: Recording, target_lufs: float | None) -> str | None:
    """Return the level at the end of the newest track of this kind and with this target that the room had before this
    recording. So a recording begins with the same gain each time it is made."""
    if target_lufs is None:
        return None
    statement = (
        select(cut_table.c.level)
        .join(recordings, recordings.c.id == cut_table.c.recording_id)
        .join(track_table, track_table.c.recording_id == cut_table.c.recording_id)
        .where(recordings.c.room_id == before.room_id, recordings.c.position < before.position)
        .where(recordings.c.kind == before.kind)
        .where(track_table.c.target_lufs == target_lufs, cut_table.c.level.is_not(None))
        .order_by(recordings.c.position.desc(), cut_table.c.ordinal.desc())
        .limit(1)
    )
    return (await db.execute(statement)).scalar_one_or_none()
