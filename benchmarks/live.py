"""A hundred recordings live at once: memory, and with how many the bot keeps up."""

import asyncio
import tempfile
import time
from pathlib import Path

from benchmarks import pipeline, usage
from benchmarks.figures import Figure, at_least, at_most, of
from bot.demo.slicing import PRE_SKIP
from storage.records import SAMPLE_RATE

ROOMS = 100
AT_ONCE = 300.0
ROUNDS = 2
CHUNK_SECONDS = 120
MEMORY_MIB = 220.0


async def run(directory: Path, rooms: int = ROOMS, rounds: int = ROUNDS, chunk_s: int = CHUNK_SECONDS) -> list[Figure]:
    """Let all rooms send a chunk at the same time, and the next one when all are in their tracks: harder than real
    use, where chunks are spread out."""
    async with pipeline.running(directory) as running:
        broadcasts = [running.broadcast(f"room{number}") for number in range(rooms)]
        for broadcast in broadcasts:
            await broadcast.start(chunk_s)
        media = [
            await asyncio.to_thread(_upload, broadcast, serial, rounds, chunk_s)
            for serial, broadcast in enumerate(broadcasts)
        ]
        usage.forget_peak()
        began, cpu = time.monotonic(), usage.cpu_seconds()
        for number in range(rounds):
            for broadcast, uploaded in zip(broadcasts, media, strict=True):
                await broadcast.announce(uploaded[number])
            said = (number + 1) * chunk_s * SAMPLE_RATE - PRE_SKIP
            for broadcast in broadcasts:
                await running.until_encoded(broadcast, said)
        took, cpu = (time.monotonic() - began) / rounds, (usage.cpu_seconds() - cpu) / rounds
        peak = usage.peak_mib()
        # Two of them end while the others continue: as many as are finished at once.
        for broadcast in broadcasts[:2]:
            await broadcast.stop()
        for broadcast in broadcasts[:2]:
            await broadcast.published()
        joining = usage.peak_mib()
    keeps_up = rooms * chunk_s / took
    hours = rooms * chunk_s / 3600
    more = f", {joining:.0f} MiB while two are joined"
    return [
        at_most(f"memory with {rooms} live, without ffmpeg", peak, MEMORY_MIB, "MiB", more),
        at_least("live at once, each chunk in its track before the next one", keeps_up, AT_ONCE, ""),
        of(f"CPU per audio hour with {rooms} live, chunks of {chunk_s} s", cpu / hours, "s"),
    ]


def _upload(broadcast: pipeline.Broadcast, serial: int, rounds: int, chunk_s: int) -> list[pipeline.Uploaded]:
    """Upload all media of a room beforehand, with a serial of its own, so that no two rooms share a blob."""
    pieces = pipeline.slices(rounds * chunk_s, chunk_s, serial)[:rounds]
    return [broadcast.upload(piece) for piece in pieces]


def figures() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(run(Path(folder)))
