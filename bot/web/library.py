"""Everything that the web reads of the archive: a room's name, its episodes, what is live. Read once, then cached."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from zoneinfo import ZoneInfo

from bot import facts
from bot.event_types import ROOM_NAME, ROOM_TOPIC
from bot.feeds import mxids
from bot.feeds.catalog import Face, Published
from bot.feeds.text import clean_text
from bot.feeds.titles import NAMELESS_ROOM, channel_title
from bot.recording.kinds import kind_of
from bot.web import episodes
from bot.web.access import Access, Family, may_hear_recording
from bot.web.caches import CommitCache, LruCache, OnceCache
from bot.web.documents import Block, DocumentName, Outline, may_exist
from bot.web.episodes import EpisodePage, FeedRows, Part, rooms_of
from storage import archive, calls, listings, originals, portraits, rooms
from storage.database import Connection
from storage.records import (
    BlobKey,
    CallEventKind,
    Chunk,
    Original,
    Recording,
    RecordingId,
    RecordingState,
    Room,
    RoomId,
    UserId,
)
from storage.store import Store


@dataclass(frozen=True, slots=True)
class View:
    """A room as one family, or one listener, may see it. Two views with the same key show the same."""

    room: Room
    family: Family
    face: Face
    key: tuple[object, ...]


class Library:
    """Everything that the web reads of the archive for an access that is open."""

    def __init__(self, store: Store, zone: ZoneInfo) -> None:
        self._store = store
        self._zone = zone
        self._published: CommitCache[str, Published | None] = CommitCache(self._commits)
        self._originals: CommitCache[RecordingId, Original | None] = CommitCache(self._commits)
        self._on_air: CommitCache[tuple[RoomId, ...], tuple[Recording, ...]] = CommitCache(self._commits)
        self._all_live: CommitCache[None, dict[RoomId, list[Recording]]] = CommitCache(self._commits)
        self._portraits: CommitCache[RoomId, dict[UserId, BlobKey]] = CommitCache(self._commits)
        self._neighbours: LruCache[tuple[object, ...], tuple[Published | None, Published | None]] = LruCache(1024)
        self._views: LruCache[tuple[object, ...], View] = LruCache(512)
        self._highest: LruCache[tuple[object, ...], dict[int, int]] = LruCache(4096)
        self._outlines: OnceCache[tuple[object, ...], Outline] = OnceCache(
            20_000, lambda outline: 1 + len(outline.blocks)
        )
        self._parts: LruCache[tuple[object, ...], EpisodePage] = LruCache(10_000, _weight)
        self._months: LruCache[tuple[object, ...], dict[tuple[int, int], int]] = LruCache(100_000, len)

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

    async def original(self, published: Published) -> Original | None:
        """Return the original sound of a recording; None where there is none of this episode's sound."""
        recording, episode = published
        original = await self._originals.get(recording.id, partial(self._read_original, recording.id))
        return original if original is not None and original.fingerprint == episode.fingerprint else None

    async def _read_original(self, recording_id: RecordingId) -> Original | None:
        async with self._store.read() as db:
            return await originals.of(db, recording_id)

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
        key = key_of(access)
        view = self._views.get(key)
        if view is None:
            async with self._store.read() as db:
                view = View(access.room, access.claim.family, await _face(db, access), key)
            self._views.put(key, view)
        return view

    async def may_have(self, access: Access, name: DocumentName) -> bool:
        """Return whether the feed may have a document of this name; what never was is told without any reading."""
        key = key_of(access)
        highest = self._highest.get(key)
        if highest is None:
            async with self._store.read() as db:
                parts = episodes.parts_of(access)
                highest = {part: await listings.highest_number(db, room_id) for room_id, part in parts.items()}
            self._highest.put(key, highest)
        return may_exist(name, highest, listings.BLOCK)

    async def outline(self, access: Access) -> Outline:
        """Return which documents the feed has."""
        return await self._outlines.get(key_of(access), partial(self._outline, access))

    async def _outline(self, access: Access) -> Outline:
        async with self._store.read() as db:
            return await episodes.read_outline(db, access)

    async def feed_rows(self, access: Access, blocks: Sequence[Block]) -> FeedRows:
        """Return the episodes of these blocks. They are not kept: the documents that are made of them are."""
        async with self._store.read() as db:
            return await episodes.read_blocks(db, access, blocks)

    async def web_page(self, access: Access, part: Part) -> EpisodePage | None:
        """Return a part of the list of episodes, with those that are still held back from the feed; None where the
        episode that it begins at is out of reach."""
        key = (*key_of(access), part, access.claim.reviews)
        page = self._parts.get(key)
        if page is None:
            async with self._store.read() as db:
                page = await episodes.read_part(db, access, part, self._zone)
            if page is None:
                return None
            self._parts.put(key, page)
        return page

    def has_web_page(self, access: Access, part: Part) -> bool:
        """Return whether `web_page` has this part without any reading."""
        return self._parts.get((*key_of(access), part, access.claim.reviews)) is not None

    async def months(self, access: Access) -> dict[tuple[int, int], int]:
        """Count the episodes on the pages of each year and month, the newest first."""
        key = (*key_of(access), access.claim.reviews)
        months = self._months.get(key)
        if months is None:
            async with self._store.read() as db:
                months = await episodes.count_months(db, access, self._zone)
            self._months.put(key, months)
        return months

    async def neighbours(self, access: Access, recording: Recording) -> tuple[Published | None, Published | None]:
        """Return the next newer and the next older episode on the pages."""
        key = (*key_of(access), access.claim.reviews, recording.id, recording.started_at)
        beside = self._neighbours.get(key)
        if beside is None:
            async with self._store.read() as db:
                beside = await episodes.neighbours(db, access, recording)
            self._neighbours.put(key, beside)
        return beside

    async def live(self, access: Access) -> tuple[Recording, ...]:
        """Return what is on the air and within reach: what is live, then what has ended and has no episode yet."""
        recordings = await self._on_air.get(rooms_of(access), partial(self._read_on_air, rooms_of(access)))
        return tuple(recording for recording in recordings if may_hear_recording(access, recording))

    async def _read_on_air(self, room_ids: Sequence[RoomId]) -> tuple[Recording, ...]:
        async with self._store.read() as db:
            return await episodes.read_on_air(db, room_ids)

    async def all_live(self) -> dict[RoomId, list[Recording]]:
        """Return what is live in all rooms, out of reach too; the newest of each room first."""
        return await self._all_live.get(None, self._read_all_live)

    async def _read_all_live(self) -> dict[RoomId, list[Recording]]:
        found = defaultdict[RoomId, list[Recording]](list)
        async with self._store.read() as db:
            for recording in reversed(await archive.open_recordings(db)):
                if recording.state is RecordingState.LIVE:
                    found[recording.room_id].append(recording)
        return dict(found)

    async def portraits(self, room_id: RoomId) -> dict[UserId, BlobKey]:
        """Return the pictures of a room's speakers; a speaker without one is absent."""
        return await self._portraits.get(room_id, partial(self._read_portraits, room_id))

    async def _read_portraits(self, room_id: RoomId) -> dict[UserId, BlobKey]:
        async with self._store.read() as db:
            return {user: blob for (_, user), blob in (await portraits.of_rooms(db, [room_id])).items()}

    async def chunks(self, recording: Recording) -> tuple[Chunk, ...]:
        async with self._store.read() as db:
            if kind_of(recording).stems:  # thousands, and the page is read again and again while the call is news
                return await self._store.chunks.of(db, recording.id)
            return await archive.chunks(db, recording.id)

    async def unheard(self, recording: Recording) -> Mapping[CallEventKind, int]:
        """Count the members of a call some of whose sound the recording lacks, by the reason; empty for other kinds."""
        if not kind_of(recording).stems:
            return {}
        async with self._store.read() as db:
            return await calls.unheard(db, recording.id)


def _blocks(outline: Outline) -> int:
    return 1 + len(outline.blocks)


def _weight(page: EpisodePage) -> int:
    return 1 + len(page.published)


def key_of(access: Access) -> tuple[object, ...]:
    """Return a key that changes whenever a feed or page would: each such change raises the room's revision."""
    return *key_for_all(access), access.claim.joined_at


def key_for_all(access: Access) -> tuple[object, ...]:
    """Return the part of the key that is the same for all listeners of a room."""
    room = access.room
    return room.room_id, room.key, room.revision, room.changed_at, room.visibility, access.claim.family


async def _face(db: Connection, access: Access) -> Face:
    room_id = access.room.room_id
    name = await _shown(db, access, facts.room_name(await rooms.state(db, room_id, ROOM_NAME)))
    topic = await _shown(db, access, facts.topic(await rooms.state(db, room_id, ROOM_TOPIC)))
    first = None
    if channel_title(name, None) == NAMELESS_ROOM:
        # The first of those that this access reaches: an earlier speaker's name is not public with the room.
        first = await episodes.first_speaker(db, access)
    return Face(name, topic, first, access.room.podcast)


async def _shown(db: Connection, access: Access, text: str | None) -> str | None:
    """Return a text of the room's state with user ids masked; None where nothing is left."""
    if text is None:
        return None
    servers = await rooms.servers(db, rooms_of(access)) if mxids.may_hold(text) else ()
    return clean_text(text, servers) or None
