"""Time from `stopped` in the journal to the episode in the feed, and CPU of the whole way, ffmpeg's included."""

import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import joining, pipeline, usage
from benchmarks.figures import Figure, at_most
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.track import settled_frames
from bot.demo.slicing import PRE_SKIP
from storage.records import SAMPLE_RATE

HOUR = 3600
LENGTHS = (15 * 60, HOUR, 2 * HOUR, 4 * HOUR)  # seconds
FINISH_S = 0.1
CPU_S = 25.0  # per hour of audio
HELD_MS = 10.0  # CPU of the event loop between two turns of it


@dataclass(frozen=True)
class Result:
    finish_s: float
    cpu_s: float  # from the first chunk to the episode
    peak_mib: float


async def record(directory: Path, seconds: int, chunk_seconds: int) -> Result:
    """Record one broadcast as it happens live: each chunk is stored before the next is sent, and all are encoded
    before `stopped`."""
    pieces = await asyncio.to_thread(pipeline.slices, seconds, chunk_seconds)
    async with pipeline.running(directory) as running:
        broadcast = running.broadcast("talk")
        await broadcast.start(chunk_seconds)
        await running.covering.of(broadcast.room_id)  # drawn beforehand, as when the bot joins the room
        usage.forget_peak()
        cpu = usage.cpu_seconds()
        for number, piece in enumerate(pieces, start=1):
            await broadcast.send(piece)
            await running.until_fetched(number)
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


def concatenated(seconds: int) -> float:
    """Measure the time to decode, join and encode the same chunks at the end, as one would by hand."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chunks = []
        for number, piece in enumerate(pipeline.slices(seconds, 120)):
            if piece.samples:  # ffmpeg refuses the empty tail that ends a run
                chunks.append(folder / f"{number}.ogg")
                chunks[-1].write_bytes(piece.data)
        began = time.monotonic()
        joining.concatenated(chunks, Ffmpeg.find(), folder / "out.mp3")
        return time.monotonic() - began


def figures(seconds: int) -> list[Figure]:
    """Measure one broadcast of this length in slices of 120 s."""
    result = measured(seconds, 120)
    by_hand = concatenated(seconds) if seconds <= HOUR else None  # it takes a minute for 4 h, in proportion
    beside = f" (ffmpeg's concat filter over all chunks then: {by_hand:.0f} s)" if by_hand is not None else ""
    length = f"{seconds // HOUR} h" if seconds >= HOUR else f"{seconds // 60} min"
    finish = at_most(f"`stopped` → in the feed, {length}", result.finish_s, FINISH_S, "s", beside)
    per_hour = result.cpu_s * HOUR / seconds
    memory = f" (peak {result.peak_mib:.0f} MiB)"
    return [finish, at_most(f"CPU per audio hour, 120 s chunks, {length}", per_hour, CPU_S, "s", memory)]


# ---- a long broadcast in short chunks


@dataclass(frozen=True)
class Course:
    """Figures of a long broadcast over its length."""

    cpu_s: tuple[float, ...]  # per audio hour, of each quarter
    held_s: float
    finish_s: float


class Turns:
    """Samples every 2 ms of how long the event loop is blocked between two turns, in CPU time of its thread: by the
    clock they would count what else the machine does."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def watch(self) -> None:
        """Sample until cancelled."""
        before = time.thread_time()
        while True:
            await asyncio.sleep(0.002)
            now = time.thread_time()
            self.longest_s = max(self.longest_s, now - before)
            before = now


async def record_live(directory: Path, seconds: int, chunk_seconds: int) -> Course:
    """Record one broadcast; each chunk is in its track before the next is sent, as while it is live."""
    pieces = await asyncio.to_thread(pipeline.slices, seconds, chunk_seconds)
    quarter = len(pieces) // 4
    async with pipeline.running(directory) as running:
        broadcast = running.broadcast("talk")
        await broadcast.start(chunk_seconds)
        await running.covering.of(broadcast.room_id)
        turns, costs, said = Turns(), [], 0
        watching = asyncio.create_task(turns.watch())
        for number, piece in enumerate(pieces, start=1):
            if number % quarter == 1:
                cpu, begun = usage.cpu_seconds(), said
            await broadcast.send(piece)
            await running.until_fetched(number)
            said += piece.samples
            await running.until_made(broadcast.id, settled_frames(said - PRE_SKIP))
            if number % quarter == 0:
                costs.append((usage.cpu_seconds() - cpu) * HOUR * SAMPLE_RATE / (said - begun))
        watching.cancel()
        await broadcast.stop()
        began = time.monotonic()
        await broadcast.published()
        return Course(tuple(costs), turns.longest_s, time.monotonic() - began)


def short_chunks() -> list[Figure]:
    """Measure an hour in slices of 5 s: the last of many must not cost more than the first."""
    with tempfile.TemporaryDirectory() as folder:
        course = asyncio.run(record_live(Path(folder), HOUR, 5))
    first, *_, last = course.cpu_s
    return [
        Figure("CPU per audio hour, 5 s chunks, first quarter of 1 h", "", f"{first:.0f} s"),
        Figure("the same, last quarter", "", f"{last:.0f} s"),
        at_most("the same, longest block of the event loop", course.held_s * 1000, HELD_MS, "ms"),
        Figure("`stopped` → in the feed, 1 h in chunks of 5 s", "", f"{course.finish_s:.1f} s"),
    ]
