"""Clients of studios, as their pages are, in a process of their own: their CPU is not the bot's.

The process reads its plan, and then orders, as lines; it answers each with a line of JSON.
"""

import asyncio
import json
import secrets
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import chain, cycle, islice
from typing import Any

from aiohttp import ClientSession, ClientTimeout, TCPConnector

from benchmarks import pipeline
from bot.audio.slicing import PACKET, PRE_SKIP, Slice, Slicer
from bot.demo.slicing import speech
from bot.dialects.studio import started_id
from bot.event_types import CREATE, MEMBER, POWER_LEVELS
from bot.feeds.addresses import look_up_hash, token_for
from bot.studio.broadcasting import PAGE
from bot.studio.writing import new_studio
from storage import rooms, studios
from storage.records import (
    SAMPLE_RATE,
    EventId,
    Json,
    Position,
    Room,
    RoomId,
    StateEvent,
    Studio,
    StudioSource,
    UserId,
    Visibility,
)
from storage.store import Store

CLIENT = "benchmark"
SPEAKER = UserId(pipeline.SPEAKER)
LOOKS_EACH_S = 5.0
AGAIN_S = 1.0


@dataclass(frozen=True)
class Desk:
    """A studio in a room of its own."""

    studio: Studio
    room: Room
    path: str

    @property
    def event_id(self) -> EventId:
        return started_id(self.studio)


async def open_studio(store: Store, name: str, visibility: Visibility = Visibility.PRIVATE) -> Desk:
    """Make a room with a studio of its speaker's."""
    now = datetime.now(UTC)
    room_id = RoomId(f"!{name}:bench")
    made = replace(rooms.new_room(room_id, now), joined=True, recording_on=True, told_at=Position(0))
    room = replace(made, visibility=visibility)
    token = token_for(secrets.token_bytes(32), room_id, SPEAKER, 0)
    studio = replace(new_studio(room_id, SPEAKER, StudioSource.PAGE, now), token_sha256=look_up_hash(token))
    state: tuple[tuple[str, str, Json], ...] = (
        (CREATE, "", {"room_version": "10"}),
        (POWER_LEVELS, "", {"users": {SPEAKER: 100}}),
        (MEMBER, SPEAKER, {"membership": "join"}),
    )
    async with store.write() as db:
        await rooms.save_room(db, room)
        for kind, key, content in state:
            event_id = EventId(f"${name}-{kind}")
            await rooms.save_state(db, StateEvent(room_id, kind, key, SPEAKER, content, Position(0), event_id))
        studio = await studios.add(db, studio)
    return Desk(studio, room, f"/studio/{token}/")


@dataclass(frozen=True)
class Plan:
    """Broadcasts that go on at the same time, each with a sound of its own."""

    address: str
    paths: Sequence[str]
    seconds: float
    slice_s: float


@dataclass(frozen=True)
class Told:
    """The times in which slices were acknowledged, those in which the state was told, and requests that had to be
    repeated."""

    taken_s: tuple[float, ...]
    looked_s: tuple[float, ...]
    again: int


class Clients:
    """The process with the clients."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, order: str) -> Any:
        """Have something done: `next` sends a slice of each, one after the other, `all` the rest of them in real time,
        `stop` ends them. Return what is told."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(order.encode() + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the clients have failed")
        return json.loads(line)

    async def all(self) -> Told:
        """Send all that is left, in real time."""
        told = await self.ask("all")
        return Told(tuple(told["taken_s"]), tuple(told["looked_s"]), told["again"])


@asynccontextmanager
async def clients_of(plan: Plan) -> AsyncIterator[Clients]:
    """Begin the broadcasts. Their process, and its CPU, ends with the context."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.studio_clients"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
    )
    try:
        clients = Clients(process)
        await clients.ask(json.dumps(asdict(plan)))
        yield clients
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()  # it may be in the middle of a broadcast
        raise
    finally:
        await process.communicate(b"")  # which closes its input


def slices(plan: Plan, serial: int) -> list[Slice]:
    """Cut the shipped speech, repeated, as the page of a studio does once it is live; the last one has the end."""
    run = Slicer(serial, plan.slice_s, page=PAGE)
    packets = islice(cycle(chain(speech(1), speech(2))), round(plan.seconds * SAMPLE_RATE / PACKET))
    return [*run.feed(list(packets)), run.end()]


def audible(pieces: Sequence[Slice]) -> int:
    """Return the samples that are heard of these slices of a run."""
    return max(0, sum(piece.samples for piece in pieces) - PRE_SKIP)


# ---- in the process


class _Page:
    def __init__(self, http: ClientSession, root: str, pieces: list[Slice], slice_s: float) -> None:
        self.left = pieces
        self.taken_s: list[float] = []
        self.looked_s: list[float] = []
        self.again = 0
        self._http = http
        self._root = root
        self._slice_s = slice_s
        self._number = 0

    async def step(self, step: str, **more: int) -> None:
        async with self._http.post(f"{self._root}{step}", json={"client": CLIENT, **more}) as answer:
            answer.raise_for_status()

    async def stop(self) -> None:
        await self.step("stop", last=self._number)

    async def send(self) -> None:
        """Send the next slice, and again until it is taken."""
        self._number += 1
        piece = self.left.pop(0)
        headers = {"X-Client": CLIENT, "X-Duration-Ms": str(max(1, piece.duration_ms))}
        began = time.monotonic()
        while True:
            async with self._http.put(f"{self._root}slice-{self._number}", data=piece.data, headers=headers) as answer:
                if answer.status in (200, 201):
                    break
                if answer.status not in (429, 503):
                    answer.raise_for_status()
            self.again += 1
            await asyncio.sleep(AGAIN_S)
        self.taken_s.append(time.monotonic() - began)

    async def speak(self, begin: float) -> None:
        """Send slices when they have been said, the first one at `begin`, and look at the state as the page does."""
        looking = asyncio.create_task(self._look())
        try:
            for number in range(len(self.left)):
                await asyncio.sleep(max(0.0, begin + number * self._slice_s - time.monotonic()))
                await self.send()
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def _look(self) -> None:
        while True:
            began = time.monotonic()
            async with self._http.get(f"{self._root}state") as answer:
                answer.raise_for_status()
                await answer.read()
            self.looked_s.append(time.monotonic() - began)
            await asyncio.sleep(LOOKS_EACH_S)


async def _serve() -> None:
    plan = Plan(**json.loads(await _line()))
    async with ClientSession(connector=TCPConnector(limit=0), timeout=ClientTimeout(total=300)) as http:
        pages = [
            _Page(http, plan.address + path, slices(plan, serial), plan.slice_s)
            for serial, path in enumerate(plan.paths, start=1)
        ]
        for page in pages:
            await page.step("start")
        _tell(len(pages))
        while order := await _line():
            _tell(await _do(order, pages, plan.slice_s))


async def _do(order: str, pages: list[_Page], slice_s: float) -> object:
    match order:
        case "next":
            for page in pages:
                await page.send()
            return [page.taken_s[-1] for page in pages]
        case "all":
            began, count = time.monotonic(), len(pages)
            await asyncio.gather(*(page.speak(began + slice_s * number / count) for number, page in enumerate(pages)))
            told = (
                tuple(chain.from_iterable(page.taken_s for page in pages)),
                tuple(chain.from_iterable(page.looked_s for page in pages)),
            )
            return asdict(Told(*told, sum(page.again for page in pages)))
        case _:
            for page in pages:
                await page.stop()
            return len(pages)


async def _line() -> str:
    line: str = await asyncio.to_thread(sys.stdin.readline)
    return line.strip()


def _tell(what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    asyncio.run(_serve())
