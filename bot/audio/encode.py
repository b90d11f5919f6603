"""Pieces into an episode: joined PCM, one gain, MP3, tags; whole under its name or not there at all."""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from bot.audio.decode import BLOCK, Pcm, pcm
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.level import Level, level_for
from bot.audio.leveller import CEILING_DBTP
from bot.audio.limiter import Limiter
from bot.audio.loudness import Meter
from bot.audio.mp3 import frame_size, info_frame
from bot.audio.peaks import PeakMeter
from bot.audio.plan import Mismatch, Piece, length
from bot.audio.tags import EpisodeTags, id3
from bot.errors import GiveUp, TryLater
from storage.records import SAMPLE_RATE, Samples, to_ms

_COPY = 1 << 20


@dataclass(frozen=True, slots=True)
class MadeEpisode:
    bytes: int
    sha256: str  # lower-case hex
    samples: Samples  # what a decoder that reads the Info frame gives, exactly
    gain_db: float  # that the whole was raised or lowered by
    mismatches: tuple[Mismatch, ...] = ()


async def make_episode(
    pieces: Sequence[Piece],
    out: Path,
    *,
    tags: EpisodeTags,
    bitrate_kbps: int,
    loudness_lufs: float | None,
    ffmpeg: Ffmpeg,
    workdir: Path,
) -> MadeEpisode:
    """Joins, levels, encodes and tags; `out` is replaced at once, and only by a whole file. Its folder must be there.

    Raises GiveUp (`empty`) for a plan without sound, TryLater when ffmpeg fails or hangs, OSError for the disk's.
    """
    samples = length(pieces)
    if not samples:
        raise GiveUp("there is nothing to join", reason="empty")
    mismatches: list[Mismatch] = []
    level = Level()
    if loudness_lufs is not None:
        level = await _measured(pieces, loudness_lufs, ffmpeg, workdir)
    with tempfile.TemporaryDirectory(prefix="episode-", dir=workdir, ignore_cleanup_errors=True) as folder:
        frames = Path(folder) / "frames.mp3"
        joined = pcm(pieces, ffmpeg, workdir, report=mismatches.append)
        blocks = _gathered(joined)
        async with aclosing(joined), aclosing(blocks), aclosing(_levelled(blocks, level)) as levelled:
            await ffmpeg.encode_mp3(levelled, frames, kbps=bitrate_kbps, seconds=samples / SAMPLE_RATE)
        size, sha256 = await asyncio.to_thread(_put_together, frames, samples, bitrate_kbps, tags, out)
    return MadeEpisode(size, sha256, samples, level.gain_db, tuple(mismatches))


async def _measured(pieces: Sequence[Piece], target: float, ffmpeg: Ffmpeg, workdir: Path) -> Level:
    """What brings the whole to `target` LUFS."""
    meter, peak = Meter(), PeakMeter()
    joined = pcm(pieces, ffmpeg, workdir, report=_told_later)
    async with aclosing(joined), aclosing(_gathered(joined)) as blocks:
        async for block in blocks:
            await asyncio.to_thread(meter.add, block[:, None])
            await asyncio.to_thread(peak.add, block[:, None])
    return await asyncio.to_thread(level_for, meter, peak, target)


def _told_later(_: Mismatch) -> None:
    """The encoding pass meets the same pieces and reports them."""


async def _gathered(blocks: AsyncIterator[Pcm]) -> AsyncGenerator[Pcm, None]:
    """The same sound in long blocks: fewer hops into threads."""
    waiting: list[Pcm] = []
    count = 0
    async for block in blocks:
        waiting.append(block)
        count += len(block)
        if count >= BLOCK:
            yield np.concatenate(waiting)
            waiting, count = [], 0
    if waiting:
        yield np.concatenate(waiting)


async def _levelled(blocks: AsyncIterator[Pcm], level: Level) -> AsyncGenerator[bytes, None]:
    """The same number of samples, as bytes."""
    factor = np.float32(10 ** (level.gain_db / 20))
    if level.limited:
        limiter = Limiter(ceiling_db=CEILING_DBTP)
        async for block in blocks:
            yield (await asyncio.to_thread(limiter.push, (block * factor)[:, None])).tobytes()
        yield limiter.flush().tobytes()
        return
    async for block in blocks:
        yield (block * factor if level.gain_db else block).tobytes()


def _put_together(frames: Path, samples: Samples, kbps: int, tags: EpisodeTags, out: Path) -> tuple[int, str]:
    """Tag, Info frame and frames under a temporary name, then to `out`. Size and SHA-256. Blocking."""
    count, rest = divmod(frames.stat().st_size, frame_size(kbps))
    try:
        head = id3(tags, to_ms(samples)) + info_frame(frames=count, kbps=kbps, samples=samples)
    except ValueError:
        raise TryLater("ffmpeg wrote an episode of the wrong length") from None
    if rest:
        raise TryLater("ffmpeg wrote an episode of another form than it was told")
    with tempfile.NamedTemporaryFile(prefix=f".{out.name}.", dir=out.parent, delete=False) as target:
        temporary = Path(target.name)
        try:
            size, sha256 = _copy(head, frames, target)
            target.flush()
            os.fsync(target.fileno())
            temporary.replace(out)
        finally:
            temporary.unlink(missing_ok=True)
    _sync_folder(out.parent)
    return size, sha256


def _copy(head: bytes, frames: Path, target: IO[bytes]) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    with frames.open("rb") as file:
        block = head
        while block:
            digest.update(block)
            size += target.write(block)
            block = file.read(_COPY)
    return size, digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    """The new name is on the disk too."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
