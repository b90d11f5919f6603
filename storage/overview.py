"""Figures of a whole store, for who looks after it: numbers and times, and nothing of a room or a person."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from storage import jobs, journal
from storage.database import Connection
from storage.records import ChunkState, JobKind, JobState, RecordingState, Visibility
from storage.tables import chunks, episodes, originals, recordings, rooms, stem_blobs
from storage.tables import jobs as job_table
from storage.tables import journal as journal_table

UNFINISHED = (JobState.READY, JobState.RUNNING, JobState.FAILED)
_SIZED = {"chunks": chunks, "stems": stem_blobs, "episodes": episodes, "originals": originals}
STORED = tuple(_SIZED)
"""Parts of the media store."""


@dataclass(frozen=True, slots=True)
class Overview:
    """The figures that change by the second. All rows of the rooms are looked at for some; of the journal those that
    wait.

    `oldest_due`: the time at which the longest waiting job of each kind was due; `running_since`: since when one has
    run that has neither ended nor stored progress for longest."""

    journaled: int
    unhandled: int
    oldest_unhandled: datetime | None
    sealed: int
    oldest_sealed: datetime | None
    jobs: Mapping[tuple[JobKind, JobState], int]
    oldest_due: Mapping[JobKind, datetime]
    running_since: Mapping[JobKind, datetime]
    recordings: Mapping[RecordingState, int]
    rooms: int
    recorded_rooms: int
    public_rooms: int


@dataclass(frozen=True, slots=True)
class Totals:
    """The figures for which every chunk is looked at. `room_bytes`: of each room that has any."""

    chunks: Mapping[ChunkState, int]
    stored: Mapping[str, int]
    episodes: int
    lost: int
    room_bytes: tuple[int, ...]


async def look(db: Connection, now: datetime) -> Overview:
    """Read the figures of now."""
    waiting = select(func.count(), func.min(journal_table.c.received_at)).select_from(journal_table)
    unhandled = (await db.execute(waiting.where(journal.WAITS))).one()
    sealed = (await db.execute(waiting.where(journal.SEALED))).one()
    kind_and_state = (job_table.c.kind, job_table.c.state)
    counted = select(*kind_and_state, func.count()).where(job_table.c.state.in_(UNFINISHED)).group_by(*kind_and_state)
    by_state = select(recordings.c.state, func.count().label("number")).group_by(recordings.c.state)
    is_public = rooms.c.visibility == Visibility.PUBLIC
    joined = select(rooms.c.recording_on, is_public, func.count()).where(rooms.c.joined, ~rooms.c.direct)
    followed = (await db.execute(joined.group_by(rooms.c.recording_on, is_public))).all()
    return Overview(
        journaled=await journal.position(db),
        unhandled=unhandled[0],
        oldest_unhandled=unhandled[1],
        sealed=sealed[0],
        oldest_sealed=sealed[1],
        jobs={(kind, state): number for kind, state, number in await db.execute(counted)},
        oldest_due={kind: due for kind, due in (await jobs.next_of_each(db)).items() if due <= now},
        running_since=await jobs.running_since(db),
        recordings={row.state: row.number for row in await db.execute(by_state)},
        rooms=sum(number for _, _, number in followed),
        recorded_rooms=sum(number for on, _, number in followed if on),
        public_rooms=sum(number for _, public, number in followed if public),
    )


async def totals(db: Connection) -> Totals:
    """Add up what is stored. Takes a second for 300,000 chunks."""
    by_room: Counter[str] = Counter()
    stored: Counter[str] = Counter()
    for name, table in _SIZED.items():
        sums = select(recordings.c.room_id, func.sum(table.c.bytes)).join(
            table, table.c.recording_id == recordings.c.id
        )
        for room_id, size in await db.execute(sums.group_by(recordings.c.room_id)):
            by_room[room_id] += int(size or 0)
            stored[name] += int(size or 0)
    by_state = select(chunks.c.state, func.count().label("number")).group_by(chunks.c.state)
    states = {row.state: row.number for row in await db.execute(by_state)}
    counted = select(func.count(), func.count(episodes.c.lost_at)).select_from(episodes)
    made, lost = (await db.execute(counted)).one()
    return Totals(states, stored, made, lost, tuple(by_room.values()))
