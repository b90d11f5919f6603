"""Whoever sends what is dear to work on keeps nobody else waiting: real recorder, real lanes, real ffmpeg."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bot import orders
from bot.audio import ffmpeg as ffmpeg_module
from bot.audio.child import Child, running
from bot.audio.limits import MORE, Limits
from bot.matrix.batch import RoomBatch, SyncBatch
from bot.matrix.media import FetchedMedia
from bot.recording.chunks import JUDGED
from bot.worker import lanes
from bot.worker.lanes import LANES, Lane, Worker
from storage import archive, jobs, rooms, tracks
from storage.records import (
    Chunk,
    ChunkId,
    ChunkState,
    EventId,
    HeardEvent,
    Job,
    JobKind,
    JobName,
    JobState,
    MediaSource,
    NewJob,
    Position,
    Recording,
    RecordingId,
    RoomId,
)
from storage.store import Store
from tests import world as core
from tests.audio.hostile.kit import ATTACKS, Kit
from tests.audio.hostile.ogg import opus
from tests.audio.sounds import WAV, Studio, signal
from tests.clock import Clock
from tests.world import ALICE, INFO, find_ffmpeg, room_state

DEAR = (  # of all attacks those that cost most, refused or not
    "flac_of_changing_channels",
    "chapters_in_mp3_within_the_limit",
    "adts_of_changing_channels",
    "adts_of_random_channels",
    "adts_of_ones",
    "three_thousand_links",
    "table_of_offsets_backwards",
    "mp3_of_changing_rates",
    "table_of_a_million_times",
    "chapters_in_mp3",
    "mp3_of_changing_channels",
    "adts_of_empty_frames",
    "blocks_of_compressed_silence",
    "laced_blocks",
    "mp3_of_headers_only",
)
HOUR = 30_000  # packets of 120 ms, in as many bytes as they must have to be believed


@dataclass(frozen=True)
class Broadcast:
    """A broadcast of Alice's, in a room of its own."""

    name: str

    @property
    def room(self) -> RoomId:
        return RoomId(f"!{self.name}:hs")

    @property
    def start(self) -> EventId:
        return EventId(f"${self.name}")

    def info(self, state: str, **content: Any) -> HeardEvent:
        relation = {} if state == "started" else {"m.relates_to": {"rel_type": "m.reference", "event_id": self.start}}
        said = {"state": state, "device_id": self.name, "chunk_length": 120} | relation | content
        event_id = self.start if state == "started" else EventId(f"${self.name}-{state}")
        return self._event(event_id, INFO, said, state_key=ALICE)

    def chunk(self, sequence: int, media: str, announced_ms: int | None = None) -> HeardEvent:
        content = {
            "msgtype": "m.audio",
            "url": f"mxc://hs/{media}",
            "info": {} if announced_ms is None else {"duration": announced_ms},
            "m.relates_to": {"rel_type": "m.reference", "event_id": self.start},
            "io.element.voice_broadcast_chunk": {"sequence": sequence},
        }
        return self._event(EventId(f"${self.name}-{sequence}"), "m.room.message", content)

    def _event(self, event_id: EventId, kind: str, content: Any, **more: Any) -> HeardEvent:
        event = {"type": kind, "sender": ALICE, "event_id": event_id, "origin_server_ts": 1, "content": content}
        return HeardEvent(self.room, event_id, event | more)


HEALTHY, ONE, OTHER = Broadcast("healthy"), Broadcast("one"), Broadcast("other")


class World:
    """Three rooms, and a homeserver with this media."""

    def __init__(self, bot: core.World) -> None:
        self.bot = bot
        self.media: dict[str, bytes] = {}
        bot.download = self._download

    async def _download(self, source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
        data = self.media[source.mxc.rsplit("/", 1)[1]]
        await asyncio.to_thread(part.write_bytes, data)
        return FetchedMedia(len(data), hashlib.sha256(data).hexdigest())

    async def open(self, *broadcasts: Broadcast) -> None:
        for one in broadcasts:
            state = RoomBatch(one.room, joined=True, before=room_state())
            await self.bot.intake.take(SyncBatch("t", (state,)))
            async with self.bot.store.write() as db:
                room = await rooms.room(db, one.room)
                assert room is not None
                await rooms.save_room(db, replace(room, recording_on=True, told_at=Position(0)))
            await self.hear(one, one.info("started"))

    async def hear(self, broadcast: Broadcast, *events: HeardEvent) -> None:
        await self.bot.intake.take(SyncBatch("t", (RoomBatch(broadcast.room, joined=True, timeline=events),)))
        await self.bot.settle()

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        async def told(_: Job) -> None:
            """Nobody listens."""

        handlers = dict.fromkeys(orders.KINDS, told) | self.bot.handlers
        worker = Worker(self.bot.store, handlers, self.bot.clock)
        await worker.start()
        try:
            yield
        finally:
            await worker.stop(0)

    async def until(self, there: Callable[[], Awaitable[bool]]) -> None:
        """Return whether the last write made the condition true."""
        with self.bot.store.changes.subscribe() as changed:
            while not await there():
                await changed.wait()
                changed.clear()

    async def pass_until(self, there: Callable[[], Awaitable[bool]]) -> None:
        """Time passes as long as it is not true: whatever is put off is due."""
        while not await there():
            self.bot.clock.pass_by(300)
            self.bot.store.changes.notify()
            await asyncio.sleep(0.05)

    async def recording(self, broadcast: Broadcast) -> Recording:
        async with self.bot.store.read() as db:
            found = await archive.recording_by_event(db, broadcast.start)
        assert found is not None
        return found

    async def chunks(self, broadcast: Broadcast) -> tuple[Chunk, ...]:
        recording = await self.recording(broadcast)
        async with self.bot.store.read() as db:
            return await archive.chunks(db, recording.id)

    async def unsettled(self, *broadcasts: Broadcast) -> int:
        """Chunks that were not looked into so far."""
        every = [chunk for one in broadcasts for chunk in await self.chunks(one)]
        return sum(chunk.state is ChunkState.WAITING_FOR_MEDIA and chunk.answer is None for chunk in every)

    async def frames(self, broadcast: Broadcast) -> int:
        recording = await self.recording(broadcast)
        async with self.bot.store.read() as db:
            return sum(extent.frames for extent in await tracks.extents(db, recording.id))

    async def published(self, broadcast: Broadcast) -> bool:
        recording = await self.recording(broadcast)
        async with self.bot.store.read() as db:
            return await archive.episode(db, recording.id) is not None

    async def working(self, kind: JobKind, broadcast: Broadcast) -> bool:
        """Return whether a job of this kind and recording is running."""
        recording = await self.recording(broadcast)
        async with self.bot.store.read() as db:
            found = await jobs.find(db, JobName(kind, str(recording.id)))
        return found is not None and found.state is JobState.RUNNING


@pytest.fixture
async def three(world: core.World) -> World:
    made = World(world)
    await made.open(HEALTHY, ONE, OTHER)
    return made


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(find_ffmpeg().exe, tmp_path)


async def test_attacks_that_came_before_keep_nobody_waiting(three: World, studio: Studio) -> None:
    """Two recordings have the dearest files there are in front; the chunk of a third one is stored and its frames are
    made while most of them wait."""
    kit = Kit(studio, studio.record("canary.wav", signal(48_000), WAV), 1)
    for name in DEAR:
        three.media[name] = await asyncio.to_thread(ATTACKS[name].make, kit)
    for one in (ONE, OTHER):
        events = (one.chunk(number, name, ATTACKS[name].announced_ms) for number, name in enumerate(DEAR * 2, start=1))
        await three.hear(one, *events)
    three.media["healthy"] = studio.record("sound.wav", signal(16 * 48_000), WAV).read_bytes()

    async def begun() -> bool:
        return await three.unsettled(ONE, OTHER) < 4 * len(DEAR)

    async def heard() -> bool:
        return await three.frames(HEALTHY) > 0

    async with three.at_work():
        await three.until(begun)
        await three.hear(HEALTHY, HEALTHY.chunk(1, "healthy", 16_000))
        await three.until(heard)
        waiting = await three.unsettled(ONE, OTHER)
    assert waiting >= 2 * len(DEAR)


async def test_hours_of_sound_keep_nobody_waiting(three: World, studio: Studio) -> None:
    """Two recordings of hours in one chunk are worked on, then joined; a third one is heard, and published, before a
    frame of theirs is there."""
    long = bytes([3 << 3 | 1]) + bytes(60)
    three.media["hours"] = opus([long] * 4 * HOUR)
    three.media["healthy"] = studio.record("sound.wav", signal(16 * 48_000), WAV).read_bytes()

    async def begun() -> bool:
        return await three.working(orders.Encode.kind, ONE) and await three.working(orders.Encode.kind, OTHER)

    async def heard() -> bool:
        return await three.frames(HEALTHY) > 0

    async def published() -> bool:
        return await three.published(HEALTHY)

    async with three.at_work():
        for one in (ONE, OTHER):
            await three.hear(one, one.chunk(1, "hours"))
        await three.until(begun)
        for one in (ONE, OTHER):
            await three.hear(one, one.info("stopped", last_chunk_sequence=1))
        await three.hear(HEALTHY, HEALTHY.chunk(1, "healthy", 16_000))
        await three.until(heard)
        await three.hear(HEALTHY, HEALTHY.info("stopped", last_chunk_sequence=1))
        three.bot.clock.pass_by(61)
        three.bot.store.changes.notify()
        await three.until(published)
        assert [await three.frames(one) for one in (ONE, OTHER)] == [0, 0]


MARK = b"more than a chunk may"
CROWD = [Broadcast(f"crowd{n}") for n in range(6)]


@dataclass
class Kitchen:
    """In the place of ffmpeg's processes: one that works on a file with the mark hits its limit. With more time than
    usual it is begun only when the gate is open."""

    gate: asyncio.Event
    again: int = 0

    @asynccontextmanager
    async def running(self, command: list[str], limits: Limits, **more: Any) -> AsyncIterator[Child]:
        source = command[command.index("-i") + 1].removeprefix("file:")
        if source.startswith("/") and MARK in await asyncio.to_thread(Path(source).read_bytes):
            command = ["/bin/sh", "-c", "kill -XCPU $$"]
            if limits.first_cpu_s >= MORE:
                self.again += 1
                await self.gate.wait()
        async with running(command, limits, **more) as child:
            yield child


async def test_another_try_keeps_nobody_waiting(
    world: core.World, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among many recordings whose chunks hit a limit, one chunk at a time is tried again, each once."""
    three, kitchen = World(world), Kitchen(asyncio.Event())
    monkeypatch.setattr(ffmpeg_module, "running", kitchen.running)
    await three.open(HEALTHY, *CROWD)
    sound = studio.record("sound.wav", signal(16 * 48_000), WAV).read_bytes()
    three.media = {"healthy": sound, "dear": sound[:1000] + MARK + sound[1000 + len(MARK) :]}
    for one in CROWD:
        await three.hear(one, *(one.chunk(number, "dear") for number in range(1, 5)))

    async def tried() -> bool:
        return not await three.unsettled(*CROWD)

    async def being_tried_again() -> bool:
        return kitchen.again > 0

    async def heard() -> bool:
        return await three.frames(HEALTHY) > 0

    async def judged() -> bool:
        return not [chunk for one in CROWD for chunk in await three.chunks(one) if chunk.state not in JUDGED]

    async with three.at_work(), asyncio.timeout(120):
        await three.until(tried)
        await three.pass_until(being_tried_again)
        await three.hear(HEALTHY, HEALTHY.chunk(1, "healthy", 16_000))
        await three.until(heard)
        assert kitchen.again == 1
        kitchen.gate.set()
        await three.pass_until(judged)
    assert kitchen.again == len(CROWD) * 4


@asynccontextmanager
async def at_work(store: Store, handler: Callable[[Job], Awaitable[None]], *made: NewJob) -> AsyncIterator[None]:
    """Run a worker over these jobs, with one handler for all kinds."""
    clock = Clock()
    async with store.write() as db:
        for job in made:
            await jobs.add(db, job, clock())
    worker = Worker(store, dict.fromkeys(orders.KINDS, handler), clock)
    await worker.start()
    try:
        yield
    finally:
        await worker.stop(0)


async def test_recordings_take_turns(store: Store) -> None:
    """However many chunks of however many recordings are older, a recording that has had no turn is next."""
    order: list[str] = []
    over = asyncio.Event()

    async def handler(job: Job) -> None:
        order.append(job.subject)
        if len(order) == 61:
            over.set()

    def fetch(event: str, recording: int) -> NewJob:
        return orders.Fetch(ChunkId(event), RecordingId(recording)).job()

    older = [fetch(f"{name}-{n}", name) for name in (1, 2, 3) for n in range(20)]
    async with at_work(store, handler, *older, fetch("healthy", 4)):
        await over.wait()
    assert order[:4] == ["1-0", "2-0", "3-0", "healthy"]
    assert [name for name in order if name.startswith("1-")] == [f"1-{n}" for n in range(20)]


@pytest.mark.parametrize("lane", [lane for lane in LANES if lane.long], ids=lambda lane: lane.name)
async def test_what_takes_long_holds_no_place(store: Store, lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many that never end, and the next is begun all the same; yet there is a bound to it."""
    monkeypatch.setattr(lanes, "LONG_S", 0.0)
    most = lane.width + lane.long
    begun, full = 0, asyncio.Event()

    async def handler(_: Job) -> None:
        nonlocal begun
        begun += 1
        if begun == most:
            full.set()
        await asyncio.Event().wait()

    async with at_work(store, handler, *(NewJob(lane.kinds[0], str(n), {}) for n in range(most + 9))):
        await full.wait()
    assert begun == most
