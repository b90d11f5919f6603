"""Recordings, their chunks and episodes."""

import itertools
import string
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Select,
    bindparam,
    delete,
    exists,
    func,
    or_,
    select,
    union,
    union_all,
    update,
)

from storage import found_again
from storage import studios as uploads
from storage.cache import Edition, new_edition
from storage.database import Connection
from storage.found_again import Trace
from storage.records import (
    BlobKey,
    Chunk,
    ChunkId,
    ChunkState,
    Episode,
    EventId,
    Position,
    Recording,
    RecordingId,
    RecordingKind,
    RecordingState,
    RoomId,
    UserId,
)
from storage.rows import columns, find, put, put_all, record, records
from storage.tables import (
    blob_marks,
    episodes,
    extents,
    originals,
    portraits,
    stem_blobs,
    studio_slices,
    studios,
    transmissions,
)
from storage.tables import chunks as chunk_table
from storage.tables import recordings as recording_table
from storage.tables import rooms as room_table

OPEN = tuple(state for state in RecordingState if state.is_open)
MAY_HAVE_AUDIO = tuple(state for state in RecordingState if state.may_have_audio)
LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)
CODE_LETTERS = 6
AT_ONCE = 100  # chunks are written in one turn of the event loop

# ---- statements that each chunk needs, made once: to make one takes as long as to execute it

_OF_BROADCAST = select(recording_table).where(
    or_(
        recording_table.c.event_id == bindparam("started"),
        recording_table.c.id.in_(
            select(transmissions.c.recording_id).where(transmissions.c.event_id == bindparam("started"))
        ),
    )
)
_CHUNKS = (
    select(chunk_table).where(chunk_table.c.recording_id == bindparam("recording")).order_by(chunk_table.c.position)
)
_EDITION = select(recording_table.c.chunks_edition).where(recording_table.c.id == bindparam("recording"))
_CHUNKS_MOVE = (
    update(recording_table)
    .where(
        or_(
            recording_table.c.id.in_(bindparam("of", expanding=True)),
            recording_table.c.id.in_(
                select(chunk_table.c.recording_id).where(chunk_table.c.id.in_(bindparam("chunks", expanding=True)))
            ),
        )
    )
    .values(chunks_edition=bindparam("edition"))
)
"""A new edition of recordings with these chunks, and of those that have the chunks so far."""
_OF_ROOM = select(recording_table.c.id).where(recording_table.c.room_id == bindparam("room"))
_SIZES = select(
    *(
        select(func.sum(table.c.bytes)).where(table.c.recording_id.in_(_OF_ROOM)).scalar_subquery()
        for table in (chunk_table, stem_blobs, episodes, originals)
    ),
    uploads.BYTES.scalar_subquery(),
)
"""The sizes of all that a room has."""


async def _free_code(db: Connection, event_id: EventId) -> str:
    """Return a code of six letters that can be spoken, made from the started event's id. So a recording that is found
    again, as after a restored backup, keeps the code that people wrote down. If another recording has the code, take
    the next six letters.
    """
    for attempt in itertools.count():
        number = int.from_bytes(sha256(f"{event_id} {attempt}".encode()).digest())
        letters = (string.ascii_lowercase[number // 26**place % 26] for place in range(CODE_LETTERS))
        if await recording_by_code(db, code := "".join(letters)) is None:
            return code
    raise AssertionError("there are 300 million codes")


async def recording(db: Connection, recording_id: RecordingId) -> Recording | None:
    return await find(Recording, db, recording_table, id=recording_id)


async def all_ids(db: Connection) -> tuple[RecordingId, ...]:
    """Return the ids of all recordings."""
    return tuple(map(RecordingId, (await db.execute(select(recording_table.c.id).order_by("id"))).scalars()))


async def recording_by_event(db: Connection, event_id: EventId) -> Recording | None:
    """Return the recording of a started event."""
    return await find(Recording, db, recording_table, event_id=event_id)


async def recording_of_broadcast(db: Connection, started: EventId) -> Recording | None:
    """Return the recording that holds the sound of a broadcast: its own, or a session in which it is a transmission."""
    row = (await db.execute(_OF_BROADCAST, {"started": started})).one_or_none()
    return record(Recording, row) if row else None


async def announced_as(db: Connection, room_id: RoomId, event_id: EventId) -> Recording | None:
    """Return the recording of a room that this notice announced."""
    announced = (recording_table.c.room_id == room_id, recording_table.c.announced_as == event_id)
    row = (await db.execute(select(recording_table).where(*announced).limit(1))).one_or_none()
    return record(Recording, row) if row else None


async def add_transmission(db: Connection, recording_id: RecordingId, started: EventId) -> None:
    """Note that a broadcast is a transmission of this session. The row outlasts the session's content: a broadcast that
    was deleted never becomes a recording of its own."""
    await put(db, transmissions, {"event_id": started, "recording_id": recording_id})


async def transmissions_of(db: Connection, recording_id: RecordingId) -> tuple[EventId, ...]:
    """Return the broadcasts that are, or were, transmissions of a session."""
    mine = select(transmissions.c.event_id).where(transmissions.c.recording_id == recording_id)
    return tuple((await db.execute(mine)).scalars())


async def recording_by_code(db: Connection, code: str) -> Recording | None:
    return await find(Recording, db, recording_table, code=code.lower())


def _rooms(where: RoomId | Sequence[RoomId]) -> Sequence[RoomId]:
    """Return the rooms of one podcast (`storage.heirs`), also for a single room."""
    return [RoomId(where)] if isinstance(where, str) else where


def _newest_first(
    statement: Select[Any], where: RoomId | Sequence[RoomId] | None, limit: int | None, offset: int = 0
) -> Select[Any] | CompoundSelect[Any]:
    """Order a select of recordings, the newest first; of all rooms when `where` is None."""
    every: Select[Any] | CompoundSelect[Any] = statement
    if where is not None:
        # IN would sort all rows; this way each room is read in the order of its index, and the rooms are merged.
        every = union_all(*(statement.where(recording_table.c.room_id == room_id) for room_id in _rooms(where)))
    columns = every.selected_columns
    return every.order_by(columns.started_at.desc(), columns.id.desc()).limit(limit).offset(offset)


async def recordings(
    db: Connection, room_id: RoomId | Sequence[RoomId] | None = None, limit: int | None = None
) -> tuple[Recording, ...]:
    """Return recordings, the newest first by `started_at`, then by id; of all rooms when `room_id` is None."""
    return await records(Recording, await db.execute(_newest_first(select(recording_table), room_id, limit)))


async def live_or_ended_since(db: Connection, since: datetime, newest: int) -> tuple[Recording, ...]:
    """Return the recordings of all rooms that are live or ended since then, the newest first, of the `newest` ones of
    each room."""
    began, here = recording_table.c.started_at, recording_table.alias()
    last = select(here.c.started_at).where(here.c.room_id == room_table.c.room_id).order_by(here.c.started_at.desc())
    bound = func.coalesce(last.limit(1).offset(newest - 1).scalar_subquery(), LONG_AGO)
    # The offset keeps the two together: else SQLite begins with all recordings, and not with the rooms.
    bounds = select(room_table.c.room_id, bound.label("bound")).offset(0).subquery()
    of_room = (recording_table.c.room_id == bounds.c.room_id) & (began >= bounds.c.bound)
    current = or_(recording_table.c.state == RecordingState.LIVE, recording_table.c.ended_at >= since)
    chosen = select(recording_table).select_from(bounds.join(recording_table, of_room)).where(current)
    return await records(Recording, await db.execute(chosen.order_by(began.desc(), recording_table.c.id.desc())))


async def with_sound(db: Connection, room_ids: Sequence[RoomId], limit: int, offset: int = 0) -> tuple[Recording, ...]:
    """Return recordings of these rooms that have sound or may have it later, the newest first, without the first
    `offset`."""
    states = [state for state in RecordingState if state.may_have_audio]
    suitable = select(recording_table).where(recording_table.c.state.in_(states))
    rows = await db.execute(_newest_first(suitable, room_ids, limit, offset))
    return tuple(record(Recording, row) for row in rows)


async def not_deleted(db: Connection, room_ids: Sequence[RoomId]) -> tuple[Recording, ...]:
    """Return all recordings of these rooms but the deleted ones, in no order."""
    here = recording_table.c.room_id.in_(room_ids) & (recording_table.c.state != RecordingState.DELETED)
    return await records(Recording, await db.execute(select(recording_table).where(here)))


async def recordings_by_id(db: Connection, ids: Sequence[RecordingId]) -> dict[RecordingId, Recording]:
    """Return the recordings of these ids that there are."""
    found = dict[RecordingId, Recording]()
    for start in range(0, len(ids), AT_ONCE):
        these = recording_table.c.id.in_(ids[start : start + AT_ONCE])
        rows = await records(Recording, await db.execute(select(recording_table).where(these)))
        found |= {row.id: row for row in rows}
    return found


async def nth_episode(db: Connection, room_ids: Sequence[RoomId], number: int) -> RecordingId | None:
    """Return the n-th newest recording of these rooms that has an episode or may get one; None: there are fewer."""
    states = [state for state in RecordingState if state.may_have_episode]
    suitable = select(recording_table.c.id, recording_table.c.started_at).where(recording_table.c.state.in_(states))
    row = (await db.execute(_newest_first(suitable, room_ids, 1, number - 1))).one_or_none()
    return RecordingId(row.id) if row else None


async def rooms_with_recordings(db: Connection) -> dict[RoomId, bool]:
    """Return the rooms that have recordings, and whether retention has noted any of them for its end."""
    noted = func.count(recording_table.c.expiry_tried_at)
    statement = select(recording_table.c.room_id, noted).where(recording_table.c.state != RecordingState.DELETED)
    rows = await db.execute(statement.group_by(recording_table.c.room_id))
    return {RoomId(room_id): count > 0 for room_id, count in rows}


async def has_untold_ends(db: Connection, room_ids: Sequence[RoomId]) -> bool:
    """Return whether these rooms were to be told that a recording ends, and were not, so far."""
    here = recording_table.c.room_id.in_(room_ids) & (recording_table.c.state != RecordingState.DELETED)
    untold = recording_table.c.expiry_tried_at.is_not(None) & recording_table.c.expiry_told_at.is_(None)
    return (await db.execute(select(recording_table.c.id).where(here, untold).limit(1))).first() is not None


async def expiry_tried(db: Connection, ids: Sequence[RecordingId], at: datetime | None) -> None:
    """Note that these recordings' room is told of their end from now on; None: not any more. It was not told yet."""
    await _note_expiry(db, ids, {"expiry_tried_at": at, "expiry_told_at": None})


async def expiry_told(db: Connection, ids: Sequence[RecordingId], at: datetime) -> None:
    """Note that these recordings' room was told of their end."""
    await _note_expiry(db, ids, {"expiry_told_at": at})


async def forget_expiry(db: Connection) -> None:
    """Forget of all recordings that their end was told."""
    await db.execute(update(recording_table).values(expiry_tried_at=None, expiry_told_at=None))


async def _note_expiry(db: Connection, ids: Sequence[RecordingId], values: dict[str, datetime | None]) -> None:
    for start in range(0, len(ids), AT_ONCE):
        these = recording_table.c.id.in_(ids[start : start + AT_ONCE])
        await db.execute(update(recording_table).where(these).values(values))


async def open_recordings(db: Connection, room_id: RoomId | Sequence[RoomId] | None = None) -> tuple[Recording, ...]:
    """Return the recordings that are live or finishing, oldest first."""
    return await _open(db, *(() if room_id is None else (recording_table.c.room_id.in_(_rooms(room_id)),)))


async def open_broadcasts(db: Connection, room_id: RoomId, broadcaster: UserId) -> tuple[Recording, ...]:
    """Return the voice broadcasts of a speaker in a room that are live or finishing, oldest first."""
    is_broadcast = recording_table.c.kind == RecordingKind.VOICE_BROADCAST
    theirs = (recording_table.c.room_id == room_id, recording_table.c.broadcaster == broadcaster)
    return await _open(db, is_broadcast, *theirs)


async def _open(db: Connection, *conditions: ColumnElement[bool]) -> tuple[Recording, ...]:
    statement = select(recording_table).where(recording_table.c.state.in_(OPEN), *conditions)
    return tuple(record(Recording, row) for row in await db.execute(statement.order_by(recording_table.c.position)))


async def begun_after(
    db: Connection, room_id: RoomId | Sequence[RoomId], position: Position, *, or_open: bool = False
) -> tuple[Recording, ...]:
    """Return the recordings of these rooms that began after a position and are not deleted, in no order; `or_open`:
    those that are live or finishing too."""
    new = recording_table.c.position > position
    wanted = or_(new, recording_table.c.state.in_(OPEN)) if or_open else new
    here = recording_table.c.room_id.in_(_rooms(room_id)) & (recording_table.c.state != RecordingState.DELETED)
    return await records(Recording, await db.execute(select(recording_table).where(here, wanted)))


async def add_recording(db: Connection, value: Recording) -> Recording:
    """Store a new recording and return it with its id, code and number."""
    result = await db.execute(
        select(func.max(recording_table.c.number)).where(recording_table.c.room_id == value.room_id)
    )
    numbered = replace(
        value, number=(result.scalar_one_or_none() or 0) + 1, code=value.code or await _free_code(db, value.event_id)
    )
    if await found_again.get(db, value.room_id, Trace.HELD, value.event_id) is not None:
        numbered = replace(
            numbered, unreviewed=True
        )  # it was deleted, or lost a speaker, before the store was restored
    values = columns(numbered)
    del values["id"]
    result = await db.execute(recording_table.insert().values(**values).returning(recording_table.c.id))
    return replace(numbered, id=RecordingId(result.scalar_one()))


async def save_recording(db: Connection, value: Recording) -> None:
    await put(db, recording_table, columns(value))
    if value.stems:
        await _index_stems(db, value)


async def _index_stems(db: Connection, value: Recording) -> None:
    """Bring the index of the files of stems up to a recording."""
    mine = select(stem_blobs.c.number, stem_blobs.c.blob).where(stem_blobs.c.recording_id == value.id)
    before = {(number, blob) for number, blob in await db.execute(mine)}
    after = {(stem.number, stem.blob): stem.bytes or 0 for stem in value.stems if stem.blob is not None}
    for number, blob in before - after.keys():
        of_stem = (stem_blobs.c.recording_id == value.id) & (stem_blobs.c.number == number)
        await db.execute(delete(stem_blobs).where(of_stem, stem_blobs.c.blob == blob))
    new = [
        {"recording_id": value.id, "number": number, "blob": blob, "bytes": size}
        for (number, blob), size in after.items()
        if (number, blob) not in before
    ]
    await put_all(db, stem_blobs, new)


async def count_public(db: Connection, room_id: RoomId | Sequence[RoomId]) -> int:
    """Count the recordings of these rooms that have sound and are public while their podcast is."""
    of_these = recording_table.c.public & ~recording_table.c.unreviewed & recording_table.c.room_id.in_(_rooms(room_id))
    counted = select(func.count()).where(of_these, recording_table.c.state.in_(MAY_HAVE_AUDIO))
    return int((await db.execute(counted)).scalar_one())


async def count_states(db: Connection, room_ids: Sequence[RoomId]) -> dict[RecordingState, int]:
    """Count the recordings of these rooms in each state."""
    state = recording_table.c.state
    statement = select(state, func.count()).where(recording_table.c.room_id.in_(room_ids)).group_by(state)
    return {RecordingState(word): count for word, count in await db.execute(statement)}


async def count_kept(db: Connection, room_ids: Sequence[RoomId]) -> int:
    """Count the recordings of these rooms that are kept for good."""
    kept = recording_table.c.kept & (recording_table.c.state != RecordingState.DELETED)
    counted = select(func.count()).where(kept, recording_table.c.room_id.in_(room_ids))
    return int((await db.execute(counted)).scalar_one())


async def close(db: Connection, room_id: RoomId | Sequence[RoomId], after: Position | None = None) -> None:
    """Make all recordings of these rooms private permanently: a podcast that is made public again begins empty. With
    `after`, only what began after that position."""
    of_these = recording_table.c.public & recording_table.c.room_id.in_(_rooms(room_id))
    if after is not None:
        of_these &= recording_table.c.position > after
    await db.execute(update(recording_table).where(of_these).values(public=False))


def _sounds_of(user_id: UserId) -> ColumnElement[bool]:
    """Make the condition that this user began a recording, or sent some of its sound."""
    of_it = chunk_table.c.recording_id == recording_table.c.id
    sent = exists().where(of_it, chunk_table.c.sender == user_id, chunk_table.c.state == ChunkState.STORED)
    return or_(recording_table.c.broadcaster == user_id, sent)


def _is_speaker(user_id: UserId, recording: Recording) -> bool:
    """Return whether a user who began a recording, or sent some of its sound, is a speaker of it. Where sound comes in
    stems everybody sends some, also who only listens."""
    if not recording.stems or recording.broadcaster == user_id:
        return True
    return any(credit.user_id == user_id for credit in recording.speakers)


async def spoke_in(db: Connection, user_id: UserId, recording_id: RecordingId) -> bool:
    """Return whether this user is one of a recording's speakers, who may approve it."""
    statement = select(recording_table).where(recording_table.c.id == recording_id, _sounds_of(user_id))
    row = (await db.execute(statement)).one_or_none()
    return row is not None and _is_speaker(user_id, record(Recording, row))


async def unreviewed(
    db: Connection, room_id: RoomId | Sequence[RoomId], speaker: UserId | None = None
) -> dict[RecordingId, str]:
    """Return the codes of the recordings that wait for approval, the newest first; only those of `speaker` if named."""
    waiting = recording_table.c.unreviewed & recording_table.c.room_id.in_(_rooms(room_id))
    has_sound = recording_table.c.state.in_(MAY_HAVE_AUDIO)
    newest_first = (recording_table.c.started_at.desc(), recording_table.c.id.desc())
    if speaker is None:
        statement = select(recording_table.c.id, recording_table.c.code).where(waiting, has_sound)
        return {RecordingId(row.id): row.code for row in await db.execute(statement.order_by(*newest_first))}
    theirs = select(recording_table).where(waiting, has_sound, _sounds_of(speaker))
    found = await records(Recording, await db.execute(theirs.order_by(*newest_first)))
    return {each.id: each.code for each in found if _is_speaker(speaker, each)}


async def chunks(db: Connection, recording_id: RecordingId) -> tuple[Chunk, ...]:
    """Return a recording's chunks in the room's order."""
    return await records(Chunk, await db.execute(_CHUNKS, {"recording": recording_id}))


async def has_chunk(db: Connection, recording_id: RecordingId, state: ChunkState, reason: str) -> bool:
    """Return whether any chunk of a recording is in this state, or has this reason."""
    mine = chunk_table.c.recording_id == recording_id
    like = select(chunk_table.c.id).where(mine, or_(chunk_table.c.state == state, chunk_table.c.reason == reason))
    return (await db.execute(like.limit(1))).first() is not None


async def edition(db: Connection, recording_id: RecordingId) -> Edition:
    """Return the edition of a recording's chunks (`storage.cache`): the same edition means the same chunks."""
    return Edition((await db.execute(_EDITION, {"recording": recording_id})).scalar_one_or_none() or "")


async def chunks_change(db: Connection, whose: ColumnElement[bool]) -> None:
    """Give the chunks of these recordings a new edition. Call it before every write of chunks."""
    await db.execute(update(recording_table).where(whose).values(chunks_edition=new_edition()))


async def chunk(db: Connection, chunk_id: ChunkId) -> Chunk | None:
    return await find(Chunk, db, chunk_table, id=chunk_id)


async def chunk_of_event(db: Connection, event_id: EventId) -> Chunk | None:
    """Return the chunk that came in an event."""
    return await find(Chunk, db, chunk_table, event_id=event_id)


async def save_chunks(db: Connection, values: Sequence[Chunk]) -> None:
    """Save chunks. A chunk that belonged to another recording moves."""
    for start in range(0, len(values), AT_ONCE):
        batch = values[start : start + AT_ONCE]
        whose = {"of": [*{chunk.recording_id for chunk in batch}], "chunks": [chunk.id for chunk in batch]}
        await db.execute(_CHUNKS_MOVE, {**whose, "edition": new_edition()})
        await put_all(db, chunk_table, [columns(chunk) for chunk in batch])


async def delete_chunks(db: Connection, recording_id: RecordingId, ids: Sequence[ChunkId] | None = None) -> None:
    """Delete these chunks of a recording, or all of them."""
    if ids is not None and not ids:
        return
    await chunks_change(db, recording_table.c.id == recording_id)
    statement = delete(chunk_table).where(chunk_table.c.recording_id == recording_id)
    await db.execute(statement if ids is None else statement.where(chunk_table.c.id.in_(ids)))


async def episode(db: Connection, recording_id: RecordingId) -> Episode | None:
    return await find(Episode, db, episodes, recording_id=recording_id)


async def save_episode(db: Connection, value: Episode) -> None:
    await put(db, episodes, columns(value))


async def delete_episode(db: Connection, recording_id: RecordingId) -> None:
    await db.execute(delete(episodes).where(episodes.c.recording_id == recording_id))


async def published(
    db: Connection, room_id: RoomId | Sequence[RoomId], limit: int | None = None, offset: int = 0
) -> tuple[tuple[Recording, Episode], ...]:
    """Return what the feeds of a room, or of the rooms of one podcast, may list, newest first: recordings whose audio
    exists, and is complete or no longer held back."""
    listed = listable()
    return await _with_episodes(db, listed, room_id, limit, offset)


def listable() -> ColumnElement[bool]:
    """Make the condition that feeds may list a recording with this episode."""
    there = episodes.c.published_at.is_not(None) & episodes.c.lost_at.is_(None)
    return there & ~recording_table.c.unreviewed


async def waiting(db: Connection, room_id: RoomId | Sequence[RoomId]) -> tuple[tuple[Recording, Episode], ...]:
    """Return the episodes that wait for approval, newest first."""
    return await _with_episodes(db, recording_table.c.unreviewed, room_id)


async def _with_episodes(
    db: Connection,
    condition: ColumnElement[bool],
    room_id: RoomId | Sequence[RoomId],
    limit: int | None = None,
    offset: int = 0,
) -> tuple[tuple[Recording, Episode], ...]:
    these = (recording_table.c.state != RecordingState.DELETED) & condition
    statement = select(recording_table).join(episodes, episodes.c.recording_id == recording_table.c.id).where(these)
    rows = await db.execute(_newest_first(statement, room_id, limit, offset))
    recordings_ = [record(Recording, row) for row in rows]
    wanted = select(episodes).where(episodes.c.recording_id.in_([each.id for each in recordings_]))
    by_id = {row.recording_id: record(Episode, row) for row in await db.execute(wanted)}
    return tuple((each, by_id[each.id]) for each in recordings_)


async def episodes_after(db: Connection, last: RecordingId, limit: int) -> tuple[Episode, ...]:
    """Return the next episodes behind a recording, in the order of their recordings."""
    behind = select(episodes).where(episodes.c.recording_id > last).order_by(episodes.c.recording_id).limit(limit)
    return tuple(record(Episode, row) for row in await db.execute(behind))


async def lost(db: Connection, room_ids: Sequence[RoomId]) -> tuple[str, ...]:
    """Return the codes of the recordings of these rooms whose audio is lost, the newest first."""
    theirs = recording_table.c.room_id.in_(room_ids) & (recording_table.c.state != RecordingState.DELETED)
    codes = select(recording_table.c.code).join(episodes, episodes.c.recording_id == recording_table.c.id)
    found = codes.where(theirs, episodes.c.lost_at.is_not(None)).order_by(recording_table.c.started_at.desc())
    return tuple((await db.execute(found)).scalars())


NAMED = (
    chunk_table.c.blob,
    episodes.c.blob,
    extents.c.blob,
    stem_blobs.c.blob,
    room_table.c.cover,
    room_table.c.own_cover,
    originals.c.blob,
    portraits.c.blob,
    recording_table.c.cover,
    studios.c.cover,
    studio_slices.c.blob,
)
"""The columns that name blobs: of a chunk, stem, track, episode, original, portrait, room, recording or studio."""
HEX, KEY_DIGITS = "0123456789abcdef", 64


def is_torn(name: ColumnElement[Any]) -> ColumnElement[bool]:
    """Make the condition that a column names a blob by what is no key: not by 64 hexadecimal digits in lower case, or
    by bytes, which SQLite takes in place of a text and which equal none."""
    return or_(func.length(name) != KEY_DIGITS, func.rtrim(name, HEX) != "", name != name.concat(""))


async def torn_names(db: Connection) -> int:
    """Count the names of blobs that are torn. While there is one, a file that no row names may be the one that is
    meant, so none of these is removed."""
    counts = [select(func.count()).where(is_torn(column)).scalar_subquery() for column in NAMED]
    return sum((await db.execute(select(*counts))).one())


async def referenced(db: Connection, blobs: Sequence[BlobKey]) -> frozenset[BlobKey]:
    """Return the blobs among these that a row still needs, or will need when they have arrived."""
    arriving = select(blob_marks.c.blob).where(blob_marks.c.blob.in_(blobs), ~blob_marks.c.leaving)
    statement = union_all(*(select(column).where(column.in_(blobs)) for column in NAMED), arriving)
    return frozenset(BlobKey(key) for key in (await db.execute(statement)).scalars())


async def blobs_with(db: Connection, prefix: str) -> list[BlobKey]:
    """Return the blobs that rows need and whose keys begin with these hexadecimal digits, in their order; no torn
    names."""
    last = f"{prefix}g"  # behind every digit
    those = (select(column).where(column >= prefix, column < last, ~is_torn(column)) for column in NAMED)
    statement = union(*those)
    return sorted(BlobKey(key) for key in (await db.execute(statement)).scalars())


async def bytes_of_room(db: Connection, room_id: RoomId) -> int:
    """Return the size of a room's chunks, stems, episodes and original sound, and of what studios have uploaded, in
    bytes."""
    return sum(int(size or 0) for size in (await db.execute(_SIZES, {"room": room_id})).one())
