"""The whole line, from a speaker to a listener: real homeserver, encrypted room, the bot as a process of its own.

CPU of all that the bot does for an hour of sound, sync and downloads included; and the time from the last chunk and
`stopped`, both acknowledged by the homeserver, to the answer that lists the episode in the listener's feed.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import chain, cycle, islice
from pathlib import Path

import aiohttp

from benchmarks import usage
from benchmarks.figures import Figure, at_most, of
from benchmarks.soaking.process import BotProcess
from bot.demo.broadcaster import Broadcaster
from bot.demo.listener import enclosures
from bot.demo.people import Person
from bot.demo.slicing import PACKET, speech
from bot.demo.synapse import Homeserver
from storage import archive, tracks
from storage.place import Place
from storage.records import SAMPLE_RATE, EventId
from storage.store import Store
from tests.lab import PASSWORD
from tests.line.conftest import Worlds
from tests.line.world import move_in, personal_feed

HOUR = 3600
CHUNK_S = 120
CHUNKS = 10  # whose CPU is measured
ENDS = 5  # broadcasts whose end is measured
CPU_S = 25.0  # per hour of sound
FINISH_S = 0.6
LOOK_S = 0.01


@dataclass
class Course:
    cpu_s: float = 0.0  # of the chunks that are measured
    children_s: float = 0.0  # of these, ffmpeg's
    finish_s: list[float] = field(default_factory=list)
    chunk_s: list[float] = field(default_factory=list)  # from a chunk's acknowledgement to its place in the track


@dataclass
class Line:
    bot: BotProcess
    store: Store  # the bot's, to look into
    speaker: Person
    room: str
    feed: str

    def cpu(self) -> tuple[float, float]:
        """Return the CPU seconds of the bot and the database's server, and those of the bot's children."""
        own, children = self.bot.cpu()
        return own + usage.database_cpu(), children

    def broadcaster(self) -> Broadcaster:
        return Broadcaster(self.speaker, self.room, chunk_seconds=CHUNK_S)

    async def encoded(self, broadcast: str, samples: int) -> None:
        """Wait until so much of a broadcast is in its track."""
        while True:
            async with self.store.read() as db:
                recording = await archive.recording_by_event(db, EventId(broadcast))
                cuts = await tracks.cuts(db, recording.id) if recording else ()
            if sum(cut.samples for cut in cuts if cut.gains) >= samples:
                return
            await asyncio.sleep(LOOK_S)

    async def listed(self, http: aiohttp.ClientSession, count: int) -> None:
        """Wait until the feed lists so many episodes."""
        while True:
            async with http.get(self.feed) as answer:
                if len(enclosures(await answer.read())) >= count:
                    return
            await asyncio.sleep(LOOK_S)


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[Line]:
    """Start homeserver and bot, and let a speaker invite the bot."""
    homeserver = await Homeserver.start(directory / "homeserver")
    try:
        world = await Worlds(homeserver, directory)()
        place = Place(world.directory)
        world.tree["web"] |= {"host": "127.0.0.1", "public_url": world.web}
        world.tree["storage"] |= {"database_url": place.database_url}
        bot = BotProcess(world.tree, directory)
        await bot.start()
        try:
            await homeserver.register("alice", PASSWORD)
            async with await Person.log_in(homeserver.address, "alice", PASSWORD, directory / "alice") as alice:
                room = await move_in(world, alice, encrypted=True)
                feed, _ = await personal_feed(world, alice, room)
                store = await Store.look(place)
                try:
                    yield Line(bot, store, alice, room, feed)
                finally:
                    await store.close()
        finally:
            await bot.close()
    finally:
        await homeserver.stop()


async def measured(directory: Path) -> Course:
    course = Course()
    packets = cycle(chain(speech(1), speech(2)))

    def spoken(seconds: float) -> list[bytes]:
        return list(islice(packets, round(seconds * SAMPLE_RATE / PACKET)))

    async with running(directory) as line, aiohttp.ClientSession() as http:
        broadcaster = line.broadcaster()
        broadcast = await broadcaster.start()
        for number in range(CHUNKS + 1):
            (piece,) = broadcaster.cut(spoken(CHUNK_S))
            if number == 1:  # the first has to load much
                cpu, children = line.cpu()
            await broadcaster.send_chunk(piece)
            began = time.monotonic()
            await line.encoded(broadcast, (number + 1) * CHUNK_S * SAMPLE_RATE - SAMPLE_RATE)
            course.chunk_s.append(time.monotonic() - began)
        await broadcaster.stop()
        await line.listed(http, 1)
        now = line.cpu()
        course.cpu_s, course.children_s = now[0] - cpu, now[1] - children
        for number in range(ENDS):
            broadcaster = line.broadcaster()
            await broadcaster.start()
            assert not broadcaster.cut(spoken(CHUNK_S - 1))
            await broadcaster.stop()
            began = time.monotonic()
            await line.listed(http, number + 2)
            course.finish_s.append(time.monotonic() - began)
    return course


def figures() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        course = asyncio.run(measured(Path(folder)))
    per_hour = HOUR / (CHUNKS * CHUNK_S)
    finish, shown = statistics.median(course.finish_s), ", ".join(f"{each:.2f}" for each in course.finish_s)
    chunk = statistics.median(course.chunk_s[1:])
    return [
        at_most(
            "CPU of all of it per audio hour, 120 s chunks, sync and downloads included",
            course.cpu_s * per_hour,
            CPU_S,
            "s",
            f" ({course.children_s * per_hour:.1f} s of it ffmpeg's)",
        ),
        at_most(
            "last chunk of 120 s and `stopped` → in the feed, real homeserver", finish, FINISH_S, "s", f" ({shown})"
        ),
        of("chunk of 120 s acknowledged → in its track", chunk, "s"),
    ]
