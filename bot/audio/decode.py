"""Pieces as one stream of PCM: each is decoded alone, brought to 48 kHz and to the length of the plan, and joined
without a seam."""

import asyncio
import logging
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bot.audio.containers import LEFT_IN
from bot.audio.ffmpeg import BOTH, Ffmpeg
from bot.audio.peaks import Pcm
from bot.audio.plan import LocalFile, Mismatch, Piece, Silence, Sound
from bot.audio.prepare import Prepared, prepare, run_before
from bot.audio.repair import Pause
from bot.audio.resampling import Resampler
from bot.errors import GiveUp
from storage.records import SAMPLE_RATE, Container, Samples

Report = Callable[[Mismatch], Any]

BLOCK = 1 << 18  # samples
LOUDEST = 8.0  # full scale is 1; a float file may claim anything

log = logging.getLogger(__name__)


async def decode_pieces(
    pieces: Sequence[Piece],
    local: LocalFile,
    ffmpeg: Ffmpeg,
    workdir: Path,
    *,
    first: int = 0,
    channels: int = 1,
    report: Report | None = None,
) -> AsyncGenerator[Pcm, None]:
    """Yield all pieces from number `first` on in a row: float32, 48 kHz, (samples, channels), in blocks of at most
    BLOCK samples, exactly as long as the plan. A piece sounds the same whichever piece is the first.

    A piece that decodes to another length, or not at all, is cut or filled with silence, and passed to `report`, which
    logs it by default. Raises TryLater when ffmpeg hangs, OSError when a file is not there.
    """
    run = await run_before(pieces, local, first)
    with tempfile.TemporaryDirectory(prefix="decode-", dir=workdir, ignore_cleanup_errors=True) as folder:
        for index, piece in enumerate(pieces[first:], start=first):
            if isinstance(piece, Silence):
                for block in _silence(piece.samples, channels):
                    yield block
                continue
            async with local(piece.blob) as file:
                prepared = await asyncio.to_thread(prepare, piece, file, run, Path(folder) / "piece.ogg")
                run = prepared.run
                async with aclosing(_fitted(index, piece, prepared, ffmpeg, channels, report or _log)) as blocks:
                    async for block in blocks:
                        yield block


def _log(mismatch: Mismatch) -> None:
    log.warning(
        "piece %d decoded to %d samples instead of %d%s",
        mismatch.piece,
        mismatch.decoded,
        mismatch.expected,
        f" ({mismatch.reason})" if mismatch.reason else "",
    )


def _silence(samples: int, channels: int) -> Iterator[Pcm]:
    for start in range(0, samples, BLOCK):
        yield np.zeros((min(BLOCK, samples - start), channels), np.float32)


@dataclass(slots=True)
class _Outcome:
    """The number of samples that a piece was decoded to, and the reason if there were too few."""

    samples: int = 0
    reason: str | None = None


async def _fitted(
    index: int, sound: Sound, prepared: Prepared, ffmpeg: Ffmpeg, channels: int, report: Report
) -> AsyncGenerator[Pcm, None]:
    """Yield one piece in the length of the plan. A mismatch is reported before the last block."""
    outcome = _Outcome(reason=prepared.reason)
    waiting: Pcm | None = None
    async with aclosing(_measured(sound, prepared, ffmpeg, channels, outcome)) as blocks:
        async for block in blocks:
            if waiting is not None:
                yield waiting
            waiting = block
    outcome.samples -= min(outcome.samples, prepared.trim + prepared.lost)
    if 0 <= outcome.samples - sound.samples <= LEFT_IN.get(sound.container, 0):
        outcome.samples = int(sound.samples)
    if outcome.samples != sound.samples:
        report(Mismatch(index, sound.samples, Samples(outcome.samples), outcome.reason))
    if waiting is not None:
        yield waiting


async def _measured(
    sound: Sound, prepared: Prepared, ffmpeg: Ffmpeg, channels: int, outcome: _Outcome
) -> AsyncGenerator[Pcm, None]:
    """Yield the decoded sound, cut or filled with silence; `outcome` gets its true length."""
    if prepared.path is not None:
        try:
            # One second more than wanted shows that there is more, and bounds what a hostile file can cost.
            seconds = sound.samples / SAMPLE_RATE + 1
            rate = await _rate(ffmpeg, prepared.path, sound.container)
            decoded = _with_pauses(
                _blocks(ffmpeg, prepared.path, sound.container, seconds, channels, rate),
                prepared.pauses,
                channels,
                rate,
            )
            resampler = None if rate == SAMPLE_RATE else Resampler(rate, channels, sound.samples)
            async with aclosing(decoded), aclosing(_resampled(decoded, resampler)) as blocks:
                async for block in blocks:
                    wanted = block[: max(0, sound.samples - outcome.samples)]
                    outcome.samples += len(block)
                    if len(wanted):
                        yield wanted
        except GiveUp as failure:
            outcome.reason = failure.reason
    for block in _silence(max(0, sound.samples - outcome.samples), channels):
        yield block


async def _rate(ffmpeg: Ffmpeg, path: Path, container: Container) -> int:
    """Return the rate at which ffmpeg is to decode: the file's own, so that it does not resample."""
    if container is Container.OGG_OPUS:
        return SAMPLE_RATE
    return (await ffmpeg.describe(path, container, tries=BOTH)).rate or SAMPLE_RATE


async def _resampled(blocks: AsyncIterator[Pcm], resampler: Resampler | None) -> AsyncGenerator[Pcm, None]:
    """Yield the blocks at 48 kHz. All sound of a damaged file comes before its GiveUp."""
    failure: GiveUp | None = None
    try:
        async for block in blocks:
            for part in _parts(block if resampler is None else await asyncio.to_thread(resampler.put, block)):
                yield part
    except GiveUp as damage:
        failure = damage
    if resampler is not None:
        for part in _parts(await asyncio.to_thread(resampler.end)):
            yield part
    if failure is not None:
        raise failure


def _parts(block: Pcm) -> Iterator[Pcm]:
    for start in range(0, len(block), BLOCK):
        yield block[start : start + BLOCK]


async def _blocks(
    ffmpeg: Ffmpeg, path: Path, container: Container, seconds: float, channels: int, rate: int
) -> AsyncGenerator[Pcm, None]:
    """Yield decoded bytes as arrays of finite numbers."""
    rest, size = b"", 4 * channels
    decoded = ffmpeg.decode(path, container, max_seconds=seconds, channels=channels, rate=rate, tries=BOTH)
    async with aclosing(decoded) as stream:
        async for data in stream:
            data = rest + data
            whole = len(data) // size * size
            rest = data[whole:]
            yield _tamed(np.frombuffer(data[:whole], dtype="<f4").reshape(-1, channels))


async def _with_pauses(
    blocks: AsyncGenerator[Pcm, None], pauses: Sequence[Pause], channels: int, rate: int
) -> AsyncGenerator[Pcm, None]:
    """Yield the blocks, with silence where the file holds no sound."""
    left, at = list(pauses), 0
    async with aclosing(blocks) as stream:
        async for block in stream:
            while left and (before := round(left[0].position * rate / SAMPLE_RATE) - at) <= len(block):
                yield block[: max(0, before)]
                for silence in _silence(round(left.pop(0).samples * rate / SAMPLE_RATE), channels):
                    yield silence
                block, at = block[max(0, before) :], at + max(0, before)
            yield block
            at += len(block)


def _tamed(block: Pcm) -> Pcm:
    """Return the block as it is if all its numbers are finite and in range, else a clipped copy."""
    if not len(block) or (block.min() >= -LOUDEST and block.max() <= LOUDEST):
        return block
    return np.clip(np.nan_to_num(block, nan=0.0, posinf=LOUDEST, neginf=-LOUDEST), -LOUDEST, LOUDEST)
