"""What the web reads of the archive: the claim behind an address, and what a room shows to whom."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from hashlib import sha256

from bot.feeds.addresses import look_up_hash
from bot.feeds.catalog import Face, Published
from bot.web.access import Access, Claim, Family, audio_holds, decide, may_hear_it
from bot.web.memo import Memo, Recent, Version
from storage import archive, rooms
from storage.database import Connection
from storage.records import Chunk, Recording, RecordingState, Room
from storage.store import Store

HELD_WITHIN = 100
"""How many of a room's newest recordings are searched for episodes that no feed lists yet."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """All of one room that has audio, newest first: what its feeds list, and what they still hold back."""

    room: Room
    name: str | None
    topic: str | None
    listed: tuple[Published, ...]
    held: tuple[Published, ...]


@dataclass(frozen=True, slots=True)
class View:
    """A catalog as one family, or one listener, may have it. Two views with one fingerprint say the same."""

    catalog: Catalog
    family: Family
    face: Face
    listed: tuple[Published, ...]
    shown: tuple[Published, ...]  # on pages: with what is held
    fingerprint: str


class Library:
    def __init__(self, store: Store, freshness: Callable[[], bool], version: Version) -> None:
        self._store = store
        self._freshness = freshness
        self._claims: Memo[tuple[Family, str], Claim] = Memo(version)
        self._published: Memo[str, Published | None] = Memo(version)
        self._catalogs: Recent[str, Catalog] = Recent(64)
        self._views: Recent[tuple[object, ...], View] = Recent(512)

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
            return Claim(Family.PUBLIC, await rooms.room_by_key(db, key))

    async def _personal_claim(self, digest: str) -> Claim:
        async with self._store.read() as db:
            listener = await rooms.listener_by_hash(db, digest)
            if listener is None:
                return Claim(Family.PERSONAL, None)
            room = await rooms.room(db, listener.room_id)
            member = await rooms.state(db, listener.room_id, "m.room.member", listener.user_id)
            return Claim(Family.PERSONAL, room, listener, member)

    async def published(self, access: Access, code: str) -> Published | None:
        """The recording of this code with its audio, if this access reaches it now."""
        found = await self._published.get(code, partial(self._with_audio, code))
        return found if found is not None and may_hear_it(access, found[0]) else None

    async def _with_audio(self, code: str) -> Published | None:
        async with self._store.read() as db:
            recording = await archive.recording_by_code(db, code)
            episode = await archive.episode(db, recording.id) if recording else None
            if recording is None or episode is None or not await _holds(db, recording):
                return None
            return recording, episode

    async def view(self, access: Access) -> View:
        """What an open access shows."""
        claim, room = access.claim, access.room
        since = claim.member.position if claim.member else None
        key = (room.room_id, _state_of(room), claim.family, since)
        view = self._views.get(key)
        if view is None:
            view = _view(await self._catalog(room), access)
            self._views.put(key, view)
        return view

    async def _catalog(self, room: Room) -> Catalog:
        catalog = self._catalogs.get(room.room_id)
        if catalog is None or _state_of(catalog.room) != _state_of(room):
            async with self._store.read() as db:
                catalog = await _read_catalog(db, room)
            self._catalogs.put(room.room_id, catalog)
        return catalog

    async def live(self, access: Access) -> tuple[Recording, ...]:
        """What runs now and is within reach, newest first."""
        async with self._store.read() as db:
            running = await archive.open_recordings(db, access.room.room_id)
        return tuple(one for one in reversed(running) if one.state is RecordingState.LIVE and may_hear_it(access, one))

    async def chunks(self, recording: Recording) -> tuple[Chunk, ...]:
        async with self._store.read() as db:
            return await archive.chunks(db, recording.id)


def _state_of(room: Room) -> tuple[int, datetime]:
    """Another one after each change that a feed or page shows."""
    return room.revision, room.changed_at


async def _holds(db: Connection, recording: Recording) -> bool:
    if recording.state in (RecordingState.COMPLETE, RecordingState.INCOMPLETE):
        return True
    return audio_holds(recording, await archive.chunks(db, recording.id))


async def _read_catalog(db: Connection, room: Room) -> Catalog:
    listed = await archive.published(db, room.room_id)
    in_feed = {recording.id for recording, _ in listed}
    held = []
    for recording in await archive.recordings(db, room.room_id, HELD_WITHIN):
        if recording.state is RecordingState.INCOMPLETE and recording.id not in in_feed:
            episode = await archive.episode(db, recording.id)
            if episode is not None:
                held.append((recording, episode))
    return Catalog(
        room=room,
        name=await _text(db, room, "m.room.name", "name"),
        topic=await _text(db, room, "m.room.topic", "topic"),
        listed=tuple([pair for pair in listed if await _holds(db, pair[0])]),
        held=tuple(held),
    )


async def _text(db: Connection, room: Room, kind: str, key: str) -> str | None:
    event = await rooms.state(db, room.room_id, kind)
    text = event.content.get(key) if event else None
    return text if isinstance(text, str) and text.strip() else None


def _view(catalog: Catalog, access: Access) -> View:
    listed = tuple(pair for pair in catalog.listed if may_hear_it(access, pair[0]))
    held = tuple(pair for pair in catalog.held if may_hear_it(access, pair[0]))
    shown = tuple(sorted(listed + held, key=lambda pair: (pair[0].started_at, pair[0].number), reverse=True))
    # Of those that this one may hear: the name of an earlier speaker is not public with the room.
    first = shown[-1][0].broadcaster_name if shown else None
    heard = [(recording.id, episode.blob) for recording, episode in listed]
    content = (catalog.room.room_id, _state_of(catalog.room), access.claim.family, first, heard)
    return View(
        catalog=catalog,
        family=access.claim.family,
        face=Face(catalog.name, catalog.topic, first),
        listed=listed,
        shown=shown,
        fingerprint=sha256(repr(content).encode("utf-8", "surrogatepass")).hexdigest(),
    )
