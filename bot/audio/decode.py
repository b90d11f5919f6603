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
from bot.audio.peaks import Pcm, tamed
from bot.audio.plan import LocalFile, Mismatch, Mix, Piece, Silence, Sound
from bot.audio.prepare import Prepared, Run, prepare, run_before
from bot.audio.repair import Pause
from bot.audio.resampling import Resampler
from bot.audio.stems import StemSound, stem_sounds
from bot.errors import GiveUp
from storage.records import SAMPLE_RATE, Container, Samples

Report = Callable[[Mismatch], Any]

StemGain = Callable[[int, StemSound], Pcm]
"""A function that returns the sound of a stem in the piece of this number with its gain. Blocking: some 10 ms."""

BLOCK = 1 << 18  # samples

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
    stem_gain: StemGain | None = None,
    run: Run | None = None,
) -> AsyncGenerator[Pcm, None]:
    """Yield all pieces from number `first` on in a row: float32, 48 kHz, (samples, channels), in blocks of at most
    BLOCK samples, exactly as long as the plan. A piece sounds the same whichever piece is the first.

    The stems of a window of a call are added up, each with its `stem_gain`, if there is any. A piece that decodes to
    another length, or not at all, is cut or filled with silence, and passed to `report`, which logs it by default.
    `run`: the run before the first of them, if it is known; it is kept up to date.

    Raises TryLater when ffmpeg hangs, OSError when a file is not there.
    """
    run = run or Run()
    if not run.known:
        run.known, run.end = True, await run_before(pieces, local, first)
    with tempfile.TemporaryDirectory(prefix="decode-", dir=workdir, ignore_cleanup_errors=True) as folder:
        for index, piece in enumerate(pieces[first:], start=first):
            if isinstance(piece, Silence):
                for block in _silence(piece.samples, channels):
                    yield block
                continue
            if isinstance(piece, Mix):
                stems = stem_sounds(piece, local, ffmpeg, Path(folder), channels)
                for block in _parts(await _added_up(index, piece, stems, channels, report or _log, stem_gain)):
                    yield block
                continue
            async with local(piece.blob) as file:
                prepared = await asyncio.to_thread(prepare, piece, file, run.end, Path(folder) / "piece.ogg")
                run.end = prepared.run
                async with aclosing(_fitted(index, piece, prepared, ffmpeg, channels, report or _log)) as blocks:
                    async for block in blocks:
                        yield block


async def _added_up(
    index: int,
    mix: Mix,
    stems: AsyncGenerator[StemSound, None],
    channels: int,
    report: Report,
    stem_gain: StemGain | None,
) -> Pcm:
    """Return the sum of the stems in a window."""
    mixed = np.zeros((mix.samples, channels), np.float32)
    missing, reason = 0, None
    async with aclosing(stems):
        async for stem in stems:
            await asyncio.to_thread(_add, mixed, index, stem, stem_gain)
            missing, reason = max(missing, stem.missing), reason or stem.reason
    if missing:
        report(Mismatch(index, mix.samples, Samples(max(0, mix.samples - missing)), reason))
    return mixed


def _add(mixed: Pcm, index: int, stem: StemSound, stem_gain: StemGain | None) -> None:
    mixed += stem.sound if stem_gain is None else stem_gain(index, stem)


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
            yield tamed(np.frombuffer(data[:whole], dtype="<f4").reshape(-1, channels))


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
