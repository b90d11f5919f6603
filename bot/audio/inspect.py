"""A look into a stored chunk: what it is, how long it is, and whether it can be joined."""

import asyncio
from contextlib import aclosing
from pathlib import Path

from bot.audio.containers import mp3_samples, refuse_truncated, sniff, timing
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.mp3 import MP3_REST
from bot.audio.opus import Chained, opus_facts
from bot.errors import GiveUp
from storage.records import SAMPLE_RATE, ChunkFacts, Container, Samples, Timing

ANNOUNCED_TIMES = 10  # longer than so many times what its event says: a bomb, or another file


async def inspect_chunk(path: Path, ffmpeg: Ffmpeg, *, announced_ms: int | None, max_seconds: float) -> ChunkFacts:
    """What the bytes say; neither name nor mimetype is looked at. Ogg Opus is walked page by page, anything else
    decoded once. A tail without packets, as Element Web sends it, has 0 samples.

    Raises GiveUp with `empty`, `not_audio`, `truncated`, `bad_checksum`, `headers_missing`, `too_long` or
    `undecodable`, and TryLater when ffmpeg hangs.
    """
    found = await asyncio.to_thread(_look, path, max_seconds)
    if isinstance(found, ChunkFacts):
        return found
    container, exact, told = found
    bound = max_seconds
    if announced_ms is not None and announced_ms > 0 and container is not Container.OGG_OPUS:
        bound = min(max_seconds, announced_ms / 1000 * ANNOUNCED_TIMES)
    samples = await _decoded(path, container, ffmpeg, bound)
    if told is not None and 0 <= samples - told <= MP3_REST:
        samples = Samples(told)
    rate, channels = await ffmpeg.describe(path, container)
    return ChunkFacts(container, exact, samples, sample_rate=rate, channels=channels)


def _look(path: Path, max_seconds: float) -> ChunkFacts | tuple[Container, Timing, int | None]:
    """Everything that can be told without decoding: the facts, or container, timing and the length that an MP3 says."""
    with path.open("rb") as file:
        container = sniff(file)
        if container is not Container.OGG_OPUS:
            refuse_truncated(file, container)
            return container, timing(file, container), mp3_samples(file) if container is Container.MP3 else None
        file.seek(0)
        try:
            return opus_facts(file, max_samples=int(max_seconds * SAMPLE_RATE))
        except Chained:
            return container, Timing.ESTIMATED, None


async def _decoded(path: Path, container: Container, ffmpeg: Ffmpeg, max_seconds: float) -> Samples:
    """Counts. A little more than allowed is decoded, to see that there is more."""
    limit = int(max_seconds * SAMPLE_RATE)
    count = 0
    async with aclosing(ffmpeg.decode(path, container, max_seconds=max_seconds + 1)) as blocks:
        async for block in blocks:
            count += len(block)
            if count > limit * 4:
                raise GiveUp("the chunk is longer than announced or allowed", reason="too_long")
    if not count:
        raise GiveUp("the chunk holds no sound", reason="undecodable")
    return Samples(count // 4)
