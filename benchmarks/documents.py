"""Long feeds over HTTP: every document cold, a walk over all, what never was, and the list of episodes.

The server is fresh for each figure that is called cold, so nothing of the podcast is in its memory; templates are
compiled. While documents are made, the longest turn of the event loop is measured in CPU time, for other processes may
take the core from it, and a task looks how long `/healthz` takes.
"""

import asyncio
import contextlib
import re
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from benchmarks import usage
from benchmarks.figures import Figure, at_most, of
from benchmarks.http import get
from benchmarks.large import MEMBERS, fill
from benchmarks.pipeline import settings_for
from bot import memory
from bot.web.server import WebServer
from storage import rooms
from storage.place import Place
from storage.records import Room
from storage.store import Store
from tests.connections import connected

EPISODES = 10_000
ROOMS, EACH = 100, 1000
COLD_S, WALK_S, NOT_FOUND_MS, TURN_MS = 0.1, 5.0, 1.0, 10.0
AT_ONCE = 8
LOOKS = 200


@dataclass
class Stills:
    """The CPU time of the longest callback of the event loop, and the longest time that `/healthz` took, in seconds."""

    loop: float = 0.0
    health: float = 0.0


@contextlib.asynccontextmanager
async def served(directory: Path) -> AsyncIterator[tuple[WebServer, Store]]:
    store = await Store.own(Place(directory))
    server = WebServer(store, settings_for(directory), lambda: True)
    await server.start()
    try:
        with memory.searched_briefly():
            yield server, store
    finally:
        await server.stop()
        await store.close()


class Took(NamedTuple):
    """Seconds by the clock, and of CPU, a database server's included."""

    wall: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.wall:.3f} s, {self.cpu:.3f} s of CPU"


class Timer:
    """A clock, and a clock of CPU, that begin with it."""

    def __init__(self) -> None:
        self._cpu = self._cpu_now()
        self._wall = time.perf_counter()

    @staticmethod
    def _cpu_now() -> float:
        return time.process_time() + usage.database_cpu()

    def took(self) -> Took:
        wall = time.perf_counter() - self._wall
        return Took(wall, self._cpu_now() - self._cpu)


async def timed(port: int, *paths: str, status: str = "200") -> Took:
    """Measure requests in turn."""
    timer = Timer()
    for path in paths:
        found = await get(port, path, {"Accept-Encoding": "gzip"}, 1)
        assert found["status"] == status, (path, found)
    return timer.took()


@contextlib.asynccontextmanager
async def watched(port: int) -> AsyncIterator[Stills]:
    stills = Stills()

    async def health() -> None:
        while True:
            began = time.perf_counter()
            await get(port, "/healthz", {}, 1)
            stills.health = max(stills.health, time.perf_counter() - began)
            await asyncio.sleep(0.02)

    task = asyncio.create_task(health())
    try:
        with usage.longest_turn() as turn:
            yield stills
    finally:
        stills.loop = turn.longest_s
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def documents_of(port: int, room: Room) -> list[str]:
    """Follow the links of a feed to its end."""
    names, name = [], "feed.xml"
    while name:
        names.append(name)
        async with connected(port, limit=8 * 1024 * 1024) as (reader, writer):
            writer.write(f"GET /r/{room.key}/{name} HTTP/1.0\r\n\r\n".encode())
            older = re.search(rb'href="[^"]*/([^/"]*)" rel="prev-archive"', await reader.read())
        name = older[1].decode() if older else ""
    return names


async def pages_of(store: Store) -> list[str]:
    """Name some pages of the list: the first, one in the middle, the last, a month, a search."""
    async with store.read() as db:
        codes = (await db.exec_driver_sql("SELECT code FROM recordings ORDER BY started_at")).scalars().all()
    middle, last = codes[len(codes) // 2], codes[10]
    return ["", f"?before={middle}", f"?after={middle}", f"?before={last}", "?month=2027-05", "?q=part+777"]


async def of_one_room(directory: Path, episodes: int = EPISODES) -> list[Figure]:
    """Measure one room with very many episodes."""
    (room,) = await fill(directory, 1, MEMBERS, episodes)
    root = f"/r/{room.key}/"
    async with served(directory) as (server, store):
        names = await documents_of(server.port, room)
        pages = await pages_of(store)
        await timed(server.port, *(root + page for page in pages))
    cold = {}
    for name in ("feed.xml", names[1], names[len(names) // 2], names[-1], *pages):
        async with served(directory) as (server, _):
            await timed(server.port, "/healthz")
            cold[name] = await timed(server.port, root + name)
    every = [root + name for name in names]
    async with served(directory) as (server, store), watched(server.port) as stills:
        walk = await timed(server.port, *every)
        async with store.write() as db:
            await rooms.touch(db, room.room_id, datetime.now(UTC))
        again = await timed(server.port, *every)
        never = [f"{root}feed-{number}.xml" for number in range(50_000, 50_000 + LOOKS // 2)]
        never += [f"{root}feed-1-{number}.xml" for number in range(1_000, 1_000 + LOOKS // 2)]
        unknown = await timed(server.port, *never, status="404")
    async with served(directory) as (server, _), watched(server.port) as together:
        timer = Timer()
        await asyncio.gather(*(timed(server.port, *every[part::AT_ONCE]) for part in range(AT_ONCE)))
        at_once = timer.took()
    name, worst = max(cold.items(), key=lambda each: each[1])
    usual = Took(*(statistics.mean(values) for values in zip(*cold.values(), strict=True)))
    turn, health = max(stills.loop, together.loop), max(stills.health, together.health)
    return [
        at_most(
            f"any page of a {episodes}-episode podcast, cold", worst.wall, COLD_S, "s",
            f" (`{name}`; on average {usual})",
        ),
        at_most(
            f"a walk over all {len(names)} documents of it", walk.wall, WALK_S, "s",
            f" ({walk}; after a change elsewhere: {again}; by {AT_ONCE} at once: {at_once})",
        ),
        at_most(
            "a document that never was, with a connection of its own", unknown.wall / LOOKS * 1000, NOT_FOUND_MS, "ms",
            f" ({unknown.cpu / LOOKS * 1000:.2f} ms of CPU)",
        ),
        at_most("the longest turn of the event loop meanwhile, in CPU", turn * 1000, TURN_MS, "ms"),
        of("`/healthz` meanwhile, at worst", health * 1000, "ms"),
    ]  # fmt: skip


async def of_many_rooms(directory: Path, count: int = ROOMS, each: int = EACH) -> list[Figure]:
    """Measure many rooms with many episodes: the feed, the oldest document and the page of each."""
    made = await fill(directory, count, MEMBERS, each)
    async with served(directory) as (server, _):
        paths = [f"/r/{room.key}/{name}" for room in made for name in ("feed.xml", "feed-1-1.xml", "")]
        took = [await timed(server.port, path) for path in paths]
    mean = Took(*(statistics.mean(values) for values in zip(*took, strict=True)))
    what = f"any page of {count} rooms with {each} episodes each, cold"
    return [at_most(what, max(took).wall, COLD_S, "s", f" (on average {mean})")]


def figures() -> list[Figure]:
    found: list[Figure] = []
    for measure in (of_one_room, of_many_rooms):
        with tempfile.TemporaryDirectory() as folder:
            found += asyncio.run(measure(Path(folder)))
    return found
