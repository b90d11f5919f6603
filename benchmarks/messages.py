"""A session of 500 voice messages: CPU of each as it comes, and the time from its end to the episode in the feed.

Beside it: a broadcast in chunks of the same length, and ffmpeg's concat filter over the same files.
"""

import asyncio
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, cycle, islice
from pathlib import Path

from benchmarks import finishing, joining, pipeline, usage
from benchmarks.figures import Figure, at_most
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.track import settled_frames
from bot.demo.slicing import PACKET, PRE_SKIP, Slicer, speech
from storage.records import SAMPLE_RATE, Samples, to_ms

COUNT = 500
MESSAGE_S = 5
SPEAKERS = ("@alice:bench", "@bob:bench")
GAP_S = 10  # without a message: the session is over
FINISH_S = 0.3
PAUSE = SAMPLE_RATE


@dataclass(frozen=True)
class Course:
    """A session from its first message to its episode."""

    cpu_s: tuple[float, ...]  # of a message, in each quarter of the session
    held_s: float  # the longest block of the event loop, in CPU
    finish_s: float
    finish_cpu_s: float


def message(number: int) -> tuple[bytes, Samples]:
    """Return a message as an Ogg Opus file of its own, and the length of its sound."""
    packets = MESSAGE_S * SAMPLE_RATE // PACKET
    run = Slicer(number, COUNT * MESSAGE_S)
    run.feed(list(islice(cycle(chain(speech(1), speech(2))), number * 37, number * 37 + packets)))
    run.end()
    return run.ogg(), run.audible


async def record(directory: Path) -> Course:
    """Record a session as it happens: each message is in the track before the next is sent."""
    async with pipeline.running(directory, recording={"session_gap_s": GAP_S}) as running:
        session = running.session("talk")
        await session.start()
        await running.covering.of(session.room_id)
        turns, costs, said, cpu = finishing.Turns(), [], 0, usage.cpu_seconds()
        watching = asyncio.create_task(turns.watch())
        for number in range(COUNT):
            data, samples = await asyncio.to_thread(message, number)
            sent = await session.send(data, to_ms(samples), SPEAKERS[number % 2])
            await running.until_fetched(number + 1)
            said += samples + PAUSE * (number > 0)
            await running.until_made(session.id, settled_frames(said))
            if (number + 1) % (COUNT // 4) == 0:
                now = usage.cpu_seconds()
                costs.append((now - cpu) * 4 / COUNT)
                cpu = now
        watching.cancel()
        await asyncio.sleep(GAP_S - 0.5 - (datetime.now(UTC) - sent).total_seconds())
        cpu = usage.cpu_seconds()
        episode = await running.published(session.id)
        finish_s, cpu = (datetime.now(UTC) - sent).total_seconds() - GAP_S, usage.cpu_seconds() - cpu
        assert episode.samples == said, "the episode is not what was said"
        return Course(tuple(costs), turns.longest_s, finish_s, cpu)


async def chunk_cpu(directory: Path) -> float:
    """Record a broadcast in chunks as long as a message; return the CPU seconds of a chunk."""
    pieces = await asyncio.to_thread(pipeline.slices, COUNT // 4 * MESSAGE_S, MESSAGE_S)
    async with pipeline.running(directory) as running:
        broadcast = running.broadcast("talk")
        await broadcast.start(MESSAGE_S)
        await running.covering.of(broadcast.room_id)
        said, before = 0, usage.cpu_seconds()
        for number, piece in enumerate(pieces, start=1):
            await broadcast.send(piece)
            await running.until_fetched(number)
            said += piece.samples
            await running.until_made(broadcast.id, settled_frames(said - PRE_SKIP))
        return (usage.cpu_seconds() - before) / len(pieces)


def concatenated() -> tuple[float, float]:
    """Measure the time and the CPU to decode, join and encode the same files, as one would by hand."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [folder / f"{number}.ogg" for number in range(COUNT)]
        for number, file in enumerate(files):
            file.write_bytes(message(number)[0])
        began, cpu = time.monotonic(), usage.cpu_seconds()
        joining.concatenated(files, Ffmpeg.find(), folder / "out.mp3")
        return time.monotonic() - began, usage.cpu_seconds() - cpu


def figures() -> list[Figure]:
    with tempfile.TemporaryDirectory() as name:
        course = asyncio.run(record(Path(name)))
    with tempfile.TemporaryDirectory() as name:
        chunk_s = asyncio.run(chunk_cpu(Path(name)))
    hand_s, hand_cpu_s = concatenated()
    first, *_, last = course.cpu_s
    beside = f" (ffmpeg's concat filter over all files then: {hand_s:.1f} s, {hand_s / course.finish_s:.0f} times)"
    cpu_s = sum(course.cpu_s) / len(course.cpu_s) * COUNT + course.finish_cpu_s
    return [
        at_most(f"{COUNT} voice messages of {MESSAGE_S} s: end → in the feed", course.finish_s, FINISH_S, "s", beside),
        Figure("the same, CPU", "", f"{course.finish_cpu_s:.2f} s (the filter {hand_cpu_s:.1f} s)"),
        Figure("CPU of all of it", "", f"{cpu_s:.0f} s ({cpu_s / hand_cpu_s:.1f} times the filter's)"),
        Figure(
            "CPU of a message, first quarter", "", f"{first:.3f} s (a chunk of a broadcast as long: {chunk_s:.3f} s)"
        ),
        Figure("the same, last quarter", "", f"{last:.3f} s"),
        at_most("the same, longest block of the event loop", course.held_s * 1000, finishing.HELD_MS, "ms"),
    ]
