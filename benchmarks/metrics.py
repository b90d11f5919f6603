"""Scrapes of `web.metrics_port`: their time, their CPU, and what they keep the event loop from, with many rooms.

A scrape reads the figures of the database where the last one is older than five seconds, so the clock passes by here.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks import large, usage
from benchmarks.figures import Figure, at_most, of
from benchmarks.http import NOW, get
from benchmarks.pipeline import settings_for
from bot.demo.synapse import free_port
from bot.monitoring.endpoint import monitored
from bot.monitoring.gauges import Probes
from storage import dialect, overview, tables
from storage.place import Place
from storage.records import BlobKey, Chunk, ChunkId, EventId, RecordingId
from storage.store import Store
from tests.clock import Clock
from tests.factories import a_chunk

CHUNKS = 20
"""Chunks of a recording."""
SCRAPES = 100
AGAIN_S = 6.0
"""Seconds after which figures are read anew."""
TURN_MS = 10.0


class Cost(NamedTuple):
    """Milliseconds of a scrape."""

    wall: float
    loop: float  # CPU of the event loop's thread
    cpu: float  # of the process and the database's server


def chunks_of(recordings: int, each: int) -> Iterator[Chunk]:
    for number in range(recordings * each):
        name, recording = f"$chunk{number}", RecordingId(number // each + 1)
        yield a_chunk(
            id=ChunkId(name), recording_id=recording, event_id=EventId(name), sequence=number % each + 1,
            blob=BlobKey(f"{number:064x}"), bytes=100_000,
        )  # fmt: skip


async def fill(store: Store, recordings: int, each: int) -> None:
    async with store.write() as db:
        await large.add_all(db, tables.chunks, chunks_of(recordings, each))
        await dialect.gather_statistics(db, [tables.chunks])


async def scraped(port: int, clock: Clock, count: int, pass_by_s: float) -> list[Cost]:
    """Scrape so many times, with so many seconds between; return what each cost."""
    costs = []
    for _ in range(count):
        clock.pass_by(pass_by_s)
        cpu, loop, wall = time.process_time() + usage.database_cpu(), time.thread_time(), time.perf_counter()
        found = await get(port, "/metrics", {}, 1)
        took = Cost(
            time.perf_counter() - wall, time.thread_time() - loop, time.process_time() + usage.database_cpu() - cpu
        )
        assert found["status"] == "200", found
        costs.append(Cost(*(1000 * value for value in took)))
    return costs


async def measure(directory: Path, rooms: int, recordings: int, chunks: int, scrapes: int) -> list[Figure]:
    """Measure with so many rooms, recordings of each, and chunks of each of these."""
    await large.fill(directory, rooms, large.MEMBERS, recordings)
    store, clock, port = await Store.own(Place(directory)), Clock(NOW), free_port()
    try:
        await fill(store, rooms * recordings, chunks)
        settings = settings_for(directory, web={"metrics_port": port})
        async with monitored(settings, store, clock, Probes(lambda: True)):
            await scraped(port, clock, 2, AGAIN_S)
            with usage.longest_turn() as turn:
                anew = await scraped(port, clock, scrapes, AGAIN_S)
                soon = await scraped(port, clock, scrapes, 0)
                began = time.perf_counter()
                async with store.read() as db:
                    await overview.totals(db)
                adding_up = time.perf_counter() - began
    finally:
        await store.close()
    median, usual = (Cost(*map(statistics.median, zip(*costs, strict=True))) for costs in (anew, soon))
    cpu = statistics.mean(cost.cpu for cost in anew)  # a server's is counted in steps of 10 ms
    worst = max(cost.wall for cost in anew)
    what = f"scrape of `web.metrics_port`, {rooms:,} rooms"
    return [
        of(what, median.wall, "ms", f" (at worst {worst:.0f} ms)"),
        of("CPU of it", cpu, "ms"),
        of("of which the event loop", median.loop, "ms"),
        of("scrape within five seconds of another", usual.wall, "ms", f", of the event loop {usual.loop:.1f} ms"),
        of(f"adding up {rooms * recordings * chunks:,} chunks, once in five minutes", adding_up * 1000, "ms"),
        at_most("the longest turn of the event loop during scrapes, in CPU", turn.longest_s * 1000, TURN_MS, "ms"),
    ]


def figures() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(measure(Path(folder), large.ROOMS, large.RECORDINGS, CHUNKS, SCRAPES))
