"""Which recordings an open access reaches: those that feeds list, those on the pages, those on the air."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import datetime

from bot.feeds.catalog import Published
from bot.recording.chunks import REMOVED
from bot.web.access import Access, may_hear_recording, may_list_recording, may_serve_audio
from storage import archive, tracks
from storage.database import Connection
from storage.records import Episode, Recording, RecordingState, RoomId

HELD_WITHIN = 100
"""The number of a room's newest recordings that are searched for episodes that no feed lists yet."""
JUST_ENDED_WITHIN = 5
"""The number of a room's newest recordings that are searched for ended ones whose episode is being made."""
BATCH = 100
"""Rows that are made into records at once: the event loop stands still for that long."""


@dataclass(frozen=True, slots=True)
class EpisodePage:
    """Some of the episodes that can be heard, newest first; `more`: there are older ones."""

    number: int  # from 1
    published: tuple[Published, ...]
    more: bool


def rooms_of(access: Access) -> tuple[RoomId, ...]:
    """Return the rooms of an open access: the present one and the earlier ones."""
    return access.room.room_id, *access.claim.before


async def read_page(db: Connection, access: Access, number: int, size: int, *, held: bool) -> EpisodePage:
    """Read one page of episodes. `held`: with those that feeds do not list yet."""
    end = number * size
    # One more than the page has, to know whether there are older ones.
    episodes = [published async for published in _first(listed(db, access), end + 1)]
    if held:
        episodes = sorted(episodes + await _held(db, access), key=_age, reverse=True)
    return EpisodePage(number, tuple(episodes[end - size : end]), len(episodes) > end)


async def listed(db: Connection, access: Access) -> AsyncIterator[Published]:
    """Yield what feeds list for this access, newest first."""
    offset = 0
    while batch := await archive.published(db, rooms_of(access), limit=BATCH, offset=offset):
        for published in batch:
            recording, episode = published
            if not may_list_recording(access, recording):
                continue
            if recording.state.may_have_episode or await can_serve(db, recording, episode):
                yield published
        offset += len(batch)


async def _first(source: AsyncIterator[Published], count: int) -> AsyncIterator[Published]:
    async for published in source:
        yield published
        count -= 1
        if not count:
            return


async def _held(db: Connection, access: Access) -> list[Published]:
    """Read the episodes that are on their pages before any feed lists them: those that wait for approval, and
    incomplete ones that may still heal."""
    waiting = await archive.waiting(db, rooms_of(access)) if access.claim.reviews else ()
    held = [published for published in waiting if may_hear_recording(access, published[0])]
    for recording in await archive.recordings(db, rooms_of(access), HELD_WITHIN):
        if recording.state is RecordingState.INCOMPLETE and may_list_recording(access, recording):
            episode = await archive.episode(db, recording.id)
            if episode is not None and episode.published_at is None:
                held.append((recording, episode))
    return held


def _age(published: Published) -> tuple[datetime, int]:
    return published[0].started_at, published[0].id


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
