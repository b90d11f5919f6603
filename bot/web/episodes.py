"""Which recordings an open access reaches: those that feeds list, those on the pages, those on the air."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from bot.feeds.catalog import Published
from bot.feeds.text import clean_text
from bot.feeds.titles import episode_title, speaker
from bot.recording.chunks import REMOVED
from bot.recording.speakers import credits_of
from bot.web.access import Access, may_hear_recording, may_serve_audio, reaches
from bot.web.documents import Block, Outline, outline_of
from storage import archive, listings, originals, portraits, tracks
from storage.database import Connection
from storage.heirs import MOST_ROOMS
from storage.records import BlobKey, Episode, Original, Recording, RecordingId, RecordingState, RoomId, UserId

SEARCHED = 1000
"""The recordings that one search looks at: what the database finds may be in user ids, which are not shown."""
JUST_ENDED_WITHIN = 5
"""The number of a room's newest recordings that are searched for ended ones whose episode is being made."""


@dataclass(frozen=True, slots=True)
class EpisodePage:
    """Some of the episodes that can be heard, newest first. `newer`, `older`: the code at which the ones on that side
    begin; empty where there are none. `bounded`: a search stopped before it had looked at all of them."""

    published: tuple[Published, ...]
    newer: str = ""
    older: str = ""
    bounded: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the list of episodes, as somebody asks for it: `size` of those behind the code `before`, or in front of
    the code `after`; of one month, as year and month; with these words."""

    size: int
    before: str = ""
    after: str = ""
    month: tuple[int, int] | None = None
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FeedRows:
    """The episodes of a document of a feed, newest first, with what their items tell besides."""

    published: tuple[Published, ...]
    originals: Mapping[RecordingId, Original]
    portraits: Mapping[RoomId, Mapping[UserId, BlobKey]]


def rooms_of(access: Access) -> tuple[RoomId, ...]:
    """Return the rooms of an open access, the newest first."""
    return access.room.room_id, *reversed(tuple(access.claim.before))


def parts_of(access: Access) -> dict[RoomId, int]:
    """Give each room of an open access its number in the names of documents, which never changes: 1 is the room that
    the address was made for, its heirs follow; those before it, the nearest first, come behind the longest line."""
    oldest_first = rooms_of(access)[::-1]
    first = oldest_first.index(access.claim.named) if access.claim.named is not None else 0
    return {
        room_id: place - first + 1 if place >= first else MOST_ROOMS + first - place
        for place, room_id in enumerate(oldest_first)
    }


async def read_outline(db: Connection, access: Access) -> Outline:
    """Read which documents the feed of an access has."""
    parts = parts_of(access)
    counted = [(parts[reach.room_id], reach, await listings.blocks(db, reach)) for reach in reaches(access)]
    return outline_of(counted)


async def read_blocks(db: Connection, access: Access, blocks: Sequence[Block]) -> FeedRows:
    """Read what feeds list of these blocks."""
    found: list[Published] = []
    for block in blocks:
        rows = await listings.of_block(db, block.reach, block.name.block)
        found += [published for published in rows if await _is_heard(db, access, published)]
        await asyncio.sleep(0)  # the rows of one block take some milliseconds
    return await _with_details(db, found, [block.reach.room_id for block in blocks])


async def read_chosen(db: Connection, accesses: Sequence[Access], ids: Sequence[RecordingId]) -> FeedRows:
    """Read what feeds list of these recordings, of the rooms of several accesses."""
    of_room = {room_id: access for access in accesses for room_id in rooms_of(access)}
    found = [
        published
        for published in await listings.of_ids(db, ids)
        if published[0].room_id in of_room and await _is_heard(db, of_room[published[0].room_id], published)
    ]
    return await _with_details(db, found, [recording.room_id for recording, _ in found])


async def _with_details(db: Connection, found: list[Published], room_ids: Iterable[RoomId]) -> FeedRows:
    found.sort(key=_age, reverse=True)
    pictures = defaultdict[RoomId, dict[UserId, BlobKey]](dict)
    for (room_id, user_id), blob in (await portraits.of_rooms(db, list(dict.fromkeys(room_ids)))).items():
        pictures[room_id][user_id] = blob
    return FeedRows(tuple(found), await originals.current(db, [recording.id for recording, _ in found]), dict(pictures))


def _age(published: Published) -> tuple[datetime, int]:
    return published[0].started_at, published[0].id


async def read_part(db: Connection, access: Access, part: Part, zone: ZoneInfo) -> EpisodePage | None:
    """Read a part of the list of episodes; None where the access does not reach the episode that it begins at."""
    start = None
    if code := part.before or part.after:
        begin = await archive.recording_by_code(db, code)
        if begin is None or not may_hear_recording(access, begin):
            return None
        start = listings.place_of(begin)
    backwards = bool(part.after)
    search = listings.Search(*_month(part.month, zone), words=part.words)
    reviews = access.claim.reviews
    rows = listings.shown(db, reaches(access), reviews, start, search, newest_first=not backwards)
    found: list[Published] = []
    looked_at, last = 0, ""
    async with aclosing(rows) as each:
        async for published in each:
            looked_at, last = looked_at + 1, published[0].code
            if await _is_heard(db, access, published) and (not part.words or holds(published, part.words, zone)):
                found.append(published)
            # One more than the page has, to know whether there are others.
            if len(found) > part.size or (part.words and looked_at >= SEARCHED):
                break
    more, here = len(found) > part.size, tuple(found[: part.size])
    bounded = bool(part.words) and not more and looked_at >= SEARCHED
    if backwards and not more and not bounded:  # the newest of all: a whole page of them
        return await read_part(db, access, replace(part, after=""), zone)
    near = here[0][0].code if here else code
    far = last if bounded else here[-1][0].code if more else ""
    if backwards:
        return EpisodePage(here[::-1], newer=far, older=near, bounded=bounded)
    return EpisodePage(here, newer=near if start is not None else "", older=far, bounded=bounded)


async def neighbours(db: Connection, access: Access, recording: Recording) -> tuple[Published | None, Published | None]:
    """Read the episodes beside a recording on the pages: the next newer one and the next older one."""
    place, beside = listings.place_of(recording), list[Published | None]()
    for newest_first in (False, True):
        rows = listings.shown(db, reaches(access), access.claim.reviews, place, newest_first=newest_first)
        async with aclosing(rows) as each:
            beside.append(await anext((one async for one in each if await _is_heard(db, access, one)), None))
    newer, older = beside
    return newer, older


async def count_months(db: Connection, access: Access, zone: ZoneInfo) -> dict[tuple[int, int], int]:
    """Count the episodes of each year and month, the newest first."""
    span = await listings.span(db, reaches(access))
    if span is None:
        return {}
    first, last = (moment.astimezone(zone) for moment in span)
    numbers = range(first.year * 12 + first.month - 1, last.year * 12 + last.month)
    months = [(number // 12, number % 12 + 1) for number in reversed(numbers)]
    times = [(datetime(*month, 1, tzinfo=zone), datetime(*_following(month), 1, tzinfo=zone)) for month in months]
    counts = await listings.count_within(db, reaches(access), access.claim.reviews, times)
    return {month: count for month, count in zip(months, counts, strict=True) if count}


def _following(month: tuple[int, int]) -> tuple[int, int]:
    year, number = month
    return (year, number + 1) if number < 12 else (year + 1, 1)


def _month(month: tuple[int, int] | None, zone: ZoneInfo) -> tuple[datetime | None, datetime | None]:
    if month is None:
        return None, None
    return datetime(*month, 1, tzinfo=zone), datetime(*_following(month), 1, tzinfo=zone)


def holds(published: Published, words: Iterable[str], zone: ZoneInfo) -> bool:
    """Return whether an episode's texts and names, as they are shown, hold all of these words."""
    recording, _ = published
    names = [speaker(credit.name) for credit in credits_of(recording)]
    told = "\n".join((episode_title(recording, zone), clean_text(recording.description or ""), *names)).casefold()
    return all(word.casefold() in told for word in words)


async def first_speaker(db: Connection, access: Access) -> str | None:
    """Read the name of the speaker of the first of those that feeds list."""
    async with aclosing(listings.oldest(db, reaches(access))) as rows:
        async for published in rows:
            if await _is_heard(db, access, published):
                return published[0].broadcaster_name
    return None


async def _is_heard(db: Connection, access: Access, published: Published) -> bool:
    """Return whether an access reaches a recording and its audio. While a recording is open again its audio is looked
    at closely."""
    recording, episode = published
    if not may_hear_recording(access, recording):
        return False
    return recording.state.may_have_episode or await can_serve(db, recording, episode)


async def can_serve(db: Connection, recording: Recording, episode: Episode) -> bool:
    """Read whether the audio of an episode may still be served."""
    if not await archive.has_chunk(db, recording.id, *REMOVED):  # a call of hours has thousands of others
        return True
    chunks = await archive.chunks(db, recording.id)
    return await asyncio.to_thread(may_serve_audio, recording, episode, chunks)


async def read_on_air(db: Connection, room_ids: Iterable[RoomId]) -> tuple[Recording, ...]:
    """Read what is on the air in these rooms: what is live, then what has ended and has no episode yet; each newest
    first."""
    room_ids = tuple(room_ids)
    running = reversed(await archive.open_recordings(db, room_ids))
    newest = await archive.recordings(db, room_ids, JUST_ENDED_WITHIN)
    candidates = [*running, *(recording for recording in newest if recording.state.may_have_episode)]
    return tuple([recording for recording in candidates if await _is_on_air(db, recording)])


async def _is_on_air(db: Connection, recording: Recording) -> bool:
    if recording.state is RecordingState.LIVE:
        return True
    if recording.past or await archive.episode(db, recording.id) is not None:
        return False
    # A decided recording with sound will have an episode soon; without sound it may never have one.
    return recording.state is RecordingState.FINISHING or await tracks.reach(db, recording.id) > 0
