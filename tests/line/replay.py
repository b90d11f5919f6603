"""The whole line but for the homeserver: events go into the intake, media come from a server on loopback.

Journal, recorder, lanes, downloads with decryption, ffmpeg and commands are the real ones. Time is moved by hand.
"""

import asyncio
import json
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import web
from imageio_ffmpeg import get_ffmpeg_exe

from bot import orders
from bot.audio.ffmpeg import Ffmpeg
from bot.commands.grammar import Grammar
from bot.commands.handle import Commands
from bot.demo import verification
from bot.dialects.fields import sent_at
from bot.intake import greeting
from bot.intake.intake import Intake
from bot.matrix.batch import Invite, RoomBatch, SyncBatch
from bot.matrix.media import FetchedMedia, Media
from bot.matrix.wire import Wire
from bot.recorder import Recorder
from bot.recording.kinds import lay_out
from bot.recording.ledger import Ledger
from bot.recording.policy import Limits
from bot.settings import Settings, validate
from bot.sound_handlers import SoundParts, sound_handlers
from bot.worker.attempts import Handler
from bot.worker.forgetting import Forgetting
from bot.worker.lanes import Worker
from storage import archive, jobs
from storage.database import Connection
from storage.records import (
    SAMPLE_RATE,
    Chunk,
    Episode,
    EventId,
    HeardEvent,
    Job,
    JobKind,
    JobState,
    Json,
    MediaSource,
    Recording,
    RecordingId,
    RoomId,
    SessionId,
    UserId,
)
from storage.store import Store
from tests.blobs import folder_of
from tests.clock import Clock
from tests.factories import always
from tests.lab import DATA
from tests.matrix.stub import Stub
from tests.world import asks_in_vain

BOT = UserId("@bob:lab.local")  # somebody who was in the room when it was captured
ALICE = UserId("@alice:lab.local")
INFO = "io.element.voice_broadcast_info"
SECRET = b"s" * 32
CAPTURED = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)  # not long before
JPEG = b"\xff\xd8\xff"
WAIT_S = 60.0
AN_HOUR_S = 3600.0
EVERY = SAMPLE_RATE // 2  # so often an episode is compared with what was spoken


class Capture:
    """A broadcast of a real Element Web, as a device in the room heard it."""

    def __init__(self, name: str) -> None:
        folder = DATA / "captures" / name
        self._told: list[dict[str, Any]] = json.loads((folder / "events.json").read_text(encoding="utf-8"))
        chunks = json.loads((folder / "chunks.json").read_text(encoding="utf-8"))
        self.room = RoomId(self._told[0]["event"]["room_id"])
        uploaded = {one["mxc"]: folder / "media" / one.get("file_uploaded", one["file"]) for one in chunks}
        self.uploads = {mxc: path.read_bytes() for mxc, path in uploaded.items()}
        self.files = [(folder / "media" / one["file"]).read_bytes() for one in chunks]

    @cached_property
    def heard(self) -> tuple[HeardEvent, ...]:
        """The whole broadcast in the homeserver's order, decrypted."""
        return tuple(self._heard(told["event"], told["decrypted"]) for told in self._told)

    @property
    def room_events(self) -> tuple[HeardEvent, ...]:
        """The room's events before the broadcast."""
        return self.heard[: self._begin]

    @property
    def broadcast(self) -> tuple[HeardEvent, ...]:
        return self.heard[self._begin :]

    @property
    def sealed(self) -> tuple[HeardEvent, ...]:
        """The broadcast as a device without the keys has it."""
        told = {one["event"]["event_id"]: one["event"] for one in self._told}
        return tuple(
            replace(one, event=told[one.event_id], session_id=SessionId(told[one.event_id]["content"]["session_id"]))
            if one.encrypted
            else one
            for one in self.broadcast
        )

    @property
    def started(self) -> EventId:
        return self.heard[self._begin].event_id

    @property
    def _begin(self) -> int:
        return next(index for index, one in enumerate(self.heard) if one.event["type"] == INFO)

    def _heard(self, event: Json, decrypted: Json | None) -> HeardEvent:
        if event["type"] != "m.room.encrypted":
            return HeardEvent(self.room, EventId(event["event_id"]), event)
        assert decrypted is not None
        relation = event["content"]["m.relates_to"]
        kept = {name: event[name] for name in ("event_id", "sender", "origin_server_ts")}
        content = {**decrypted["content"], "m.relates_to": relation}
        clear = {**kept, "type": decrypted["type"], "content": content}
        return HeardEvent(self.room, EventId(event["event_id"]), clear, encrypted=True, clear_relation=relation)


# ---- the truth, by other means than those that made the episode


def joined_runs(files: Iterable[bytes]) -> list[bytes]:
    """Join the chunks of each run to one Ogg file: its headers once, then all pages of sound in order."""
    runs: dict[int, dict[int, bytes]] = {}
    for data in files:
        for serial, number, page in _pages(data):
            runs.setdefault(serial, {})[number] = page
    return [b"".join(page for _, page in sorted(pages.items())) for pages in runs.values()]


def length_of(run: bytes) -> int:
    """Count samples: the last granule less the pre-skip (RFC 7845, section 4)."""
    granules = [int.from_bytes(page[6:14], "little", signed=True) for _, _, page in _pages(run)]
    at = run.index(b"OpusHead") + 10
    return max(granules) - int.from_bytes(run[at : at + 2], "little")


def _pages(data: bytes) -> list[tuple[int, int, bytes]]:
    """Split into pages: serial, number and bytes of each (RFC 3533, section 6)."""
    found, at = [], 0
    while at < len(data):
        assert data[at : at + 4] == b"OggS"
        serial, number = struct.unpack_from("<II", data, at + 14)
        lacing = data[at + 27 : at + 27 + data[at + 26]]
        end = at + 27 + len(lacing) + sum(lacing)
        found.append((serial, number, data[at:end]))
        at = end
    return found


async def assert_heard_whole(episode: Path, files: Sequence[bytes], folder: Path) -> None:
    """Check that the episode is these chunks, joined: the same length to the sample, and the same sound."""
    runs = joined_runs(files)
    truth = []
    for number, run in enumerate(runs):
        path = folder / f"run{number}.ogg"
        await asyncio.to_thread(path.write_bytes, run)
        truth.append(await asyncio.to_thread(verification.decode, path, get_ffmpeg_exe()))
    found = await asyncio.to_thread(verification.decode, episode, get_ffmpeg_exe())
    assert len(found) == sum(map(length_of, runs))
    spoken = np.concatenate(truth)
    places = np.array_split(spoken, len(spoken) // EVERY)
    verdict = await asyncio.to_thread(verification.compare, found, places)
    assert verdict.ok, verdict.problems


async def encoded(data: bytes, *options: str) -> bytes:
    """Convert sound to another kind of file with plain ffmpeg."""
    command = [get_ffmpeg_exe(), "-v", "error", "-i", "pipe:0", *options, "pipe:1"]
    return await asyncio.to_thread(_output, command, data)


def _output(command: Sequence[str], data: bytes) -> bytes:
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


# ---- the replay


class Replay:
    """The whole bot but session and web, over a store. `tell` returns when everything that a sync caused is done."""

    def __init__(self, store: Store, settings: Settings, stub: Stub, media: Media, *, originals: bool) -> None:
        self.store = store
        self.settings = settings
        self.homeserver = stub
        self.clock = Clock(CAPTURED)
        self.said: list[str] = []  # in rooms
        self.written: list[tuple[str, str]] = []  # to people, in their direct chats
        self.clear: dict[EventId, HeardEvent] = {}  # what keys that came can open
        self._media = media
        self._originals = originals
        self._syncs = 0
        limits = Limits(**settings.recording.model_dump())
        self.recorder = Recorder(store, limits, self.clock)
        self.intake = Intake(
            store,
            BOT,
            decrypt=lambda sealed: self.clear.get(sealed.event_id),
            grammar=Grammar(settings.commands.prefix, BOT),
            publishes=partial(settings.may_publish, mod=True),
            clock=self.clock,
        )
        self.worker = Worker(store, self._handlers(), self.clock)

    def _handlers(self) -> dict[JobKind, Handler]:
        ffmpeg = Ffmpeg.find()
        apply, clock = self.recorder.apply, self.clock

        async def nobody_listens(_: Connection, __: RecordingId) -> bool:
            return False

        sound = SoundParts(self.settings, self.store, ffmpeg, clock, self._download, apply, nobody_listens)
        return {
            **sound_handlers(sound),
            **({} if self._originals else {orders.KeepOriginal.kind: self._nothing}),
            orders.MakePortrait.kind: self._nothing,
            orders.Forget.kind: Forgetting(self.store),
            orders.Reread.kind: asks_in_vain(self.store, BOT, clock),
            orders.Tick.kind: self.recorder.tick,
            orders.End.kind: self.recorder.end,
            orders.Notice.kind: self._notice,
            orders.Direct.kind: self._direct,
            orders.Invite.kind: self._nothing,
            orders.CheckEpisode.kind: self._nothing,
            orders.Refresh.kind: self._nothing,
            orders.ShowRoom.kind: self._nothing,
            orders.KeepWishes.kind: self._nothing,
            orders.CatchUp.kind: self._nothing,
            orders.Pin.kind: self._nothing,
            orders.React.kind: self._nothing,
            orders.Command.kind: Commands(self.store, self.settings, always(SECRET), clock, apply=apply),
        }

    async def _download(self, source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
        return await self._media.fetch_media(source, part, max_bytes=max_bytes)

    async def _notice(self, job: Job) -> None:
        order = orders.Notice.of(job)
        if not order.greets:
            self.said.append(order.body)
            return
        async with self.store.write() as db:
            await greeting.said(db, order.room_id, EventId(f"$greeting{job.id}"), "…", self.clock())

    async def _direct(self, job: Job) -> None:
        order = orders.Direct.of(job)
        self.written.append((order.user_id, order.body or f"(the address of {order.room_id})"))

    async def _nothing(self, _: Job) -> None:
        """Do nothing: there is no homeserver."""

    # ---- what happens

    def serves(self, uploads: Mapping[str, bytes]) -> None:
        """Put these media on the homeserver."""
        for mxc, data in uploads.items():
            self.homeserver.gives(address_of(mxc), data)

    async def move_in(self, capture: Capture) -> None:
        """Invite the bot and let it join, read the room's state and start to record."""
        await self.join(capture.room, capture.room_events)
        self.serves(capture.uploads)

    async def join(self, room: RoomId, state: Iterable[HeardEvent]) -> None:
        """Let Alice invite the bot, which joins, reads the room's state and starts to record."""
        await self._sync(invites=(Invite(room, ALICE, direct=False, encrypted=False),))
        await self.tell(room, state)

    async def tell(self, room: RoomId, heard: Iterable[HeardEvent], *, new_keys: Iterable[str] = ()) -> None:
        """Take in one sync with these events, and do everything that follows from it now."""
        await self.hear(room, heard, new_keys=new_keys)
        await self.settled()

    async def hear(self, room: RoomId, heard: Iterable[HeardEvent], *, new_keys: Iterable[str] = ()) -> None:
        """Take in one sync with these events, at the time of the newest of them, or now if that is later.

        The jobs that are made of it may still be under way.
        """
        timeline, keys = tuple(heard), frozenset(map(SessionId, new_keys))
        times = [at for one in timeline if (at := sent_at(one.event)) is not None]
        self.clock.now = max([self.clock.now, *times])
        await self._sync(rooms=(RoomBatch(room, joined=True, timeline=timeline),), new_keys=keys)
        while await self.recorder.catch_up():
            pass

    async def _sync(self, **what: Any) -> None:
        self._syncs += 1
        await self.intake.take(SyncBatch(next_batch=f"s{self._syncs}", **what))

    async def pass_by(self, seconds: float) -> None:
        """Let time pass, and do the jobs that are due then."""
        self.clock.pass_by(seconds)
        self.store.changes.notify()
        await self.settled()

    async def settled(self) -> None:
        """Wait until no job is due."""
        with self.store.changes.subscribe() as changed:
            async with asyncio.timeout(WAIT_S):
                while True:
                    changed.clear()
                    async with self.store.read() as db:
                        due = await jobs.next_due(db, list(orders.KINDS))
                        running = await jobs.count(db, JobState.RUNNING)
                    if not running and (due is None or due > self.clock()):
                        return
                    await changed.wait()

    async def ask(self, room: RoomId, words: str) -> str:
        """Return the bot's answer when Alice says these words."""
        self._syncs += 1
        event_id = EventId(f"$said{self._syncs}")
        content = {"msgtype": "m.text", "body": words}
        at = round(self.clock().timestamp() * 1000)
        event = {"type": "m.room.message", "sender": ALICE, "content": content, "origin_server_ts": at}
        before = len(self.said)
        await self.tell(room, [HeardEvent(room, event_id, {**event, "event_id": event_id})])
        assert len(self.said) == before + 1
        return self.said[-1]

    # ---- what became of it

    async def recording(self, started: EventId) -> Recording:
        async with self.store.read() as db:
            found = await archive.recording_by_event(db, started)
        assert found is not None
        return found

    async def chunks(self, started: EventId) -> dict[str, Chunk]:
        """Read the chunks by event id."""
        recording = await self.recording(started)
        async with self.store.read() as db:
            return {str(chunk.event_id): chunk for chunk in await archive.chunks(db, recording.id)}

    async def ledger(self, started: EventId) -> Ledger:
        return lay_out(await self.recording(started), (await self.chunks(started)).values())

    async def episode(self, started: EventId) -> Episode | None:
        recording = await self.recording(started)
        async with self.store.read() as db:
            return await archive.episode(db, recording.id)

    async def audio(self, started: EventId) -> Path:
        episode = await self.episode(started)
        assert episode is not None
        return self.store.directory / self.store.blobs.relative(episode.blob)

    async def audio_left(self) -> set[str]:
        """List the names of all blobs except pictures."""
        return await asyncio.to_thread(_without_pictures, folder_of(self.store).directory)


def _without_pictures(folder: Path) -> set[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.name for path in files if not path.read_bytes().startswith(JPEG)}


def address_of(mxc: str) -> str:
    """Return the path at which the homeserver serves a file."""
    return f"/_matrix/client/v1/media/download/{mxc.removeprefix('mxc://')}"


@asynccontextmanager
async def replaying(
    directory: Path, *, changed: Mapping[str, Mapping[str, Any]] | None = None, originals: bool = False
) -> AsyncIterator[Replay]:
    """Run a replay over a new store in `directory`. Sections of the settings may be changed. `originals`: whether the
    original sound is kept beside the chunks, for feeds."""
    tree: dict[str, Any] = {
        "matrix": {"homeserver": "http://127.0.0.1:1", "user_id": BOT, "admins": [ALICE]},
        "storage": {"directory": str(directory), "min_free_bytes": 0},
    }
    for section, values in (changed or {}).items():
        tree[section] = {**tree.get(section, {}), **values}
    settings = validate(tree)
    stub = Stub()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", stub.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    wire = Wire(f"http://127.0.0.1:{runner.addresses[0][1]}")
    wire.token = "secret"
    store = await Store.own(settings.storage.place)
    made = Replay(store, settings, stub, Media(wire), originals=originals)
    await made.worker.start()
    try:
        yield made
    finally:
        await made.worker.stop(1)
        await store.close()
        await wire.close()
        await runner.cleanup()


# ---- by hand


async def replay_by_hand(name: str, directory: Path, lost: Collection[int]) -> None:
    """Replay a capture into a store that stays, let two hours pass, and print what the bot said in the room."""
    capture = Capture(name)
    uploads = enumerate(capture.uploads.items(), 1)
    capture.uploads = {mxc: data for number, (mxc, data) in uploads if number not in lost}
    async with replaying(directory) as replay:
        await replay.move_in(capture)
        await replay.tell(capture.room, capture.broadcast)
        for _ in range(2):
            await replay.pass_by(AN_HOUR_S)
        sys.stdout.write("\n".join([*replay.said, ""]))


if __name__ == "__main__":
    asyncio.run(replay_by_hand(sys.argv[1], Path(sys.argv[2]), [int(number) for number in sys.argv[3:]]))
