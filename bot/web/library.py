"""Everything that the web reads of the archive: a room's name, its episodes, what is live. Read once, then cached."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from bot import facts
from bot.event_types import ROOM_NAME
from bot.feeds import mxids
from bot.feeds.catalog import Face, Published
from bot.feeds.text import clean_text
from bot.feeds.titles import NAMELESS_ROOM, channel_title
from bot.recording.kinds import kind_of
from bot.web import episodes
from bot.web.access import Access, Family, may_hear_recording
from bot.web.caches import CommitCache, LruCache
from bot.web.episodes import EpisodePage, rooms_of
from storage import archive, rooms
from storage.database import Connection
from storage.records import Chunk, Recording, Room, RoomId
from storage.store import Store

FEED_ITEMS = 300
"""Items on one page of a feed (RFC 5005): as many as Apple reads, and quick to render."""


@dataclass(frozen=True, slots=True)
class View:
    """A room as one family, or one listener, may see it. Two views with the same key show the same."""

    room: Room
    family: Family
    face: Face
    key: tuple[object, ...]


class Library:
    """Everything that the web reads of the archive for an access that is open."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._published: CommitCache[str, Published | None] = CommitCache(self._commits)
        self._on_air: CommitCache[tuple[RoomId, ...], tuple[Recording, ...]] = CommitCache(self._commits)
        self._views: LruCache[tuple[object, ...], View] = LruCache(512)
        self._pages: LruCache[tuple[object, ...], EpisodePage] = LruCache(20_000, lambda page: 1 + len(page.published))

    def _commits(self) -> int:
        return self._store.database.changes.number

    async def published(self, access: Access, code: str) -> Published | None:
        """Return the recording of this code with its audio; None where this access does not reach it."""
        published = await self._published.get(code, partial(self._with_audio, code))
        return published if published is not None and may_hear_recording(access, published[0]) else None

    async def _with_audio(self, code: str) -> Published | None:
        async with self._store.read() as db:
            recording = await archive.recording_by_code(db, code)
            episode = await archive.episode(db, recording.id) if recording else None
            if recording is None or episode is None or not await episodes.can_serve(db, recording, episode):
                return None
            return recording, episode

    async def may_finish_download(self, access: Access, published: Published) -> bool:
        """Return whether a download of this audio may go on. It may when newer audio has taken its place, unless
        something was redacted."""
        recording, episode = published
        now = await self.published(access, recording.code)
        if now is None or now[1].blob == episode.blob:
            return now is not None
        async with self._store.read() as db:
            return await episodes.can_serve(db, now[0], episode)

    async def view(self, access: Access) -> View:
        """Return what an open access shows besides its episodes."""
        key = _key(access)
        view = self._views.get(key)
        if view is None:
            async with self._store.read() as db:
                view = View(access.room, access.claim.family, await _face(db, access), key)
            self._views.put(key, view)
        return view

    async def feed_page(self, access: Access, number: int) -> EpisodePage | None:
        """Return one page of the feed; None when there is no such page."""
        return await self._page(access, number, FEED_ITEMS, held=False)

    async def web_page(self, access: Access, number: int, size: int) -> EpisodePage | None:
        """Return one page of the list of episodes, with those that are still held back from the feed."""
        return await self._page(access, number, size, held=True)

    async def _page(self, access: Access, number: int, size: int, *, held: bool) -> EpisodePage | None:
        key = (*_key(access), number, size, access.claim.reviews if held else None)
        page = self._pages.get(key)
        if page is None:
            async with self._store.read() as db:
                page = await episodes.read_page(db, access, number, size, held=held)
            self._pages.put(key, page)
        return page if page.published or number == 1 else None

    async def live(self, access: Access) -> tuple[Recording, ...]:
        """Return what is on the air and within reach: what is live, then what has ended and has no episode yet."""
        recordings = await self._on_air.get(rooms_of(access), partial(self._read_on_air, rooms_of(access)))
        return tuple(recording for recording in recordings if may_hear_recording(access, recording))

    async def _read_on_air(self, room_ids: Sequence[RoomId]) -> tuple[Recording, ...]:
        async with self._store.read() as db:
            return await episodes.read_on_air(db, room_ids)

    async def spoken_in(self, recording: Recording) -> tuple[Chunk, ...]:
        """Return the chunks of a recording in which several people speak; none of others."""
        return await self.chunks(recording) if len(recording.speakers) > 1 else ()

    async def chunks(self, recording: Recording) -> tuple[Chunk, ...]:
        async with self._store.read() as db:
            if kind_of(recording).stems:  # thousands, and the page is read again and again while the call is news
                return await self._store.chunks.of(db, recording.id)
            return await archive.chunks(db, recording.id)


def _key(access: Access) -> tuple[object, ...]:
    """Return a key that changes whenever a feed or page would (the room's revision is in it)."""
    return access.room, access.claim.family, access.claim.joined_at


async def _face(db: Connection, access: Access) -> Face:
    room_id = access.room.room_id
    name = await _shown(db, access, facts.room_name(await rooms.state(db, room_id, ROOM_NAME)))
    topic = await _shown(db, access, facts.topic(await rooms.state(db, room_id, "m.room.topic")))
    first = None
    if channel_title(name, None) == NAMELESS_ROOM:
        # The first of those that this access reaches: an earlier speaker's name is not public with the room.
        async for recording, _ in episodes.listed(db, access):
            first = recording.broadcaster_name
    return Face(name, topic, first, access.room.podcast)


async def _shown(db: Connection, access: Access, text: str | None) -> str | None:
    """Return a text of the room's state with user ids masked; None where nothing is left."""
    if text is None:
        return None
    servers = await rooms.servers(db, rooms_of(access)) if mxids.may_hold(text) else ()
    return clean_text(text, servers) or None
