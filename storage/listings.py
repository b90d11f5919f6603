"""Published recordings that an access reaches: by blocks of numbers, by pages, by months, by words.

Nothing is skipped over by an offset: every read begins where an index says, so that old pages cost what new ones do.
"""

import json
from collections.abc import AsyncGenerator, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Select,
    Text,
    and_,
    cast,
    false,
    func,
    literal,
    or_,
    select,
    union_all,
)

from storage.archive import MAY_HAVE_AUDIO, listable
from storage.columns import Utc
from storage.database import Connection
from storage.records import (
    Credit,
    Episode,
    HistoryVisibility,
    Reach,
    Recording,
    RecordingId,
    RecordingState,
    RoomId,
    UserId,
)
from storage.rows import record
from storage.tables import episodes, recordings

BLOCK = 50
"""The numbers in one block; a room's first block holds 1 to 50."""
BATCH = 50
"""Rows that are made into records at once: the event loop stands still for that long."""
TIMES_AT_ONCE = 200
"""Times that one statement counts; databases take no more than some hundred parts of a union."""
SPOKEN_AT_ONCE = 200

Published = tuple[Recording, Episode]

_WITH_EPISODES = recordings.join(episodes, episodes.c.recording_id == recordings.c.id)
_PUBLISHED = select(recordings, episodes).select_from(_WITH_EPISODES)
"""The beginning of a statement, made once: it names sixty columns."""


@dataclass(frozen=True, slots=True)
class Search:
    """A part of a list: what began from `begin` on and before `end`, and holds these words in its texts or names. Words
    are a first choice only: user ids are among the texts that are searched, so look again at what is shown."""

    begin: datetime | None = None
    end: datetime | None = None
    words: tuple[str, ...] = ()


ALL = Search()


@dataclass(frozen=True, slots=True)
class Place:
    """A recording's place in the order of a list."""

    started_at: datetime
    recording_id: RecordingId


def place_of(recording: Recording) -> Place:
    return Place(recording.started_at, recording.id)


# ---- feeds


async def highest_number(db: Connection, room_id: RoomId) -> int:
    """Return the number of a room's newest recording, of whatever state; 0 where it has none."""
    highest = select(func.max(recordings.c.number)).where(recordings.c.room_id == room_id)
    return (await db.execute(highest)).scalar_one_or_none() or 0


async def blocks(db: Connection, reach: Reach) -> dict[int, int]:
    """Count what feeds list, in each block that has any, by the block's number from 1."""
    block = ((recordings.c.number - 1) // BLOCK).label("block")
    counted = select(block, func.count()).select_from(_WITH_EPISODES).where(listable(), _reached(reach))
    return {number + 1: count for number, count in await db.execute(counted.group_by(block))}


async def of_block(db: Connection, reach: Reach, block: int) -> tuple[Published, ...]:
    """Return what feeds list of one block, in no order."""
    first = (block - 1) * BLOCK + 1
    within = recordings.c.number.between(first, first + BLOCK - 1)
    chosen = _PUBLISHED.where(listable(), _reached(reach), within)
    return tuple(map(_published, await db.execute(chosen)))


async def oldest(db: Connection, reaches: Sequence[Reach]) -> AsyncGenerator[Published, None]:
    """Yield what feeds list, the oldest first."""
    async for published in _walk(db, reaches, listable(), None, ALL, newest_first=False):
        yield published


@dataclass(frozen=True, slots=True)
class Spoken:
    """Recordings of a room in a feed that have the same speakers in their rows."""

    newest: Place
    count: int
    broadcaster: Credit
    speakers: tuple[Credit, ...]


async def newest(db: Connection, reaches: Sequence[Reach], limit: int) -> tuple[Place, ...]:
    """Return the places of the newest recordings that feeds list, the newest first."""
    if not reaches:
        return ()
    chosen = select(recordings.c.started_at, recordings.c.id).select_from(_WITH_EPISODES).where(listable())
    every = union_all(*(chosen.where(_reached(reach)) for reach in reaches))
    columns = every.selected_columns
    rows = await db.execute(every.order_by(columns.started_at.desc(), columns.id.desc()).limit(limit))
    return tuple(Place(row.started_at, RecordingId(row.id)) for row in rows)


async def spoken(db: Connection, reaches: Sequence[Reach]) -> AsyncGenerator[Sequence[Spoken], None]:
    """Yield who speaks in what feeds list, many at once, in no order. The database puts the same speakers together: a
    row each would hold up the event loop in a long archive."""
    same = (recordings.c.broadcaster, recordings.c.broadcaster_name, cast(recordings.c.speakers, Text))
    about = (recordings.c.broadcaster, recordings.c.broadcaster_name, func.min(cast(recordings.c.speakers, Text)))
    last = (func.max(recordings.c.started_at), func.max(recordings.c.id), func.count())
    chosen = select(*about, *last).select_from(_WITH_EPISODES).where(listable())
    for reach in reaches:
        for some in (await db.execute(chosen.where(_reached(reach)).group_by(*same))).partitions(SPOKEN_AT_ONCE):
            yield [
                Spoken(
                    Place(began, RecordingId(number)),
                    count,
                    Credit(UserId(broadcaster), name),
                    tuple(Credit(UserId(user_id), name) for user_id, name, *_ in json.loads(speakers)),
                )
                for broadcaster, name, speakers, began, number, count in some
            ]


async def of_speaker(db: Connection, reaches: Sequence[Reach], user_id: UserId, limit: int) -> tuple[RecordingId, ...]:
    """Return the newest recordings that feeds list in whose rows this user is named as a speaker."""
    if not reaches:
        return ()
    speakers = cast(recordings.c.speakers, Text)
    alone = (recordings.c.broadcaster == user_id) & (speakers == "[]")
    named = speakers.contains(json.dumps(user_id), autoescape=True)
    chosen = select(recordings.c.started_at, recordings.c.id).select_from(_WITH_EPISODES)
    every = union_all(*(chosen.where(listable(), _reached(reach), or_(alone, named)) for reach in reaches))
    columns = every.selected_columns
    rows = await db.execute(every.order_by(columns.started_at.desc(), columns.id.desc()).limit(limit))
    return tuple(RecordingId(row.id) for row in rows)


async def of_ids(db: Connection, ids: Sequence[RecordingId]) -> tuple[Published, ...]:
    """Return those of these recordings that feeds list, in no order."""
    found: list[Published] = []
    for start in range(0, len(ids), BATCH):
        these = recordings.c.id.in_(ids[start : start + BATCH])
        chosen = _PUBLISHED.where(listable(), these)
        found += map(_published, await db.execute(chosen))
    return tuple(found)


# ---- pages


async def shown(
    db: Connection,
    reaches: Sequence[Reach],
    reviews: Collection[RecordingId],
    start: Place | None = None,
    search: Search = ALL,
    *,
    newest_first: bool = True,
) -> AsyncGenerator[Published, None]:
    """Yield what pages list, from behind `start` on: what feeds list, what waits for approval and is in `reviews`, and
    what is incomplete and not in the feeds yet."""
    async for published in _walk(db, reaches, _on_pages(reviews), start, search, newest_first=newest_first):
        yield published


async def span(db: Connection, reaches: Sequence[Reach]) -> tuple[datetime, datetime] | None:
    """Return when the first and the last recording of these rooms began, of whatever state; None where there is
    none."""
    began = recordings.c.started_at
    ends = []
    for reach in reaches:
        edges = select(func.min(began), func.max(began)).where(recordings.c.room_id == reach.room_id)
        ends += [moment for moment in (await db.execute(edges)).one() if moment is not None]
    return (min(ends), max(ends)) if ends else None


async def count_within(
    db: Connection,
    reaches: Sequence[Reach],
    reviews: Collection[RecordingId],
    times: Sequence[tuple[datetime, datetime]],
) -> list[int]:
    """Count what pages list of each of these times, from the first moment of a time on and before its second."""
    counts = [0] * len(times)
    for start in range(0, len(times), TIMES_AT_ONCE):
        bounds = union_all(
            *(
                select(
                    literal(number).label("number"), literal(low, Utc()).label("low"), literal(end, Utc()).label("end")
                )
                for number, (low, end) in enumerate(times[start : start + TIMES_AT_ONCE], start)
            )
        ).subquery()
        within = (recordings.c.started_at >= bounds.c.low) & (recordings.c.started_at < bounds.c.end)
        joined = bounds.join(recordings, within).join(episodes, episodes.c.recording_id == recordings.c.id)
        counted = select(bounds.c.number, func.count()).select_from(joined).group_by(bounds.c.number)
        for reach in reaches:
            for number, count in await db.execute(counted.where(_on_pages(reviews), _reached(reach))):
                counts[number] += count
    return counts


# ---- statements


def _published(row: Any) -> Published:
    return record(Recording, row), record(Episode, row)


def _on_pages(reviews: Collection[RecordingId]) -> ColumnElement[bool]:
    held = episodes.c.published_at.is_(None) & (recordings.c.state == RecordingState.INCOMPLETE)
    waits = recordings.c.unreviewed & recordings.c.id.in_(list(reviews)) if reviews else false()
    there = or_(~recordings.c.unreviewed & or_(episodes.c.published_at.is_not(None), held), waits)
    return there & episodes.c.lost_at.is_(None)


def _reached(reach: Reach) -> ColumnElement[bool]:
    conditions = [recordings.c.room_id == reach.room_id, recordings.c.state.in_(MAY_HAVE_AUDIO)]
    if reach.only_public:
        conditions.append(recordings.c.public)
    if set(reach.always) != set(HistoryVisibility):
        later = false() if reach.since is None else recordings.c.position > reach.since
        conditions.append(or_(recordings.c.history_visibility.in_(reach.always), later))
    return and_(*conditions)


def _within(search: Search) -> Iterator[ColumnElement[bool]]:
    if search.begin is not None:
        yield recordings.c.started_at >= search.begin
    if search.end is not None:
        yield recordings.c.started_at < search.end
    texts = (recordings.c.title, recordings.c.description, recordings.c.broadcaster_name)
    for word in search.words:
        # Databases disagree on the case of letters beyond ASCII, so each way of writing is looked for.
        spellings = dict.fromkeys((word, word.lower(), word.upper(), word.capitalize(), word.title()))
        in_texts = [text.icontains(spelling, autoescape=True) for spelling in spellings for text in texts]
        names = cast(recordings.c.speakers, Text)
        in_names = [names.icontains(json.dumps(spelling)[1:-1], autoescape=True) for spelling in spellings]
        yield or_(*in_texts, *in_names)


def _behind(start: Place, *, newest_first: bool) -> ColumnElement[bool]:
    began, number = recordings.c.started_at, recordings.c.id
    if newest_first:
        return (began <= start.started_at) & ((began < start.started_at) | (number < start.recording_id))
    return (began >= start.started_at) & ((began > start.started_at) | (number > start.recording_id))


async def _walk(
    db: Connection,
    reaches: Sequence[Reach],
    condition: ColumnElement[bool],
    start: Place | None,
    search: Search,
    *,
    newest_first: bool,
) -> AsyncGenerator[Published, None]:
    while reaches:
        conditions = [condition, *_within(search)]
        if start is not None:
            conditions.append(_behind(start, newest_first=newest_first))
        rows = (await db.execute(_ordered(reaches, conditions, newest_first=newest_first))).all()
        for row in rows:
            yield _published(row)
        if len(rows) < BATCH:
            return
        start = Place(rows[-1].started_at, rows[-1].id)


def _ordered(
    reaches: Sequence[Reach], conditions: Sequence[ColumnElement[bool]], *, newest_first: bool
) -> Select[Any] | CompoundSelect[Any]:
    # IN would sort all rows; this way each room is read in the order of its index, and the rooms are merged.
    chosen = _PUBLISHED.where(*conditions)
    every = union_all(*(chosen.where(_reached(reach)) for reach in reaches))
    columns = every.selected_columns
    order = (columns.started_at.desc(), columns.id.desc()) if newest_first else (columns.started_at, columns.id)
    return every.order_by(*order).limit(BATCH)
