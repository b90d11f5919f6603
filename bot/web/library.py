"""What the web reads of the archive: the claim behind an address, and what a room shows to whom."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from bot.feeds import mxids
from bot.feeds.addresses import look_up_hash
from bot.feeds.catalog import Face, Published
from bot.feeds.text import clean_text
from bot.feeds.titles import NAMELESS_ROOM, channel_title
from bot.web.access import Access, Claim, Family, audio_holds, decide, may_hear_it
from bot.web.caches import Memo, Recent
from storage import archive, heirs, rooms, tracks
from storage.database import Connection
from storage.records import Chunk, Episode, Recording, RecordingState, Room, RoomId
from storage.store import Store

FEED_ITEMS = 300
"""On one page of a feed (RFC 5005): what Apple reads of one, and quickly made."""
HELD_WITHIN = 100
"""How many of a room's newest recordings are searched for episodes that no feed lists yet."""
JUST_ENDED_WITHIN = 5
"""How many of a room's newest recordings are searched for what has ended and whose episode is being made."""
BATCH = 100
"""Rows that are made into records at once: the loop stands still for that long."""


@dataclass(frozen=True, slots=True)
class View:
    """One room as one family, or one listener, may have it. Two with the same key show the same."""

    room: Room
    family: Family
    face: Face
    key: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """Some of what can be heard, newest first; `more` whether there is older."""

    number: int  # from 1
    published: tuple[Published, ...]
    more: bool


class Library:
    def __init__(self, store: Store, freshness: Callable[[], bool]) -> None:
        self._store = store
        self._freshness = freshness
        self._claims: Memo[tuple[Family, str], Claim] = Memo(self._commits)
        self._published: Memo[str, Published | None] = Memo(self._commits)
        self._on_air: Memo[tuple[RoomId, ...], tuple[Recording, ...]] = Memo(self._commits)
        self._views: Recent[tuple[object, ...], View] = Recent(512)
        self._pages: Recent[tuple[object, ...], Page] = Recent(20_000, lambda page: 1 + len(page.published))

    def _commits(self) -> int:
        return self._store.database.changes.number

    async def public(self, key: str) -> Access:
        """By the key in a public address."""
        claim = await self._claims.get((Family.PUBLIC, key), partial(self._public_claim, key))
        return decide(claim, fresh=self._freshness())

    async def personal(self, token: str) -> Access:
        """By the token in a personal address."""
        digest = look_up_hash(token)
        claim = await self._claims.get((Family.PERSONAL, digest), partial(self._personal_claim, digest))
        return decide(claim, fresh=self._freshness())

    async def _public_claim(self, key: str) -> Claim:
        async with self._store.read() as db:
            named = await rooms.room_by_key(db, key)
            if named is None:
                return Claim(Family.PUBLIC, None)
            line = await heirs.line(db, named.room_id)
            return Claim(Family.PUBLIC, await heirs.podcast(db, line, named), before=dict.fromkeys(line[:-1]))

    async def _personal_claim(self, digest: str) -> Claim:
        async with self._store.read() as db:
            listener = await rooms.listener_by_hash(db, digest)
            if listener is None:
                return Claim(Family.PERSONAL, None)
            named = await rooms.room(db, listener.room_id)
            if named is None:
                return Claim(Family.PERSONAL, None, listener)
            line = await heirs.line(db, named.room_id)
            *before, member = [await rooms.state(db, one, "m.room.member", listener.user_id) for one in line]
            podcast = await heirs.podcast(db, line, named)
            return Claim(Family.PERSONAL, podcast, listener, member, dict(zip(line[:-1], before, strict=True)))

    async def published(self, access: Access, code: str) -> Published | None:
        """The recording of this code with its audio, if this access reaches it now."""
        found = await self._published.get(code, partial(self._with_audio, code))
        return found if found is not None and may_hear_it(access, found[0]) else None

    async def _with_audio(self, code: str) -> Published | None:
        async with self._store.read() as db:
            recording = await archive.recording_by_code(db, code)
            episode = await archive.episode(db, recording.id) if recording else None
            if recording is None or episode is None or not await _holds(db, recording, episode):
                return None
            return recording, episode

    async def may_go_on(self, access: Access, published: Published) -> bool:
        """Whether a download that began with this audio may go on: also while another one took its place, unless
        something was redacted."""
        recording, episode = published
        now = await self.published(access, recording.code)
        if now is None or now[1].blob == episode.blob:
            return now is not None
        async with self._store.read() as db:
            return await _holds(db, now[0], episode)

    async def view(self, access: Access) -> View:
        """What an open access shows besides its episodes."""
        key = _key(access)
        view = self._views.get(key)
        if view is None:
            async with self._store.read() as db:
                view = View(access.room, access.claim.family, await _face(db, access), key)
            self._views.put(key, view)
        return view

    async def feed_page(self, access: Access, number: int) -> Page | None:
        """One page of what feeds list; None when there is no such page."""
        return await self._page(access, number, FEED_ITEMS, held=False)

    async def shown_page(self, access: Access, number: int, size: int) -> Page | None:
        """One page of what people see: with what is still held back from the feeds."""
        return await self._page(access, number, size, held=True)

    async def _page(self, access: Access, number: int, size: int, *, held: bool) -> Page | None:
        key = (*_key(access), number, size, held)
        page = self._pages.get(key)
        if page is None:
            async with self._store.read() as db:
                page = await _read_page(db, access, number, size, held=held)
            self._pages.put(key, page)
        return page if page.published or number == 1 else None

    async def live(self, access: Access) -> tuple[Recording, ...]:
        """What is on the air and within reach: what runs now, then what ended and is no episode yet. Newest first."""
        found = await self._on_air.get(_rooms(access), partial(self._read_on_air, _rooms(access)))
        return tuple(one for one in found if may_hear_it(access, one))

    async def _read_on_air(self, where: tuple[RoomId, ...]) -> tuple[Recording, ...]:
        async with self._store.read() as db:
            running = reversed(await archive.open_recordings(db, where))
            newest = await archive.recordings(db, where, JUST_ENDED_WITHIN)
            found = [*running, *(one for one in newest if one.state.may_have_episode)]
            return tuple([one for one in found if await _is_on_air(db, one)])

    async def chunks(self, recording: Recording) -> tuple[Chunk, ...]:
        async with self._store.read() as db:
            return await archive.chunks(db, recording.id)


async def _is_on_air(db: Connection, recording: Recording) -> bool:
    if recording.state is RecordingState.LIVE:
        return True
    if recording.past or await archive.episode(db, recording.id) is not None:
        return False
    # What is decided and has sound is an episode as soon as that is made; without sound it may never be one.
    return recording.state is RecordingState.FINISHING or await tracks.reach(db, recording.id) > 0


async def _holds(db: Connection, recording: Recording, episode: Episode) -> bool:
    chunks = await archive.chunks(db, recording.id)
    return await asyncio.to_thread(audio_holds, recording, episode, chunks)


def _key(access: Access) -> tuple[object, ...]:
    """Another one after each change that a feed or page shows (the room's revision is in it)."""
    return access.room, access.claim.family, access.claim.came


def _rooms(access: Access) -> tuple[RoomId, ...]:
    """Where the recordings of an open access were spoken."""
    return access.room.room_id, *access.claim.before


async def _read_page(db: Connection, access: Access, number: int, size: int, *, held: bool) -> Page:
    end = number * size
    # One more than the page has, to know whether there is older.
    found = [one async for one in _within(_listed(db, access), end + 1)]
    if held:
        found = sorted(found + await _held(db, access), key=_age, reverse=True)
    return Page(number, tuple(found[end - size : end]), len(found) > end)


async def _listed(db: Connection, access: Access) -> AsyncIterator[Published]:
    """What feeds list for this access, newest first."""
    offset = 0
    while batch := await archive.published(db, _rooms(access), limit=BATCH, offset=offset):
        for published in batch:
            recording, episode = published
            if not may_hear_it(access, recording):
                continue
            if recording.state.may_have_episode or await _holds(db, recording, episode):
                yield published
        offset += len(batch)


async def _within(source: AsyncIterator[Published], count: int) -> AsyncIterator[Published]:
    async for one in source:
        yield one
        count -= 1
        if not count:
            return


async def _held(db: Connection, access: Access) -> list[Published]:
    """Incomplete ones that may still heal: on their pages at once, in the feed later."""
    held = []
    for recording in await archive.recordings(db, _rooms(access), HELD_WITHIN):
        if recording.state is RecordingState.INCOMPLETE and may_hear_it(access, recording):
            episode = await archive.episode(db, recording.id)
            if episode is not None and episode.published_at is None:
                held.append((recording, episode))
    return held


def _age(published: Published) -> tuple[datetime, int]:
    return published[0].started_at, published[0].id


async def _face(db: Connection, access: Access) -> Face:
    name = await _text(db, access, "m.room.name", "name")
    first = None
    if channel_title(name, None) == NAMELESS_ROOM:
        # Of those that this one may hear: the name of an earlier speaker is not public with the room.
        async for recording, _ in _listed(db, access):
            first = recording.broadcaster_name
    return Face(name, await _text(db, access, "m.room.topic", "topic"), first)


async def _text(db: Connection, access: Access, kind: str, key: str) -> str | None:
    """What a state event of the room says, without user ids; None where it says nothing."""
    event = await rooms.state(db, access.room.room_id, kind)
    text = event.content.get(key) if event else None
    if not isinstance(text, str):
        return None
    servers = await rooms.servers(db, _rooms(access)) if mxids.may_hold(text) else ()
    return clean_text(text, servers) or None
