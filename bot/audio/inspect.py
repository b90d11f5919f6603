"""A look into a stored chunk: what it is, how long it is, and whether it can be joined."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import numpy as np

from bot.audio.containers import refuse_truncated, sniff, timing, told_samples
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.mp3 import MP3_REST
from bot.audio.opus import Chained, opus_facts
from bot.errors import GiveUp
from storage.records import SAMPLE_RATE, ChunkFacts, Container, Samples, Timing

ANNOUNCED_TIMES = 10  # longer than so many times what its event says: a bomb, or another file
SPARSE_S = 900.0  # so much sound may be in however few bytes: somebody forgot that they are muted
SPARSEST = 500  # bytes for each second where there is more: two thirds of the lowest rate of any codec of speech
MAYBE_MONO = frozenset({Container.MP4_AAC, Container.ADTS_AAC})
"""HE-AAC doesn't always say whether its one channel is spread to two; ffmpeg makes two of it in any case."""
RATES = range(4_000, 192_001)  # Hz
MAX_CHANNELS = 8
ROUNDED = {Timing.EXACT: SAMPLE_RATE // 500, Timing.ESTIMATED: SAMPLE_RATE // 10}
"""Samples: units of time are up to 1/600 s, and who doesn't tell the padding may be wrong by a frame or two."""
SHORT = SAMPLE_RATE  # samples
"""A chunk that lacks no more of what its container says is kept, with silence for it: frames were damaged."""


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
    rate, channels = await ffmpeg.describe(path, container)
    if rate and (rate not in RATES or channels > MAX_CHANNELS):
        raise GiveUp("the chunk's sample rate or channels are none of a recording", reason="undecodable")
    bound = _bearable(path, max_seconds)
    if announced_ms is not None and announced_ms > 0 and container is not Container.OGG_OPUS:
        bound = min(bound, announced_ms / 1000 * ANNOUNCED_TIMES)
    heard, alike = await _decoded(path, container, ffmpeg, bound, channels)
    facts = ChunkFacts(container, exact, heard, sample_rate=rate, channels=1 if alike else channels)
    return facts if told is None else _compared(facts, told)


def _compared(facts: ChunkFacts, told: int) -> ChunkFacts:
    """With the length that the container says, where no more than SHORT of that could not be decoded: what is missing
    is noted when it is joined. Raises GiveUp (`truncated`) where more is; of MP4 all is kept, for some writers don't
    know how long their file is, and its timing is as good as none."""
    lacking = told - facts.samples
    if facts.container is Container.MP3 and 0 <= -lacking <= MP3_REST:
        return replace(facts, samples=Samples(told))
    if lacking <= ROUNDED[facts.timing]:
        return facts
    if lacking <= SHORT:
        return replace(facts, samples=Samples(told))
    if facts.container is Container.MP4_AAC:
        return replace(facts, timing=Timing.ESTIMATED)
    raise GiveUp("the chunk's file holds less sound than it says", reason="truncated")


def _bearable(path: Path, max_seconds: float) -> float:
    """How much sound a file of this size may hold: hours of silence in a few bytes are work and nothing to hear."""
    return min(max_seconds, max(SPARSE_S, path.stat().st_size / SPARSEST))


def _look(path: Path, max_seconds: float) -> ChunkFacts | tuple[Container, Timing, int | None]:
    """Everything that can be told without decoding: the facts, or container, timing and the length that it says."""
    with path.open("rb") as file:
        container = sniff(file)
        if container is not Container.OGG_OPUS:
            refuse_truncated(file, container)
            return container, timing(file, container), told_samples(file, container)
        file.seek(0)
        try:
            return opus_facts(file, max_samples=int(_bearable(path, max_seconds) * SAMPLE_RATE))
        except Chained:
            return container, Timing.ESTIMATED, None


async def _decoded(
    path: Path, container: Container, ffmpeg: Ffmpeg, max_seconds: float, channels: int
) -> tuple[Samples, bool]:
    """Counts; and whether two channels are the same sound. A little more than allowed is decoded, to see that there is
    more."""
    two = channels == 2 and container in MAYBE_MONO
    size = 8 if two else 4
    limit = int(max_seconds * SAMPLE_RATE)
    count, sounds, alike, rest = 0, False, two, b""
    decoded = ffmpeg.decode(path, container, max_seconds=max_seconds + 1, channels=2 if two else 1)
    async with aclosing(decoded) as blocks:
        async for block in blocks:
            count += len(block)
            if count > limit * size:
                raise GiveUp("the chunk is longer than announced or allowed", reason="too_long")
            if alike:
                block = rest + block
                whole = len(block) // size * size
                rest = block[whole:]
                left, right = np.frombuffer(block[:whole], "<f4").reshape(-1, 2).T
                sounds |= bool(left.any())
                alike = np.array_equal(left, right)
    if not count:
        raise GiveUp("the chunk holds no sound", reason="undecodable")
    return Samples(count // size), alike and sounds
