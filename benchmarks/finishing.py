"""From `stopped` in the journal to the episode in the feed, and the CPU of the whole way, ffmpeg's included."""

import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import line, usage
from benchmarks.figures import Figure, at_most
from storage.records import SAMPLE_RATE

HOUR = 3600
FINISH_S = {15 * 60: 0.5, HOUR: 0.5, 2 * HOUR: 0.5, 4 * HOUR: 1.0}  # budgets by the length of the broadcast
CPU_S = 35.0  # per hour of audio


@dataclass(frozen=True)
class Result:
    finish_s: float
    cpu_s: float  # from the first chunk to the episode
    peak_mib: float


async def record(directory: Path, seconds: int, chunk_seconds: int) -> Result:
    """One broadcast; each chunk is stored before the next one comes, and all are worked on before `stopped`, as while
    it is live."""
    pieces = await asyncio.to_thread(line.slices, seconds, chunk_seconds)
    async with line.running(directory) as running:
        broadcast = running.broadcast("talk")
        await broadcast.start(chunk_seconds)
        await running.pictures.of(broadcast.room_id)  # it was drawn when the bot came into the room
        usage.forget_peak()
        cpu = usage.cpu_seconds()
        for number, piece in enumerate(pieces, start=1):
            await broadcast.send(piece)
            await running.until_taken_in(number)
        await running.until_encoded(broadcast, (seconds - 1) * SAMPLE_RATE)
        await broadcast.stop()
        began = time.monotonic()
        episode = await broadcast.published()
        took, cpu = time.monotonic() - began, usage.cpu_seconds() - cpu
    assert abs(episode.samples / 48_000 - seconds) < 1, "the episode is not what was said"
    return Result(took, cpu, usage.peak_mib())


def measured(seconds: int, chunk_seconds: int) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(record(Path(folder), seconds, chunk_seconds))


def figures(seconds: int) -> list[Figure]:
    """Of one broadcast of this length in slices of 120 s."""
    result = measured(seconds, 120)
    length = f"{seconds // HOUR} h" if seconds >= HOUR else f"{seconds // 60} min"
    finish = at_most(f"`stopped` → in the feed, {length}", result.finish_s, FINISH_S[seconds], "s")
    per_hour = result.cpu_s * HOUR / seconds
    memory = f" (peak {result.peak_mib:.0f} MiB)"
    return [finish, at_most(f"CPU per audio hour, 120 s chunks, {length}", per_hour, CPU_S, "s", memory)]


def short_chunks() -> list[Figure]:
    """CPU in slices of 5 s, of which there are many."""
    seconds = 10 * 60
    result = measured(seconds, 5)
    cpu = result.cpu_s * HOUR / seconds
    name = f"{seconds // 60} min in 120 chunks of 5 s"
    return [
        Figure("CPU per audio hour, 5 s chunks", "", f"{cpu:.0f} s"),
        Figure(f"`stopped` → in the feed, {name}", "", f"{result.finish_s:.1f} s"),
    ]
