"""The writing of stems: CPU of a leg, how long the event loop is held, and how long a second's sync takes; and the
making of downloads of all stems of a call."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.figures import Figure, at_most
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.ogg import OggPage
from bot.audio.placed import blocks, placed, together
from bot.calls.media.door import OpusPacket
from bot.calls.stems.stream import StemStream
from bot.recording.model import StemOpened
from storage.records import SAMPLE_RATE, Samples
from tests.calls.stems import a_stem
from tests.calls.stems.studio import Studio, studio_in

SECONDS = 60  # of a call
LEGS = (8, 32)
LEG_CPU = 0.5  # % of a core: a third of what a leg may take
LOOP_MS = 10.0
HOURS = 0.5  # of each stem that is downloaded
TRACKS = 4
FRAME = 960  # samples
SPEECH = bytes([0x78]) + bytes(range(1, 80))  # 20 ms at 32 kbit/s


def packets(begin: int, end: int) -> Iterator[OpusPacket]:
    for at in range(begin, end, FRAME):
        yield OpusPacket(Samples(at + 312), Samples(FRAME), SPEECH)


def figures() -> list[Figure]:
    """Measure the writing with few and many legs, and the downloads."""
    written = [figure for legs in LEGS for figure in asyncio.run(_writing(legs))]
    return [*written, *asyncio.run(_downloads())]


async def _writing(legs: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        async with studio_in(Path(folder)) as studio:
            for number in range(1, legs + 1):
                stem = replace(a_stem(number), device_id=str(number))
                await studio.apply(StemOpened(stem))
                await studio.call.open(stem)
            cpu = time.process_time()
            taken, held = await _second_by_second(studio, legs)
            await studio.finish(SECONDS * SAMPLE_RATE)
            cpu = time.process_time() - cpu
    what = f"stems, {legs} legs"
    return [
        at_most(f"{what}: CPU of a leg", cpu / legs / SECONDS * 100, LEG_CPU, "% of a core"),
        at_most(f"{what}: CPU of the loop in one go", max(held) * 1000, LOOP_MS, "ms"),
        Figure(f"{what}: a second's sound on the disk", "", f"{sorted(taken)[len(taken) // 2] * 1000:.0f} ms"),
    ]


async def _second_by_second(studio: Studio, legs: int) -> tuple[list[float], list[float]]:
    """Write a call as fast as it can be. Return the time that each second took, and the CPU times of the loop between
    two turns."""
    taken, held, done = list[float](), list[float](), asyncio.Event()

    async def watch() -> None:
        last = time.thread_time()
        while not done.is_set():
            await asyncio.sleep(0)
            now = time.thread_time()
            held.append(now - last)
            last = now

    for second in range(SECONDS):
        for number in range(1, legs + 1):
            for packet in packets(second * SAMPLE_RATE, (second + 1) * SAMPLE_RATE):
                studio.call.put(number, packet)
        began = time.perf_counter()
        if second % 10 == 1:  # the second in which slices are kept; watching costs CPU itself
            watching = asyncio.create_task(watch())
            await studio.advance((second + 1) * SAMPLE_RATE)
            done.set()
            await watching
            done.clear()
        else:
            await studio.advance((second + 1) * SAMPLE_RATE)
        taken.append(time.perf_counter() - began)
    return taken, held


async def _downloads() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.ogg" for number in range(TRACKS)]
        for file in files:
            await asyncio.to_thread(_write, file)
        cpu = time.process_time()
        size = sum(len(block) for file in files for block in blocks(_placed(file)))
        zipped = time.process_time() - cpu
        cpu = time.process_time()
        async for block in Ffmpeg.find().to_matroska(_blocks(files), seconds=TRACKS * HOURS * 3600):
            size += len(block)
        tracks = time.process_time() - cpu
    hours = TRACKS * HOURS
    return [
        Figure("download of all stems as a zip: CPU for an hour of a stem", "", f"{zipped / hours:.2f} s"),
        Figure("the same as Matroska, without ffmpeg", "", f"{tracks / hours:.2f} s"),
    ]


def _write(file: Path) -> None:
    stream = StemStream(Samples(SAMPLE_RATE), 1)
    with file.open("wb") as out:
        for number, packet in enumerate(packets(SAMPLE_RATE, int(HOURS * 3600) * SAMPLE_RATE)):
            stream.put(packet)
            if number % 50 == 0:
                out.write(stream.take())
                stream.runs()
        stream.finish(Samples(0))
        out.write(stream.take())


def _placed(file: Path) -> Iterator[OggPage]:
    with file.open("rb") as opened:
        yield from placed(opened, Samples(SAMPLE_RATE), serial=1, title="Ann")


async def _blocks(files: list[Path]) -> AsyncIterator[bytes]:
    made = blocks(together([_placed(file) for file in files]))
    while (block := await asyncio.to_thread(next, made, None)) is not None:
        yield block
