"""The pipeline without a homeserver: events go into the journal, media lie in a folder, all between is real."""

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain, cycle, islice
from pathlib import Path
from typing import TypeVar

from bot import memory, orders
from bot.audio.ffmpeg import Ffmpeg
from bot.demo.slicing import PACKET, Slice, Slicer, speech
from bot.process import utc_now
from bot.recorder import Recorder, limits_of
from bot.settings import Settings, validate
from bot.web.server import WebServer
from bot.worker.attempts import Handler
from bot.worker.covering import Covering
from bot.worker.encoding import Encoding
from bot.worker.fetching import Fetching
from bot.worker.finishing import Finishing
from bot.worker.forgetting import Forgetting
from bot.worker.lanes import Worker
from bot.worker.tracks import Tracks
from storage import archive, journal, rooms
from storage import tracks as stored_tracks
from storage.records import (
    SAMPLE_RATE,
    DurationMs,
    Episode,
    EventId,
    HeardEvent,
    Job,
    JobKind,
    Json,
    MediaSource,
    Position,
    Room,
    RoomId,
    Visibility,
)
from storage.store import Store

INFO_TYPE = "io.element.voice_broadcast_info"
SPEAKER = "@alice:bench"
WAIT_S = 900

T = TypeVar("T")


@dataclass(frozen=True)
class Fetched:
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Uploaded:
    mxc: str
    duration_ms: DurationMs
    bytes: int


class Media:
    """The homeserver's media: files that are copied instead of downloaded."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, data: bytes) -> str:
        """Store a file and return its mxc address."""
        (self._folder / name).write_bytes(data)
        return f"mxc://bench/{name}"

    async def fetch(self, source: MediaSource, part: Path, max_bytes: int) -> Fetched:
        return await asyncio.to_thread(self._copy, source, part)

    def _copy(self, source: MediaSource, part: Path) -> Fetched:
        shutil.copyfile(self._folder / source.mxc.rpartition("/")[2], part)
        data = part.read_bytes()
        return Fetched(len(data), hashlib.sha256(data).hexdigest())


class Broadcast:
    """A broadcast in a room of its own, as Element Web sends it."""

    def __init__(self, pipeline: "Pipeline", name: str) -> None:
        self.room_id = RoomId(f"!{name}:bench")
        self.id = EventId(f"${name}")
        self.sequence = 0  # of the last chunk that was announced
        self.uploads = 0
        self._pipeline = pipeline
        self._name = name
        self._relation = {"rel_type": "m.reference", "event_id": self.id}

    async def start(self, chunk_seconds: int, visibility: Visibility = Visibility.PRIVATE) -> Room:
        """Make the room and send the started event."""
        now = datetime.now(UTC)
        room = replace(rooms.new_room(self.room_id, now), joined=True, recording_on=True, visibility=visibility)
        async with self._pipeline.store.write() as db:
            await rooms.save_room(db, room)
        content = {"device_id": "D", "state": "started", "chunk_length": chunk_seconds}
        await self._hear(self.id, INFO_TYPE, content, SPEAKER)
        return room

    async def send(self, piece: Slice) -> None:
        """Upload a chunk and send its event."""
        await self.announce(self.upload(piece))

    def upload(self, piece: Slice) -> Uploaded:
        """Upload a chunk without its event."""
        self.uploads += 1
        mxc = self._pipeline.media.put(f"{self._name}-{self.uploads}", piece.data)
        return Uploaded(mxc, piece.duration_ms, len(piece.data))

    async def announce(self, media: Uploaded) -> None:
        """Send the event of the next chunk."""
        self.sequence += 1
        content = {
            "msgtype": "m.audio",
            "body": "Voice message",
            "url": media.mxc,
            "info": {"duration": media.duration_ms, "mimetype": "audio/ogg", "size": media.bytes},
            "m.relates_to": self._relation,
            "io.element.voice_broadcast_chunk": {"sequence": self.sequence},
        }
        await self._hear(EventId(f"{self.id}-{self.sequence}"), "m.room.message", content)

    async def stop(self) -> None:
        content = {
            "device_id": "D",
            "state": "stopped",
            "last_chunk_sequence": self.sequence,
            "m.relates_to": self._relation,
        }
        await self._hear(EventId(f"{self.id}-stopped"), INFO_TYPE, content, SPEAKER)

    async def published(self) -> Episode:
        """Wait for the episode that feeds list, and return it."""
        return await self._pipeline.published(self.id)

    async def _hear(self, event_id: EventId, kind: str, content: Json, state_key: str | None = None) -> None:
        more = {} if state_key is None else {"state_key": state_key}
        await self._pipeline.hear(self.room_id, event_id, kind, content, SPEAKER, **more)


class Session:
    """Voice messages in a room of their own, as any client sends them. The first one's event names the recording."""

    def __init__(self, pipeline: "Pipeline", name: str) -> None:
        self.room_id = RoomId(f"!{name}:bench")
        self.id = EventId(f"${name}-1")
        self.count = 0
        self._pipeline = pipeline
        self._name = name

    async def start(self) -> None:
        """Make the room, and record its voice messages."""
        room = replace(
            rooms.new_room(self.room_id, datetime.now(UTC)), joined=True, recording_on=True, messages_since=Position(0)
        )
        async with self._pipeline.store.write() as db:
            await rooms.save_room(db, room)

    async def send(self, data: bytes, duration_ms: DurationMs, sender: str) -> datetime:
        """Upload and send a message; return when it was sent."""
        self.count += 1
        mxc = self._pipeline.media.put(f"{self._name}-{self.count}", data)
        content = {
            "msgtype": "m.audio",
            "body": "Voice message",
            "url": mxc,
            "info": {"duration": duration_ms, "mimetype": "audio/ogg", "size": len(data)},
            "org.matrix.msc3245.voice": {},
        }
        event_id = EventId(f"${self._name}-{self.count}")
        return await self._pipeline.hear(self.room_id, event_id, "m.room.message", content, sender)


class Pipeline:
    """Recorder and workers over one store, with the web server beside them."""

    def __init__(self, store: Store, media: Media, covering: Covering, web: WebServer) -> None:
        self.store = store
        self.media = media
        self.covering = covering
        self.web = web
        self._taken_in = 0
        self._news = asyncio.Condition()

    async def fetched(self) -> None:
        """Count a finished FETCH job. Counted here, for queries of the store would be measured too."""
        async with self._news:
            self._taken_in += 1
            self._news.notify_all()

    async def encoded(self) -> None:
        """Count a finished ENCODE job."""
        async with self._news:
            self._news.notify_all()

    async def until_made(self, recording_id: EventId, frames: int) -> None:
        """Wait until a recording's track has so many frames."""

        async def check() -> bool | None:
            async with self.store.read() as db:
                recording = await archive.recording_by_event(db, recording_id)
                assert recording is not None
                return bool(await stored_tracks.extents_of(db, recording.id, frames - 1, frames)) or None

        if frames:
            await self.until(check)

    async def until_encoded(self, broadcast: "Broadcast", samples: int) -> None:
        """Wait until so much of a broadcast is in its track."""

        async def check() -> bool:
            async with self.store.read() as db:
                recording = await archive.recording_by_event(db, broadcast.id)
                assert recording is not None
                return sum(cut.samples for cut in await stored_tracks.cuts(db, recording.id) if cut.gains) >= samples

        async with asyncio.timeout(WAIT_S), self._news:
            while not await check():
                await self._news.wait()

    async def until_fetched(self, chunks: int) -> None:
        """Wait until so many chunks of all broadcasts are handled."""
        async with asyncio.timeout(WAIT_S), self._news:
            await self._news.wait_for(lambda: self._taken_in >= chunks)

    def broadcast(self, name: str) -> Broadcast:
        return Broadcast(self, name)

    def session(self, name: str) -> Session:
        return Session(self, name)

    async def hear(
        self, room_id: RoomId, event_id: EventId, kind: str, content: Json, sender: str, **more: str
    ) -> datetime:
        """Put an event into the journal; return when it was sent."""
        now = datetime.now(UTC)
        event = {
            "type": kind,
            "event_id": event_id,
            "sender": sender,
            "content": content,
            "origin_server_ts": int(now.timestamp() * 1000),
            **more,
        }
        async with self.store.write() as db:
            await journal.add(db, HeardEvent(room_id, event_id, event), now)
        return now

    async def published(self, recording_id: EventId) -> Episode:
        """Wait for the episode that feeds list, and return it."""

        async def check() -> Episode | None:
            async with self.store.read() as db:
                recording = await archive.recording_by_event(db, recording_id)
                episode = await archive.episode(db, recording.id) if recording else None
            return episode if episode is not None and episode.published_at is not None else None

        return await self.until(check)

    async def until(self, check: Callable[[], Awaitable[T | None]]) -> T:
        """Run a check after each commit until it returns something, and return that."""
        with self.store.changes.subscribe() as changed:
            async with asyncio.timeout(WAIT_S):
                while True:
                    changed.clear()
                    if (found := await check()) is not None:
                        return found
                    await changed.wait()


def settings_for(directory: Path, **sections: Json) -> Settings:
    return validate(
        sections
        | {
            "matrix": {"homeserver": "http://bench", "user_id": "@bot:bench"},
            "storage": {"directory": str(directory), "min_free_bytes": 0},
            "web": {"port": 0} | dict(sections.get("web", {})),
        }
    )


@asynccontextmanager
async def running(directory: Path, **sections: Json) -> AsyncIterator[Pipeline]:
    """Start a pipeline over an empty store in `directory`, with these sections of settings."""
    settings, clock = settings_for(directory / "data", **sections), utc_now
    ffmpeg = await asyncio.to_thread(Ffmpeg.find)
    folder = directory / "media"
    folder.mkdir()
    async with AsyncExitStack() as stack:
        store = await Store.own(settings.storage.place)
        stack.push_async_callback(store.close)
        media = Media(folder)
        recorder = Recorder(store, limits_of(settings), clock)
        covering = Covering(store, ffmpeg, download=media.fetch, clock=clock)
        server = WebServer(store, settings, lambda: True)
        pipeline = Pipeline(store, media, covering, server)
        worker = Worker(store, _handlers(pipeline, settings, recorder, ffmpeg, clock), clock)
        await server.start()
        stack.push_async_callback(server.stop)
        await worker.start()
        stack.push_async_callback(worker.stop, 1)
        recording = asyncio.create_task(recorder.run())
        stack.push_async_callback(_end, recorder, recording)
        stack.enter_context(memory.searched_briefly())
        yield pipeline


def _handlers(
    pipeline: Pipeline, settings: Settings, recorder: Recorder, ffmpeg: Ffmpeg, clock: Callable[[], datetime]
) -> dict[JobKind, Handler]:
    store, download, apply = pipeline.store, pipeline.media.fetch, recorder.apply
    tracks = Tracks(store, settings, ffmpeg, clock)
    fetching = Fetching(store, settings, ffmpeg, download=download, apply=apply, clock=clock)
    encoding = Encoding(store, tracks, clock, listened=pipeline.web.listening.is_listened_anywhere)

    async def fetch(job: Job) -> None:
        await fetching(job)
        await pipeline.fetched()

    async def encode(job: Job) -> None:
        await encoding(job)
        await pipeline.encoded()

    return {
        orders.Fetch.kind: fetch,
        orders.Encode.kind: encode,
        orders.Finish.kind: Finishing(store, settings, tracks, cover=pipeline.covering.of, apply=apply, clock=clock),
        orders.Cover.kind: pipeline.covering,
        orders.Forget.kind: Forgetting(store),
        orders.Tick.kind: recorder.tick,
        orders.Notice.kind: _ignore,
        orders.React.kind: _ignore,
        orders.KeepOriginal.kind: _ignore,
        orders.MakePortrait.kind: _ignore,
        orders.Pin.kind: _ignore,
        orders.ShowRoom.kind: _ignore,
        orders.Reread.kind: _ignore,
    }


async def _ignore(job: Job) -> None:
    """Ignore a job that needs a homeserver."""


async def _end(recorder: Recorder, following: "asyncio.Task[None]") -> None:
    recorder.stop()
    await following


def slices(seconds: float, chunk_seconds: int, serial: int = 1) -> list[Slice]:
    """Cut the shipped speech, repeated, as Element Web cuts it; the last slice ends the run."""
    run = Slicer(serial, chunk_seconds)
    packets = islice(cycle(chain(speech(1), speech(2))), round(seconds * SAMPLE_RATE / PACKET))
    return [*run.feed(list(packets)), run.end()]
