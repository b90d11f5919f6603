"""A hundred recordings live at once: what they take of the memory, and how many the bot keeps up with."""

import asyncio
import tempfile
import time
from pathlib import Path

from benchmarks import line, usage
from benchmarks.figures import Figure, at_least, at_most

ROOMS = 100
ROUNDS = 2
CHUNK_SECONDS = 120
MEMORY_MIB = 300.0


async def run(directory: Path) -> list[Figure]:
    """Every room sends a chunk at once, and the next when all are stored: harder than life, where they come apart."""
    async with line.running(directory) as running:
        broadcasts = [running.broadcast(f"room{number}") for number in range(ROOMS)]
        for broadcast in broadcasts:
            await broadcast.start(CHUNK_SECONDS)
        media = [await asyncio.to_thread(_upload, broadcast, serial) for serial, broadcast in enumerate(broadcasts)]
        usage.forget_peak()
        began, cpu = time.monotonic(), usage.cpu_seconds()
        for number in range(ROUNDS):
            for broadcast, uploaded in zip(broadcasts, media, strict=True):
                await broadcast.announce(uploaded[number])
            await running.until_taken_in((number + 1) * ROOMS)
        took, cpu = (time.monotonic() - began) / ROUNDS, (usage.cpu_seconds() - cpu) / ROUNDS
        peak = usage.peak_mib()
        # Two of them end while the others go on: that is as many as are joined at once.
        for broadcast in broadcasts[:2]:
            await broadcast.stop()
        for broadcast in broadcasts[:2]:
            await broadcast.published()
        joining = usage.peak_mib()
    keeps_up = ROOMS * CHUNK_SECONDS / took
    hours = ROOMS * CHUNK_SECONDS / 3600
    more = f", {joining:.0f} MiB while two are joined"
    return [
        at_most(f"memory with {ROOMS} live, without ffmpeg", peak, MEMORY_MIB, "MiB", more),
        at_least("live at once, each chunk stored in time", keeps_up, ROOMS, "", "(nothing is joined meanwhile)"),
        Figure("CPU per audio hour for taking chunks of 120 s in", "", f"{cpu / hours:.1f} s"),
    ]


def _upload(broadcast: line.Broadcast, serial: int) -> list[line.Uploaded]:
    """All media of a room beforehand; each run has a serial of its own, so that no two rooms share a blob."""
    pieces = line.slices(ROUNDS * CHUNK_SECONDS, CHUNK_SECONDS, serial)[:ROUNDS]
    return [broadcast.upload(piece) for piece in pieces]


def figures() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(run(Path(folder)))
