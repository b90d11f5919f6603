"""A store with rooms, people and episodes, and the real server over it."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from aiohttp import ClientSession

from bot.feeds.addresses import look_up_hash, token_for
from bot.intake import roomstate
from bot.settings import Settings, validate
from bot.web.server import WebServer
from storage import archive, rooms
from storage.place import Place
from storage.records import (
    BlobKey,
    ChunkFacts,
    ChunkState,
    Container,
    Credit,
    DurationMs,
    EndedBy,
    Episode,
    EventId,
    HistoryVisibility,
    Listener,
    Position,
    Recording,
    RecordingKind,
    Room,
    RoomId,
    Timing,
    UserId,
    Visibility,
    to_samples,
)
from storage.store import Store
from tests.clock import Clock
from tests.factories import a_chunk, a_recording, a_room

NOW = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)
SECRET = bytes(32)
ALICE, BOB, MOD = UserId("@alice:hs"), UserId("@bob:hs"), UserId("@mod:hs")


class World:
    """Rooms and episodes behind a running web server; `fresh` and `healthy` stand for the rest of the bot."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.settings = settings
        self.fresh = True
        self.healthy = True
        self.heard_at: datetime | None = None
        self.events = 0  # about recordings
        self.changes = 0  # of state
        self.clock = Clock(NOW)
        self.uptime: Callable[[], float] = time.monotonic
        self.server = WebServer(
            store, settings, lambda: self.fresh, self.clock, lambda: self.heard_at, lambda: self.uptime()
        )

    async def room(self, name: str | None = "Kitchen radio", **changes: Any) -> Room:
        self.events += 1
        room = a_room(RoomId(f"!room{self.events}:hs"), at=NOW, **changes)
        async with self.store.write() as db:
            await rooms.save_room(db, room)
        if name is not None:
            await self.state(room, "m.room.name", {"name": name})
        return room

    async def change(self, room: Room, **changes: Any) -> Room:
        """Change a room as a command would."""
        async with self.store.write() as db:
            now = await rooms.room(db, room.room_id)
            assert now is not None
            changed = replace(now, **changes)
            await rooms.save_room(db, changed)
            await rooms.touch(db, room.room_id, NOW)
        return changed

    async def state(
        self, room: Room, kind: str, content: dict[str, Any], key: str = "", at: int = 0, sender: UserId = MOD
    ) -> None:
        """Let the bot hear a state event, which the intake has to keep: pages show nothing else of a room."""
        self.changes += 1
        event = {"type": kind, "state_key": key, "sender": sender, "content": content, "event_id": f"$s{self.changes}"}
        async with self.store.write() as db:
            await roomstate.apply_state(db, room.room_id, event, Position(at), self.clock())
            kept = await rooms.state(db, room.room_id, kind, key)
        assert kept is not None, f"the intake keeps no {kind}"
        assert kept.content.keys() == content.keys(), f"the intake keeps only {[*kept.content]} of {kind}"

    async def member(self, room: Room, user: UserId, membership: str = "join", at: int = 0) -> None:
        await self.state(room, "m.room.member", {"membership": membership}, user, at)

    async def listener(self, room: Room, user: UserId, generation: int = 0) -> str:
        """Give a user a personal address and return its token."""
        token = token_for(SECRET, room.room_id, user, generation)
        async with self.store.write() as db:
            await rooms.save_listener(db, Listener(room.room_id, user, generation, look_up_hash(token)))
        return token

    async def recording(self, room: Room, **changes: Any) -> Recording:
        self.events += 1
        began = NOW + timedelta(hours=self.events)
        recording = a_recording(
            at=began,
            broadcaster=ALICE,
            room_id=room.room_id,
            event_id=EventId(f"$event{self.events}"),
            position=Position(self.events),
            history_visibility=HistoryVisibility.SHARED,
            public=room.visibility is Visibility.PUBLIC,
            broadcaster_name="Alice",
        )
        async with self.store.write() as db:
            return await archive.add_recording(db, replace(recording, **changes))

    async def episode(self, recording: Recording, audio: bytes = b"ID3 sound", **changes: Any) -> Episode:
        blob = BlobKey(sha256(audio).hexdigest())
        part = self.store.blobs.part(blob)
        part.write_bytes(audio)
        episode = Episode(
            recording_id=recording.id,
            guid=f"guid-{recording.id}",
            blob=blob,
            bytes=len(audio),
            samples=to_samples(184_000),
            made_at=NOW + timedelta(days=1),
            published_at=NOW + timedelta(days=1),
        )
        async with self.store.blobs.arriving((part, blob)) as new, self.store.write() as db:
            await new.keep(db)
            await archive.save_episode(db, replace(episode, **changes))
            await rooms.touch(db, recording.room_id, NOW)
        return replace(episode, **changes)

    async def look(self, code: str) -> Recording:
        """Return the recording of this code as it is stored."""
        async with self.store.read() as db:
            recording = await archive.recording_by_code(db, code)
        assert recording is not None
        return recording

    async def save(self, recording: Recording) -> None:
        async with self.store.write() as db:
            await archive.save_recording(db, recording)
            await rooms.touch(db, recording.room_id, NOW)

    async def chunk(self, recording: Recording, sequence: int, state: ChunkState, seconds: int = 60) -> None:
        """Add a chunk of so many announced seconds; a stored one is as long."""
        self.events += 1
        stored = state is ChunkState.STORED
        chunk = a_chunk(
            event_id=EventId(f"$chunk{self.events}"),
            recording_id=recording.id,
            position=Position(self.events),
            sequence=sequence,
            state=state,
            announced_ms=DurationMs(seconds * 1000),
            blob=BlobKey(f"{self.events:064}") if stored else None,
            facts=ChunkFacts(Container.WAV, Timing.EXACT, to_samples(seconds * 1000), 48_000, 1) if stored else None,
        )
        async with self.store.write() as db:
            await archive.save_chunks(db, [chunk])

    async def session(self, room: Room, *names: str | None, **changes: Any) -> Recording:
        """Add a session of voice messages, each a minute long, by people of these names in turn."""
        users = {name: UserId(f"@user{number}:hs") for number, name in enumerate(dict.fromkeys(names))}
        heard = tuple(Credit(user, name) for name, user in users.items())
        about = {"kind": RecordingKind.VOICE_MESSAGES, "ended_by": EndedBy.GAP, "speakers": heard}
        first = {"broadcaster": heard[0].user_id, "broadcaster_name": heard[0].name}
        recording = await self.recording(room, **(about | first | changes))
        for name in names:
            self.events += 1
            message = a_chunk(
                event_id=EventId(f"$message{self.events}"),
                recording_id=recording.id,
                position=Position(self.events),
                sender=users[name],
                sender_name=name,
                sequence=None,
                blob=BlobKey(f"{self.events:064}"),
                facts=ChunkFacts(Container.WAV, Timing.EXACT, to_samples(60_000), 48_000, 1),
            )
            async with self.store.write() as db:
                await archive.save_chunks(db, [message])
        return recording


def settings_with(**sections: dict[str, Any]) -> Settings:
    matrix = {"homeserver": "https://hs", "user_id": "@bot:hs"}
    return validate({"matrix": matrix, "web": {"port": 0}, **sections})


@asynccontextmanager
async def world_of(directory: Path, **sections: Any) -> AsyncIterator[tuple[World, ClientSession]]:
    """Make the world and a client of its server."""
    media_url = sections.get("storage", {}).get("media_url")
    store = await Store.own(Place(directory, media_url=media_url))
    world = World(store, settings_with(**sections))
    await world.server.start(lambda: world.healthy)
    try:
        plain = {"Accept-Encoding": "identity"}
        address = f"http://127.0.0.1:{world.server.port}"
        async with ClientSession(address, headers=plain, auto_decompress=False) as client:
            yield world, client
    finally:
        await world.server.stop()
        await store.close()
