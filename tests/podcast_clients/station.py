"""A room on the air: the real intake, workers, encoder and commands of a replay, with the real web server before it.

Listeners come through a `Gate` on loopback, which counts requests and can cut a download.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from bot.demo.slicing import Slicer, speech
from bot.feeds.addresses import token_for
from bot.settings import validate
from bot.web.server import WebServer
from storage import archive, rooms
from storage.records import Episode, EventId, HeardEvent, Position, Recording, Room, RoomId, UserId
from tests.line.replay import ALICE, BOT, INFO, SECRET, Replay, replaying
from tests.podcast_clients.gate import Gate

PACKETS_PER_SECOND = 50
CAROL = UserId("@carol:lab.local")
FIRST = 1  # generation of a personal address
TIMELINE = 100_000  # positions of invented recordings begin here


@dataclass(frozen=True, slots=True)
class Broadcast:
    """A finished broadcast and the file that its episode is."""

    recording: Recording
    episode: Episode
    audio: bytes

    @property
    def sha256(self) -> str:
        return sha256(self.audio).hexdigest()


@dataclass(slots=True)
class Live:
    """A broadcast that goes on."""

    started: HeardEvent
    slicer: Slicer
    spoken: int = 0  # seconds
    chunks: int = 0

    @property
    def room(self) -> RoomId:
        return self.started.room_id


class Station:
    """A bot in rooms of Alice's, and its web server."""

    def __init__(self, replay: Replay, gate: Gate, other_gate: Gate) -> None:
        self.replay = replay
        self.gate = gate
        self._other_gate = other_gate
        self.fresh = True
        self._public_url = gate.address
        self._server: WebServer | None = None
        self._events = 0

    @property
    def address(self) -> str:
        """The public address, without a slash at its end."""
        assert self._server is not None
        return self._server.address

    async def serve(self) -> None:
        """Start the web server, or start it anew; both gates lead to it."""
        await self.stop()
        tree = self.replay.settings.model_dump(exclude_unset=True)
        settings = validate(tree | {"web": {"public_url": self._public_url, "port": 0}})
        self._server = WebServer(self.replay.store, settings, lambda: self.fresh, self.replay.clock)
        await self._server.start()
        for gate in (self.gate, self._other_gate):
            gate.leads_to(f"http://127.0.0.1:{self._server.port}")

    async def move(self) -> None:
        """Change `web.public_url`. The old address goes on leading to the server."""
        self._public_url = self._other_gate.address
        await self.serve()

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.stop()

    # ---- what happens in rooms

    def event(self, room: RoomId, kind: str, content: Mapping[str, Any], **more: Any) -> HeardEvent:
        """Return a new event of Alice's, or of the `sender` that is given."""
        self._events += 1
        event_id = EventId(f"$event{self._events}")
        at = round(self.replay.clock().timestamp() * 1000)
        event = {"type": kind, "sender": ALICE, "event_id": event_id, "origin_server_ts": at, "content": content}
        return HeardEvent(room, event_id, event | more)

    async def room(self, name: str = "Kitchen radio", topic: str = "What we cook, and why") -> RoomId:
        """Let Alice open a room and invite the bot, which records there and has said so."""
        room = RoomId(f"!room{self._events}:lab.local")
        member = {"membership": "join"}
        state = (
            self.event(room, "m.room.create", {"room_version": "11"}, state_key=""),
            self.event(room, "m.room.member", {**member, "displayname": "Alice"}, state_key=ALICE),
            self.event(room, "m.room.power_levels", {"users": {ALICE: 100}}, state_key=""),
            self.event(room, "m.room.history_visibility", {"history_visibility": "shared"}, state_key=""),
            self.event(room, "m.room.name", {"name": name}, state_key=""),
            self.event(room, "m.room.topic", {"topic": topic}, state_key=""),
            self.event(room, "m.room.member", member, state_key=BOT, sender=BOT),
        )
        await self.replay.join(room, state)
        return room

    async def broadcast(self, room: RoomId, seconds: int = 4) -> Broadcast:
        """Let Alice speak, and return the episode; an hour passes before."""
        self.replay.clock.pass_by(3600)
        return await self.end(await self.go_live(room, seconds))

    async def session(self, room: RoomId, seconds: int = 3) -> EventId:
        """Let Alice and Carol say a voice message each, let their session end, and return its id."""
        self.replay.clock.pass_by(3600)
        member = {"membership": "join", "displayname": "Carol"}
        messages = [
            self.event(room, "m.room.member", member, state_key=CAROL, sender=CAROL),
            self._voice_message(room, ALICE, seconds),
            self._voice_message(room, CAROL, seconds),
        ]
        await self.replay.tell(room, messages)
        await self.replay.pass_by(self.replay.settings.recording.session_gap_s + 1)
        return messages[1].event_id

    def _voice_message(self, room: RoomId, sender: UserId, seconds: int) -> HeardEvent:
        self._events += 1
        slicer = Slicer(self._events, chunk_seconds=1000)
        first = self._events % 20 * PACKETS_PER_SECOND
        slicer.feed(speech(2)[first : first + seconds * PACKETS_PER_SECOND])
        sound = slicer.end().data
        content = {"msgtype": "m.audio", "body": "voice", "org.matrix.msc3245.voice": {}, "url": self._upload(sound)}
        return self.event(room, "m.room.message", content, sender=sender)

    async def published(self, started: EventId) -> Broadcast:
        """Return an episode as it is now."""
        recording, episode = await self.replay.recording(started), await self.replay.episode(started)
        assert episode is not None
        return Broadcast(recording, episode, (await self.replay.audio(started)).read_bytes())

    async def publish(self, room: RoomId) -> str:
        """Make the room's feed public, and return its address."""
        await self.replay.ask(room, "!aircheck publish public")
        return f"{self.address}/r/{(await self._room(room)).key}/feed.xml"

    async def personal_feed(self, room: RoomId) -> str:
        """Let Alice ask for her own address, and return it."""
        await self.replay.ask(room, "!aircheck feed")
        return f"{self.address}/p/{token_for(SECRET, room, ALICE, FIRST)}/feed.xml"

    async def rename(self, broadcast: Broadcast, title: str) -> Broadcast:
        """Give the episode another title, which is written into its file."""
        await self.replay.ask(broadcast.recording.room_id, f"!aircheck title {broadcast.recording.code} {title}")
        changed = await self.published(broadcast.recording.event_id)
        assert changed.audio != broadcast.audio
        return changed

    async def leave(self, room: RoomId) -> None:
        """Let Alice leave."""
        await self.replay.tell(room, [self.event(room, "m.room.member", {"membership": "leave"}, state_key=ALICE)])

    async def go_live(self, room: RoomId, seconds: int = 20) -> Live:
        """Let Alice begin a broadcast that goes on after so many seconds of sound."""
        started = self.event(room, INFO, _said("started"), state_key=ALICE)
        live = Live(started, Slicer(self._events, chunk_seconds=1))
        await self.replay.tell(room, [started])
        await self.speak(live, seconds)
        return live

    async def speak(self, live: Live, seconds: int) -> None:
        """Let her go on for so many seconds."""
        packets = speech(1)[live.spoken * PACKETS_PER_SECOND : (live.spoken + seconds) * PACKETS_PER_SECOND]
        slices = live.slicer.feed(packets)
        live.spoken += seconds
        await self.replay.tell(live.room, [self._chunk(live, each.data) for each in slices])

    async def end(self, live: Live) -> Broadcast:
        """Let her stop, and return the episode."""
        chunk = self._chunk(live, live.slicer.end().data)
        about = {"last_chunk_sequence": live.chunks, "m.relates_to": _about(live.started.event_id)}
        stopped = self.event(live.room, INFO, {**_said("stopped"), **about}, state_key=ALICE)
        await self.replay.tell(live.room, (chunk, stopped))
        return await self.published(live.started.event_id)

    def _chunk(self, live: Live, data: bytes) -> HeardEvent:
        live.chunks += 1
        content = {
            "msgtype": "m.audio",
            "url": self._upload(data),
            "m.relates_to": _about(live.started.event_id),
            "io.element.voice_broadcast_chunk": {"sequence": live.chunks},
        }
        return self.event(live.room, "m.room.message", content)

    def _upload(self, data: bytes) -> str:
        """Put a file on the homeserver, and return its address."""
        self._events += 1
        mxc = f"mxc://lab.local/sound{self._events}"
        self.replay.serves({mxc: data})
        return mxc

    async def fill(self, model: Broadcast, count: int) -> None:
        """Add so many newer recordings to the room, an hour apart, each with the file of this one."""
        async with self.replay.store.write() as db:
            for number in range(1, count + 1):
                self.replay.clock.pass_by(3600)
                fresh = replace(
                    model.recording,
                    code="",
                    event_id=EventId(f"$filled{number}"),
                    started_at=model.recording.started_at + timedelta(hours=number),
                    position=Position(TIMELINE + number),
                    title=f"Part {number}",
                )
                recording = await archive.add_recording(db, fresh)
                episode = replace(model.episode, recording_id=recording.id, guid=f"urn:filled:{number}")
                await archive.save_episode(db, episode)
            await rooms.touch(db, model.recording.room_id, self.replay.clock())

    async def _room(self, room: RoomId) -> Room:
        async with self.replay.store.read() as db:
            found = await rooms.room(db, room)
        assert found is not None
        return found


def _said(state: str) -> dict[str, Any]:
    return {"state": state, "device_id": "D", "chunk_length": 120}


def _about(started: EventId) -> dict[str, str]:
    return {"rel_type": "m.reference", "event_id": started}


@asynccontextmanager
async def on_the_air(directory: Path, **changed: Mapping[str, Any]) -> AsyncIterator[Station]:
    """Run a station over a new store in `directory`. Sections of the settings may be changed."""
    async with (
        Gate.open() as gate,
        Gate.open(gate.asked) as other_gate,
        replaying(directory, changed=changed, originals=True) as replay,
    ):
        station = Station(replay, gate, other_gate)
        await station.serve()
        try:
            yield station
        finally:
            await station.stop()
