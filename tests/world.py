"""A world without homeserver and web: a room's events go in, and everything that follows is done, or dies halfway."""

import asyncio
import hashlib
import io
import wave
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bot import orders
from bot.audio.ffmpeg import Ffmpeg
from bot.commands.grammar import Grammar
from bot.errors import GiveUp
from bot.intake.intake import Intake
from bot.keeper import Keeper
from bot.matrix.batch import RoomBatch, SyncBatch
from bot.matrix.media import FetchedMedia
from bot.recorder import Recorder
from bot.settings import Settings, validate
from bot.sound_handlers import SoundParts, sound_handlers
from bot.worker.attempts import Attempts, Handler
from bot.worker.forgetting import Forgetting
from bot.worker.rereading import Rereading
from bot.worker.room_history import RoomHistory
from storage import archive, jobs, rooms
from storage.database import Connection
from storage.place import Place
from storage.records import (
    BlobKey,
    EventId,
    HeardEvent,
    Job,
    JobKind,
    Json,
    MediaSource,
    Position,
    Recording,
    RecordingId,
    RoomId,
    SessionId,
    UserId,
)
from storage.store import Store
from tests.blobs import folder_of
from tests.clock import Clock
from tests.recording.world import limits

ROOM = RoomId("!room:hs")
BOT = UserId("@bot:hs")
ALICE = UserId("@alice:hs")
START = EventId("$start")
INFO = "io.element.voice_broadcast_info"
PREFIX = "!aircheck"
DONE_HERE = (
    orders.Fetch.kind,
    orders.Encode.kind,
    orders.Finish.kind,
    orders.Cover.kind,
    orders.Forget.kind,
    orders.KeepOriginal.kind,
    orders.CheckEpisode.kind,
    orders.MakePortrait.kind,
    orders.Reread.kind,
    orders.Tick.kind,
    orders.End.kind,
)

AnOrder = TypeVar("AnOrder", bound=orders.Order)


def heard(event_id: str, kind: str, content: Any, **more: Any) -> HeardEvent:
    """Return an event of Alice's; a state event if `state_key` is given."""
    event = {"type": kind, "sender": ALICE, "event_id": event_id, "origin_server_ts": 1, "content": content}
    return HeardEvent(ROOM, EventId(event_id), event | more)


def info(event_id: str, state: str, **content: Any) -> HeardEvent:
    relation = {} if state == "started" else {"m.relates_to": {"rel_type": "m.reference", "event_id": START}}
    said = {"state": state, "device_id": "D", "chunk_length": 120}
    return heard(event_id, INFO, said | relation | content, state_key=ALICE)


def chunk(event_id: str, sequence: int) -> HeardEvent:
    content = {
        "msgtype": "m.audio",
        "url": f"mxc://hs/{event_id[1:]}",
        "m.relates_to": {"rel_type": "m.reference", "event_id": START},
        "io.element.voice_broadcast_chunk": {"sequence": sequence},
    }
    return heard(event_id, "m.room.message", content)


def sealed(event_id: str, session: str = "session") -> HeardEvent:
    """Return an encrypted event that refers to Alice's broadcast and whose key has not come."""
    relation = {"rel_type": "m.reference", "event_id": START}
    content = {"ciphertext": "…", "m.relates_to": relation}
    event = heard(event_id, "m.room.encrypted", content).event
    return HeardEvent(
        ROOM, EventId(event_id), event, encrypted=True, clear_relation=relation, session_id=SessionId(session)
    )


def state(kind: str, content: Json, key: str = "", sender: str = ALICE, event_id: str | None = None) -> dict[str, Any]:
    name = event_id or f"${kind}{key}"
    return {"type": kind, "state_key": key, "sender": sender, "content": content, "event_id": name}


def room_state(*more: Json, creator: str = ALICE) -> tuple[Json, ...]:
    """Return the state of a room of Alice's with the bot in it."""
    return (
        state("m.room.create", {"room_version": "11"}, sender=creator),
        state("m.room.power_levels", {"users": {creator: 100}}),
        state("m.room.member", {"membership": "join", "displayname": "Alice"}, ALICE),
        state("m.room.member", {"membership": "join"}, BOT, BOT),
        *more,
    )


def batch(*timeline: HeardEvent, before: tuple[Json, ...] = (), **more: Any) -> SyncBatch:
    joined, token = more.pop("joined", True), more.pop("token", "t")
    return SyncBatch(token, (RoomBatch(ROOM, joined, before, timeline),), **more)


def media_of(source: MediaSource) -> bytes:
    """Return a WAV of one second whose tone depends on the address."""
    number = int(hashlib.sha256(source.mxc.encode()).hexdigest()[:4], 16)
    tone = np.sin(np.arange(48_000) * 2 * np.pi * (200 + number % 1000) / 48_000)
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes((tone * 9000).astype("<i2").tobytes())
    return out.getvalue()


async def download(source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
    """Download as from a homeserver that has all media. Tests put failing ones in its place."""
    data = media_of(source)
    assert len(data) <= max_bytes
    await asyncio.to_thread(part.write_bytes, data)
    return FetchedMedia(len(data), hashlib.sha256(data).hexdigest())


def settings_for(directory: Path, **sections: Any) -> Settings:
    matrix = {"homeserver": "http://hs", "user_id": BOT, "password": "x", "admins": ["@admin:hs"]}
    return validate({"matrix": matrix, "storage": {"directory": str(directory)}} | sections)


Download = Callable[[MediaSource, Path, int], Awaitable[FetchedMedia]]


class Killed(BaseException):
    """The death of the process."""


class Mortal(Store):
    """A store that dies at its n-th write from `die_at`: before anything of it is done, or after its commit."""

    left: int | None = None
    after_commit = False

    def die_at(self, number: int, *, after_commit: bool) -> None:
        self.left, self.after_commit = number, after_commit

    def _dies(self) -> bool:
        if self.left is not None:
            self.left -= 1
        return self.left == 0

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Connection]:
        dies = self._dies()
        async with super().write() as db:
            yield db
            if dies and not self.after_commit:
                raise Killed
        if dies:
            raise Killed


find_ffmpeg = cache(Ffmpeg.find)


class Forgetful(RoomHistory):
    """A homeserver that has no events of any broadcast."""

    def __init__(self) -> None:
        """Needs no session."""

    async def event(self, room_id: RoomId, event_id: EventId) -> HeardEvent:
        raise GiveUp("the homeserver refused: 404 M_NOT_FOUND", reason="not_found")

    async def related(self, _: RoomId, __: EventId, ___: UserId) -> AsyncIterator[tuple[HeardEvent, ...]]:
        yield ()

    async def newest_info(self, room_id: RoomId, kind: str, sender: UserId) -> HeardEvent | None:
        return None


def asks_in_vain(store: Store, us: UserId, clock: Clock) -> Handler:
    """Handle Reread orders as if the homeserver could tell nothing more."""
    rereading = Rereading(store, Forgetful(), us, clock=clock)

    async def handle(job: Job) -> None:
        with suppress(GiveUp):
            await rereading(job)

    return handle


@asynccontextmanager
async def hearing(store: Store, recorder: Recorder) -> AsyncIterator[None]:
    """Let a bot hear of what other processes write, and do what follows."""
    tasks = [asyncio.create_task(part) for part in (store.follow(), recorder.run())]
    try:
        yield
    finally:
        recorder.stop()
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class World:
    """Intake, recorder and the workers that need no homeserver, over one store."""

    def __init__(self, store: Mortal, settings: Settings, clock: Clock | None = None) -> None:
        self.store = store
        self.settings = settings
        self.clock = clock or Clock()
        self.ffmpeg = find_ffmpeg()
        self.download: Download = download
        self.opens: Callable[[HeardEvent], HeardEvent | None] = lambda _: None
        self.listened = True  # to all that is live: their tracks only grow
        self._begin()

    def _begin(self) -> None:
        """Build all parts anew over the same store, as a new process does."""
        store, clock, settings, ffmpeg = self.store, self.clock, self.settings, self.ffmpeg
        self.recorder = Recorder(store, limits(quiet_period_s=60), clock)
        self.keeper = Keeper(store, clock, settings.retention)
        self.intake = Intake(
            store,
            BOT,
            decrypt=lambda wrapper: self.opens(wrapper),
            grammar=Grammar(PREFIX, BOT),
            publishes=partial(settings.may_publish, mod=True),
            clock=clock,
        )

        async def fetch(source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
            return await self.download(source, part, max_bytes)

        async def is_listened(_: Connection, __: RecordingId) -> bool:
            return self.listened

        apply = self.recorder.apply
        self.handlers: dict[JobKind, Handler] = {
            **sound_handlers(SoundParts(settings, store, ffmpeg, clock, fetch, apply, is_listened)),
            orders.Forget.kind: Forgetting(store),
            orders.Reread.kind: asks_in_vain(store, BOT, clock),
            orders.Tick.kind: self.recorder.tick,
            orders.End.kind: self.recorder.end,
        }

    async def join(self) -> None:
        """Let the bot join Alice's room and record there."""
        await self.intake.take(batch(before=room_state()))
        async with self.store.write() as db:
            room = await rooms.room(db, ROOM)
            assert room is not None
            await rooms.save_room(db, replace(room, recording_on=True, told_at=Position(0)))

    async def begin(self, *said: HeardEvent) -> None:
        """Start Alice's broadcast, `START`; `said` comes in the same sync."""
        await self.hear(info(START, "started"), *said)

    async def hear(self, *timeline: HeardEvent, **more: Any) -> None:
        """Take in a sync and handle its events, but not the jobs that they make."""
        await self.intake.take(batch(*timeline, **more))
        await self.settle()

    async def settle(self) -> None:
        while await self.recorder.catch_up():
            pass

    async def work(self) -> None:
        """Do everything that is due, one job after the other, until nothing is."""
        await self.settle()
        while found := await self._claim():
            for job in found:
                await self.handlers[job.kind](job)
                async with self.store.write() as db:
                    await jobs.done(db, job.id, self.clock())
                await self.settle()

    async def _claim(self) -> tuple[Job, ...]:
        async with self.store.read() as db:
            due = await jobs.next_due(db, DONE_HERE)
        if due is None or due > self.clock():
            return ()
        async with self.store.write() as db:
            return await jobs.claim(db, DONE_HERE, self.clock(), 1)

    def use(self, ffmpeg: Ffmpeg) -> None:
        """Use another ffmpeg from now on."""
        self.ffmpeg = ffmpeg
        self._begin()

    async def work_one(self, kinds: Collection[JobKind]) -> bool:
        """Do the next due job of these kinds and end it as the lanes do. Return False if none is due."""
        async with self.store.write() as db:
            claimed = await jobs.claim(db, kinds, self.clock(), 1)
        for job in claimed:
            await Attempts(self.store, self.handlers, self.clock, asyncio.Event()).make(job)
        return bool(claimed)

    async def work_on(self) -> None:
        """Do everything that is due; put back the jobs that can't be done now until they are due again."""
        await self.settle()
        while await self.work_one(DONE_HERE):
            await self.settle()

    async def rise_again(self) -> None:
        """Start again after a death."""
        self.store.left = None
        self.store.blobs.prepare()
        self._begin()
        async with self.store.write() as db:
            await jobs.recover(db, self.clock())

    async def waiting(self, kind: JobKind) -> list[Json]:
        """Return the payloads of the jobs of a kind that wait."""
        async with self.store.read() as db:
            return [job.payload for job in await jobs.unfinished(db, kind)]

    async def ordered(self, order: type[AnOrder]) -> list[AnOrder]:
        """Return the orders of a kind that wait or run."""
        async with self.store.read() as db:
            return [order.of(job) for job in await jobs.unfinished(db, order.kind)]

    async def recording(self) -> Recording:
        async with self.store.read() as db:
            found = await archive.recording_by_event(db, START)
        assert found is not None
        return found

    def files(self) -> Counter[BlobKey]:
        return Counter(key for folder in folder_of(self.store).key_batches() for key in folder)


@asynccontextmanager
async def world_of(directory: Path, clock: Clock | None = None, /, **sections: Any) -> AsyncIterator[World]:
    storage = sections.pop("storage", {})
    store = await Mortal.own(Place(directory, storage.get("database_url"), storage.get("media_url")))
    assert isinstance(store, Mortal)
    sections["storage"] = {"directory": str(directory), "min_free_bytes": 0} | storage
    try:
        yield World(store, settings_for(directory, **sections), clock)
    finally:
        await store.close()
