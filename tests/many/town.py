"""A bot's store on PostgreSQL, a homeserver that has media alone, and the processes that serve and work beside it."""

import asyncio
import hashlib
import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web
from sqlalchemy import make_url, update

from bot import orders
from bot.worker.membership import LostWorkers
from storage import archive, owner, rooms, secret, workers
from storage.place import Place
from storage.records import Episode, Job, JobKind, JobState, MediaSource, MxcUri, Recording
from storage.rows import record
from storage.store import Store
from storage.tables import jobs as job_table
from storage.tables import workers as worker_table
from storage.workers import WorkerProcess
from tests.clock import Clock
from tests.postgresql import Server
from tests.world import START, Mortal, World, chunk, info, media_of, settings_for

TOKEN = "syt_token"
ALL_ENDS_WITHIN_S = 60


class RealClock(Clock):
    """The machine's clock: other processes have no other."""

    def __call__(self) -> datetime:
        return datetime.now(UTC)


@dataclass
class MediaServer:
    """A homeserver that has all media, for who has the token of now. While `closed` it answers when it is opened."""

    token: str = TOKEN
    address: str = ""
    refused: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            self.refused += 1
            return web.json_response({"errcode": "M_UNKNOWN_TOKEN"}, status=401)
        self.asked.set()
        await self.opened.wait()
        return web.Response(body=media_of(MediaSource(MxcUri(f"mxc://hs/{request.path.rpartition('/')[2]}"))))

    @asynccontextmanager
    async def running(self) -> AsyncIterator["MediaServer"]:
        runner = web.ServerRunner(web.Server(self.answer))  # type: ignore[arg-type]
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self.opened.set()
        try:
            yield self
        finally:
            self.opened.set()
            await runner.cleanup()


async def rooms_were_read(store: Store) -> None:
    """Note that the bot of now has read its rooms' state."""
    async with store.write() as db:
        current = await owner.last(db)
        assert current is not None
        await owner.note_ready(db, current.epoch)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something holds that another process brings about."""
    async with asyncio.timeout(ALL_ENDS_WITHIN_S):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.02)


class Process:
    """A process of the shell; what it says goes to a file."""

    def __init__(self, child: asyncio.subprocess.Process, log: Path) -> None:
        self.child = child
        self.log = log

    async def says(self, words: str) -> None:
        """Wait until its log has these words."""
        async with asyncio.timeout(ALL_ENDS_WITHIN_S):
            while words not in self.log.read_text():
                assert self.child.returncode is None, self.log.read_text()
                await asyncio.sleep(0.02)

    @property
    def name(self) -> str:
        """The worker's name on the list."""
        return self.log.read_text().partition(" at once, as ")[2].split()[0]

    async def kill(self) -> None:
        self.child.kill()
        await self.child.wait()

    def pause(self) -> None:
        self.child.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.child.send_signal(signal.SIGCONT)

    async def stop(self) -> int:
        """End it as an operator does; return its exit code."""
        self.child.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.child.wait(), ALL_ENDS_WITHIN_S)


class Town:
    """A bot without a session, whose jobs others do, and those others."""

    def __init__(self, world: World, media: MediaServer, config: Path, server: Server) -> None:
        self.world = world
        self.media = media
        self.config = config
        self.server = server
        self._processes: list[Process] = []
        self._numbers = itertools.count(1)

    async def start(self, *arguments: str, ready: str | None = None, **environment: str) -> Process:
        """Start a process of the shell, and wait until it is ready."""
        log = self.config.parent / f"{arguments[0]}-{next(self._numbers)}.log"
        with log.open("wb") as out:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bot", *arguments, "-c", str(self.config)),
                env=os.environ | environment,
                stdout=out,
                stderr=out,
            )
        process = Process(child, log)
        self._processes.append(process)
        if ready is not None:
            await process.says(ready)
        return process

    async def work(self, **environment: str) -> Process:
        return await self.start("work", "--jobs", "2", ready=" at once, as ", **environment)

    async def end_processes(self) -> None:
        for process in self._processes:
            if process.child.returncode is None:
                await process.kill()

    async def speak(self, *numbers: int, last: bool = False) -> None:
        """Hear chunks of the broadcast, which begins with number 1 and ends with the `last`."""
        heard = [info(START, "started")] if numbers[0] == 1 else []
        heard += [chunk(f"$c{number}", number) for number in numbers]
        await self.world.hear(*heard)
        if last:
            await self.end_broadcast(numbers[-1])

    async def end_broadcast(self, last: int) -> None:
        await self.world.hear(info("$stopped", "stopped", last_chunk_sequence=last))

    async def jobs(self, *states: JobState) -> dict[JobKind, list[Job]]:
        """Return the jobs of sound in these states, by kind."""
        found: dict[JobKind, list[Job]] = {}
        async with self.world.store.read() as db:
            for row in await db.execute(job_table.select().where(job_table.c.state.in_(states))):
                found.setdefault(row.kind, []).append(record(Job, row))
        return found

    async def until_running(self, kind: JobKind) -> None:
        """Wait until a job of this kind runs."""

        async def runs() -> bool:
            return kind in await self.jobs(JobState.RUNNING)

        await until(runs)

    async def encoded(self) -> None:
        """Wait until all that was said so far is in the track."""

        async def is_encoded() -> bool:
            busy = await self.jobs(JobState.READY, JobState.RUNNING)
            return not set(busy) & {orders.Fetch.kind, orders.Encode.kind}

        await until(is_encoded)

    async def workers(self) -> tuple[WorkerProcess, ...]:
        """Return the workers on the list."""
        async with self.world.store.read() as db:
            return await workers.present(db)

    async def expire(self, worker: "Process") -> None:
        """Let the lease of a worker end now, and have the bot look."""
        ended = update(worker_table).where(worker_table.c.id == worker.name)
        async with self.world.store.write() as db:
            await db.execute(ended.values(until=self.world.clock() - 10 * workers.LEASE))
        await LostWorkers(self.world.store, self.world.clock).look()

    @property
    def database(self) -> str:
        """The name of the database."""
        return make_url(self.world.store.place.database_url or "").database or ""

    async def finished(self) -> tuple[Recording, Episode]:
        """Wait for the episode of the broadcast."""
        async with asyncio.timeout(ALL_ENDS_WITHIN_S):
            while True:
                recording = await self.world.recording()
                async with self.world.store.read() as db:
                    episode = await archive.episode(db, recording.id)
                busy = await self.jobs(JobState.READY, JobState.RUNNING)
                if episode is not None and not set(busy) & ANYWHERE:
                    return recording, episode
                await asyncio.sleep(0.05)

    async def whole(self) -> dict[str, Any]:
        """Return what an archive is judged by: the recording, its chunks, its sound, all its files."""
        recording, episode = await self.finished()
        while await self.world.work_one((orders.Forget.kind,)):  # frames, as many as Encode orders have made at a time
            pass
        async with self.world.store.read() as db:
            chunks = await archive.chunks(db, recording.id)
            room = await rooms.room(db, recording.room_id)
        assert room is not None
        sound = await self.world.store.blobs.read(episode.blob, episode.head)
        return {
            "state": recording.state,
            "chunks": [(each.id, each.state, each.blob, each.facts) for each in chunks],
            "sound": (hashlib.sha256(sound).hexdigest(), episode.bytes, episode.samples, episode.guid),
            # The file of an episode holds its room's cover, which is drawn from the room's random key.
            "files": set(self.world.files()) - {episode.blob, room.cover},
        }


ANYWHERE = {order.kind for order in orders.ORDERS if order.anywhere}


@asynccontextmanager
async def town(server: Server, folder: Path, media_url: str | None = None, **sections: Any) -> AsyncIterator[Town]:
    """Provide a town over a new database and a shared folder of media, or a bucket."""
    address = await server.new()
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    media = MediaServer()
    async with media.running():
        storage: dict[str, Any] = {"directory": str(folder / "data"), "min_free_bytes": 0, "database_url": address}
        storage |= {"media_url": media_url} if media_url is not None else {}
        matrix = {"homeserver": media.address, "user_id": "@bot:hs", "password": "x"}
        written = {"matrix": matrix, "storage": storage} | sections
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(written))
        store = await Mortal.own(Place(folder / "data", address, media_url))
        assert isinstance(store, Mortal)
        settings = settings_for(folder / "data", **written)
        here = Town(World(store, settings, RealClock()), media, config, server)
        async with store.write() as db:
            await secret.save(db, secret.MEDIA_TOKEN, TOKEN.encode())
        await here.world.join()
        try:
            yield here
        finally:
            await here.end_processes()
            await store.close()
    await server.drop(address)
