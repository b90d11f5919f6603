"""Pieces into one stream of PCM: each decoded alone, joined without a seam.

Sliced Ogg Opus is rebuilt as a file of its own with the last packets of the chunk before as pre-skip, so that the
decoder is in the state that it would have had in one piece, and the header's pre-skip counts once per run.
"""

import asyncio
import io
import logging
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bot.audio.containers import LEFT_IN
from bot.audio.decodable import make_decodable
from bot.audio.ffmpeg import BOTH, Ffmpeg
from bot.audio.opus import Stream, facts_of, filled, opus_streams
from bot.audio.opus_clock import Why
from bot.audio.opus_packets import duration
from bot.audio.opus_writer import OpusWriter
from bot.audio.plan import PRE_ROLL, LocalFile, Mismatch, Piece, Silence, Sound, head_skip, pre_roll
from bot.audio.repair import Pause
from bot.audio.resampling import Resampler
from bot.errors import GiveUp
from storage.records import SAMPLE_RATE, Container, OggFacts, Samples

Pcm = NDArray[np.float32]
Report = Callable[[Mismatch], Any]

BLOCK = 1 << 18  # samples
LOUDEST = 8.0  # full scale is 1; a float file may claim anything
_MAX_SAMPLES = 1 << 40
_MANY_PACKETS = 400

log = logging.getLogger(__name__)


@dataclass(slots=True)
class RunEnd:
    """Where an Ogg Opus run stands after a chunk: what the next one needs to carry on."""

    serial: int
    next_page: int
    end_granule: int
    tail: list[bytes] = field(default_factory=list)  # packets, at least the pre-roll if there were as many


async def pcm(
    pieces: Sequence[Piece],
    local: LocalFile,
    ffmpeg: Ffmpeg,
    workdir: Path,
    *,
    first: int = 0,
    channels: int = 1,
    report: Report | None = None,
) -> AsyncGenerator[Pcm, None]:
    """All pieces from `first` on in a row: float32, 48 kHz, (samples, channels), in blocks of at most BLOCK samples,
    exactly as long as the plan. A piece sounds the same wherever one begins: what is before `first` gives the run.

    A piece that decodes to another length, or not at all, is cut or filled with silence, logged, and told to
    `report`. Raises TryLater when ffmpeg hangs, OSError when a file is not there.
    """
    run = await _run_before(pieces, local, first)
    with tempfile.TemporaryDirectory(prefix="decode-", dir=workdir, ignore_cleanup_errors=True) as folder:
        for index, piece in enumerate(pieces[first:], start=first):
            if isinstance(piece, Silence):
                for block in _silence(piece.samples, channels):
                    yield block
                continue
            async with local(piece.blob) as file:
                joint = await asyncio.to_thread(_prepare, piece, file, run, Path(folder) / "piece.ogg")
                run = joint.run
                async with aclosing(_fitted(index, piece, joint, ffmpeg, channels, report or _log)) as blocks:
                    async for block in blocks:
                        yield block


async def _run_before(pieces: Sequence[Piece], local: LocalFile, first: int) -> RunEnd | None:
    """Where the run stands that the first sound from here on carries on."""
    following = next((piece for piece in pieces[first:] if isinstance(piece, Sound)), None)
    if following is None or not following.continues:
        return None
    needed: list[Sound] = []
    heard = 0
    for piece in reversed(pieces[:first]):
        if isinstance(piece, Sound):
            needed.append(piece)
            heard += piece.samples
            if not piece.continues or heard >= PRE_ROLL:
                break
    run: RunEnd | None = None
    for sound in reversed(needed):
        async with local(sound.blob) as file:
            run = (await asyncio.to_thread(_prepare, sound, file, run, None)).run
    return run


def _log(mismatch: Mismatch) -> None:
    log.warning(
        "piece %d decoded to %d samples instead of %d%s",
        mismatch.piece,
        mismatch.decoded,
        mismatch.expected,
        f" ({mismatch.reason})" if mismatch.reason else "",
    )


@dataclass(frozen=True, slots=True)
class _Joint:
    """What ffmpeg gets for one piece, and the run after it."""

    path: Path | None  # None: nothing to decode
    run: RunEnd | None
    trim: int = 0  # samples at the end of what is decoded, beyond the sound
    lost: int = 0  # samples of packets that no decoder takes
    pauses: tuple[Pause, ...] = ()
    reason: str | None = None


def _prepare(sound: Sound, file: Path, run: RunEnd | None, rebuilt: Path | None) -> _Joint:
    """Rebuilds sliced Ogg Opus, and what is damaged (None: only the run after it is wanted). Blocking."""
    if sound.container is not Container.OGG_OPUS:
        return _whole(sound, file, rebuilt)
    try:
        return _rebuild(sound, file, run if sound.continues else None, rebuilt)
    except GiveUp as damage:
        return _Joint(None, None, reason=damage.reason)


def _whole(sound: Sound, file: Path, rebuilt: Path | None) -> _Joint:
    file.stat()
    if rebuilt is None or not sound.samples:
        return _Joint(None, None)
    try:
        decodable = make_decodable(file, rebuilt, sound.container)
    except GiveUp:  # it was good once: a decoder says what it is now
        return _Joint(file, None)
    return _Joint(decodable.path, None, pauses=decodable.repair.pauses_in(sound.samples))


def _rebuild(sound: Sound, path: Path, run: RunEnd | None, rebuilt: Path | None) -> _Joint:
    with path.open("rb") as file:
        streams = opus_streams(file, max_samples=_MAX_SAMPLES)
        facts = facts_of(streams).ogg
        if facts is not None and not facts.packet_samples:  # a tail that only ends its run
            return _Joint(None, run)
        file.seek(0)
        with rebuilt.open("wb") if rebuilt else io.BytesIO() as out:
            if facts is None:
                _, lost = _write(out, file, streams)
                return _Joint(rebuilt if sound.samples else None, None, lost=lost)
            before, skip = _pre_roll(sound, facts, run)
            tail, lost = _write(out, file, streams, before, skip)
    after = RunEnd(facts.serial, facts.last_page + 1, facts.end_granule, _last(tail))
    carries_on = run is not None and (run.serial, run.next_page) == (facts.serial, facts.first_page)
    trim = facts.end_trim(run.end_granule if run is not None and carries_on else None)
    return _Joint(rebuilt if sound.samples else None, after, trim, lost)


def _write(
    out: Any, file: BinaryIO, streams: Sequence[Stream], before: Sequence[bytes] = (), skip: int | None = None
) -> tuple[list[bytes], int]:
    """Writes the sound of a chunk anew, behind some packets of the one before. Its last packets, and how many samples
    are of packets that no decoder takes. `skip`: None where each stream drops its own pre-skip and end."""
    channels = max(stream.head_or_usual.channels for stream in streams)
    tail, lost = list(before), 0
    for number, packets in groupby(filled(file, streams), lambda each: each[0]):
        stream = streams[number]
        head = stream.head_or_usual.with_channels(channels)  # else ffmpeg takes the second for another track
        writer = OpusWriter(out, head, pre_skip=head.pre_skip if skip is None else skip, serial=number + 1)
        for packet in before:
            writer.put(packet)
        for _, packet, fill in packets:
            if fill is not None:
                writer.rest(fill.samples, packet)
                lost += fill.samples if fill.why is Why.BAD else 0
                continue
            lost += writer.put(packet)
            tail.append(packet)
            if len(tail) > _MANY_PACKETS:  # not after each: there may be many of them
                tail = _last(tail)
        writer.close(stream.clock.finish().trim if skip is None else 0)
    return tail, lost


def _pre_roll(sound: Sound, facts: OggFacts, run: RunEnd | None) -> tuple[list[bytes], Samples]:
    """The packets to decode before this chunk, and how many samples to drop. After a hole in the run the decoder
    begins afresh: what it remembers would be of another time."""
    if run is not None and run.serial == facts.serial:
        hole = facts.first_page > run.next_page or (facts.agrees and facts.start_granule > run.end_granule)
        before = [] if hole else run.tail
        return before, Samples(sum(map(duration, before)))
    decoded = facts.packet_samples - facts.end_trim()
    return [], head_skip(begins=facts.begins_run, decoded=decoded, wanted=sound.samples, pre_skip=facts.pre_skip)


def _last(packets: list[bytes]) -> list[bytes]:
    """The packets that a chunk after these needs."""
    return packets[-pre_roll([duration(packet) for packet in packets]) :]


def _silence(samples: int, channels: int) -> Iterator[Pcm]:
    for start in range(0, samples, BLOCK):
        yield np.zeros((min(BLOCK, samples - start), channels), np.float32)


async def _fitted(
    index: int, sound: Sound, joint: _Joint, ffmpeg: Ffmpeg, channels: int, report: Report
) -> AsyncGenerator[Pcm, None]:
    """One piece in the length of the plan. What is wrong with it is told before its last block."""
    outcome = _Outcome(reason=joint.reason)
    waiting: Pcm | None = None
    async with aclosing(_measured(sound, joint, ffmpeg, channels, outcome)) as blocks:
        async for block in blocks:
            if waiting is not None:
                yield waiting
            waiting = block
    outcome.samples -= min(outcome.samples, joint.trim + joint.lost)
    if 0 <= outcome.samples - sound.samples <= LEFT_IN.get(sound.container, 0):
        outcome.samples = int(sound.samples)
    if outcome.samples != sound.samples:
        report(Mismatch(index, sound.samples, Samples(outcome.samples), outcome.reason))
    if waiting is not None:
        yield waiting


@dataclass(slots=True)
class _Outcome:
    samples: int = 0
    reason: str | None = None


async def _measured(
    sound: Sound, joint: _Joint, ffmpeg: Ffmpeg, channels: int, outcome: _Outcome
) -> AsyncGenerator[Pcm, None]:
    """What is decoded, cut or filled; how much there was stands in `outcome`."""
    if joint.path is not None:
        try:
            # One second more than wanted shows that there is more, and bounds what a hostile file can cost.
            seconds = sound.samples / SAMPLE_RATE + 1
            rate = await _rate(ffmpeg, joint.path, sound.container)
            decoded = _paused(
                _blocks(ffmpeg, joint.path, sound.container, seconds, channels, rate), joint.pauses, channels, rate
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
    """The one at which ffmpeg is to decode: the file's own, so that it does not resample it."""
    if container is Container.OGG_OPUS:
        return SAMPLE_RATE
    return (await ffmpeg.describe(path, container, tries=BOTH)).rate or SAMPLE_RATE


async def _resampled(blocks: AsyncIterator[Pcm], resampler: Resampler | None) -> AsyncGenerator[Pcm, None]:
    """At 48 kHz. What there is of a damaged file is given in full."""
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
    """Decoded bytes as arrays of finite numbers."""
    rest, size = b"", 4 * channels
    decoded = ffmpeg.decode(path, container, max_seconds=seconds, channels=channels, rate=rate, tries=BOTH)
    async with aclosing(decoded) as stream:
        async for data in stream:
            data = rest + data
            whole = len(data) // size * size
            rest = data[whole:]
            yield _tamed(np.frombuffer(data[:whole], dtype="<f4").reshape(-1, channels))


async def _paused(
    blocks: AsyncGenerator[Pcm, None], pauses: Sequence[Pause], channels: int, rate: int
) -> AsyncGenerator[Pcm, None]:
    """With silence where the file holds nothing."""
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
    """As it is, if all is finite and of bearable size."""
    if not len(block) or (block.min() >= -LOUDEST and block.max() <= LOUDEST):
        return block
    return np.clip(np.nan_to_num(block, nan=0.0, posinf=LOUDEST, neginf=-LOUDEST), -LOUDEST, LOUDEST)
