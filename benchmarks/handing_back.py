"""Voice messages of broadcasts of an hour: one whose packets are copied, and one with a pause, which is encoded."""

import asyncio
import tempfile
import time
from pathlib import Path

from benchmarks import pipeline, usage
from benchmarks.figures import Figure
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.inspect import inspect_chunk
from bot.audio.plan import Piece, Sound
from bot.audio.voice_message import make_voice_message
from storage.records import OggFacts, Samples
from tests.audio.sounds import as_key, local

HOUR = 3600
CHUNK_S = 120


async def stored(folder: Path, ffmpeg: Ffmpeg, streams: int) -> list[Piece]:
    """Store a broadcast in slices, as Element Web cuts them, in so many streams."""
    pieces: list[Piece] = []
    for stream in range(streams):
        before: OggFacts | None = None
        for number, piece in enumerate(pipeline.slices(HOUR // streams, CHUNK_S)):
            path = folder / f"{stream}-{number}.ogg"
            await asyncio.to_thread(path.write_bytes, piece.data)
            facts = await inspect_chunk(path, ffmpeg, max_seconds=HOUR)
            assert facts.ogg is not None
            if not facts.ogg.packet_samples:  # the slice that only ends a stream
                continue
            end = before.end_granule if before else None
            samples = Samples(facts.ogg.packet_samples - facts.ogg.end_trim(end)) if number else facts.samples
            pieces.append(Sound(as_key(path), facts.container, number > 0, samples))
            before = facts.ogg
    return pieces


async def made(streams: int) -> tuple[float, float]:
    """Make the voice message; return the seconds and the CPU seconds that it took."""
    ffmpeg = Ffmpeg.find()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pieces = await stored(folder, ffmpeg, streams)
        out = folder / "out"
        await asyncio.to_thread(out.mkdir)
        began, before = time.monotonic(), usage.cpu_seconds()
        await make_voice_message(pieces, 1, out, local=local, ffmpeg=ffmpeg, max_bytes=1 << 30)
        return time.monotonic() - began, usage.cpu_seconds() - before


def figures() -> list[Figure]:
    found = []
    for what, streams, bound in (("one stream", 1, 30.0), ("a pause: encoded", 2, 30.0)):
        took_s, cpu_s = asyncio.run(made(streams))
        measured = f"{took_s:.1f} s, {cpu_s:.1f} s of CPU"
        found.append(Figure(f"voice message of 1 h, {what}", f"≤ {bound:g} s", measured, took_s <= bound))
    return found
