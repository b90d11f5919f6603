"""The inspection of a stored chunk: its container, its length, and the check that it can be joined."""

import asyncio
import tempfile
from collections.abc import Generator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import numpy as np

from bot.audio.containers import AMR, LEFT_IN, MP4, read_length, refuse_crafted, timing
from bot.audio.decodable import Decodable, make_decodable
from bot.audio.ffmpeg import FIRST, SHORT_S, Ffmpeg, Tries
from bot.audio.ogg_search import walk_pages
from bot.audio.opus import facts_of, walk_opus
from bot.audio.repair import Repair, StatedLength
from bot.audio.resampling import at_48_khz
from bot.audio.sniff import sniff
from bot.audio.source import Source
from bot.errors import GiveUp
from storage.records import SAMPLE_RATE, ChunkFacts, Container, Hole, Samples, Timing

SPARSE_S = 900.0  # of sound that may fill any number of bytes: a speaker may have forgotten that they are muted
SPARSEST = 500  # bytes a second of longer sound: two thirds of the lowest rate of any speech codec
USUAL = 2 * SAMPLE_RATE  # samples a second of all channels; files with more may have few bytes for less time
RATES = range(4_000, 192_001)  # Hz
MAX_CHANNELS = 8
ROUNDED = {Timing.EXACT: SAMPLE_RATE // 500, Timing.ESTIMATED: SAMPLE_RATE // 10}
"""Samples by which a stated length may be off: units of time are up to 1/600 s, and files that state no padding are off
by a frame or two."""
SHORT = SAMPLE_RATE  # samples
"""The longest loss with which a chunk is kept: damaged frames are replaced by silence."""


async def inspect_chunk(path: Path, ffmpeg: Ffmpeg, *, max_seconds: float, tries: Tries = FIRST) -> ChunkFacts:
    """Return the facts of a chunk from its bytes; name, mimetype and the event's claims are not used.

    Ogg Opus is read page by page; other sound is decoded once, without its damaged parts. A tail without packets, as
    Element Web sends it, has 0 samples, and so has a header without sound.

    Raises GiveUp with `empty`, `not_audio`, `truncated`, `bad_checksum`, `headers_missing`, `too_long` or
    `undecodable`, LimitHit when the last of the `tries` hit a limit, and TryLater when another file is being tried
    again.
    """
    with tempfile.TemporaryDirectory(prefix="look-", dir=path.parent, ignore_cleanup_errors=True) as folder:
        return await _inspected(path, Path(folder) / "chunk", ffmpeg, max_seconds, tries)


async def _inspected(path: Path, copy: Path, ffmpeg: Ffmpeg, max_seconds: float, tries: Tries) -> ChunkFacts:
    looked = await _in_turns(_look(path, copy, max_seconds))
    if isinstance(looked, ChunkFacts):
        return looked
    decodable, exact, stated = looked
    container, repair = decodable.container, decodable.repair
    source = await ffmpeg.describe(decodable.path, container, tries=tries)
    if source.rate:
        _refuse_odd(source.rate, source.channels)
    bound = _bearable(path, max_seconds, source.rate, source.channels)
    if container in AMR and stated is not None and stated.samples > bound * SAMPLE_RATE:
        raise _too_long()
    heard, alike = await _decoded(decodable.path, container, ffmpeg, bound, source, tries)
    channels = 1 if alike else source.channels
    facts = ChunkFacts(container, exact, heard, sample_rate=source.rate, channels=channels)
    facts = replace(facts, samples=Samples(heard + repair.silence))
    if facts.samples > max_seconds * SAMPLE_RATE:
        raise _too_long()
    return _with_claims(facts if stated is None else _compared(facts, stated, repair), repair, stated)


def _with_claims(facts: ChunkFacts, repair: Repair, stated: StatedLength | None) -> ChunkFacts:
    """Add the holes of damage, and the length that the file states where it holds another."""
    ends = ((hole.at, min(facts.samples, hole.at + hole.samples)) for hole in repair.holes)
    holes = tuple(Hole(Samples(at), Samples(end - at)) for at, end in ends if at < end)
    says = repair.claimed or stated
    off = says is not None and abs(says.samples - facts.samples) > SAMPLE_RATE // 10
    return replace(facts, holes=holes, told=Samples(says.samples) if says is not None and off else None)


def _refuse_odd(rate: int, channels: int) -> None:
    if rate not in RATES or not 0 < channels <= MAX_CHANNELS:
        raise GiveUp("the chunk's sample rate or number of channels is not supported", reason="undecodable")


def _too_long() -> GiveUp:
    return GiveUp("the chunk is longer than allowed", reason="too_long")


def _compared(facts: ChunkFacts, stated: StatedLength, repair: Repair) -> ChunkFacts:
    """Reconcile the decoded length with the stated one.

    Where no more than SHORT is missing, the stated length stands, and the loss is recorded when the chunk is joined.
    Padding that a decoder leaves in does not count. Where more is missing, the timing is estimated if the stated length
    was counted in tables, or if the end of the file is there; else raises GiveUp (`truncated`).
    """
    lacking = stated.samples - facts.samples
    if _is_padded(facts, stated):
        return replace(facts, samples=Samples(stated.samples))
    if lacking <= ROUNDED[facts.timing]:
        return facts
    if lacking <= SHORT:
        return replace(facts, samples=Samples(stated.samples))
    if repair.counted and lacking < facts.samples:
        return replace(facts, samples=Samples(stated.samples), timing=Timing.ESTIMATED)
    if facts.container in MP4 or repair.whole:
        return replace(facts, timing=Timing.ESTIMATED)
    raise GiveUp("the chunk's file holds less sound than it states", reason="truncated")


def _is_padded(facts: ChunkFacts, stated: StatedLength) -> bool:
    """Return whether there is slightly more sound than stated, which is padding that the decoder should have cut
    off."""
    more = facts.samples - stated.samples
    exact = facts.timing is Timing.EXACT
    return exact and stated.unit <= more <= LEFT_IN.get(facts.container, 0)


def _bearable(path: Path, max_seconds: float, rate: int = 0, channels: int = 0) -> float:
    """Return how many seconds of sound a file of this size may hold, since hours of silence in a few bytes cost work
    and hold no speech. High rates and many channels lower the limit, since they cost more work."""
    sparse = SPARSE_S * min(1.0, USUAL / max(1, rate * channels))
    return min(max_seconds, max(sparse, path.stat().st_size / SPARSEST))


Looked = ChunkFacts | tuple[Decodable, Timing, StatedLength | None]
"""The result of an inspection without decoding: the facts, or the file to decode, its timing and its stated length."""


async def _in_turns(looking: Generator[None, None, Looked]) -> Looked:
    """Run an inspection stretch by stretch, so that others get the thread in between: millions of pages take
    seconds."""
    while (looked := await asyncio.to_thread(_next_stretch, looking)) is None:
        pass
    return looked


def _next_stretch(looking: Generator[None, None, Looked]) -> Looked | None:
    """Inspect the next stretch; return the result if it was the last one. Blocking."""
    try:
        next(looking)
    except StopIteration as end:
        looked: Looked = end.value
        return looked
    return None


def _look(path: Path, copy: Path, max_seconds: float) -> Generator[None, None, Looked]:
    with path.open("rb") as file:
        container = sniff(file)
        if container is Container.OGG_OPUS:
            file.seek(0)
            streams = yield from walk_opus(file, max_samples=int(_bearable(path, max_seconds) * SAMPLE_RATE))
            facts = facts_of(streams)
            _refuse_odd(SAMPLE_RATE, facts.channels)
            packets = sum(stream.clock.samples for stream in streams)
            if packets > _bearable(path, max_seconds, SAMPLE_RATE, facts.channels) * SAMPLE_RATE:
                raise _too_long()
            return facts
        if container in (Container.OGG_VORBIS, Container.OGG_FLAC):
            file.seek(0)
            yield from walk_pages(file)
    decodable = make_decodable(path, copy)
    if decodable.repair.empty:
        return ChunkFacts(container, Timing.EXACT, Samples(0), sample_rate=SAMPLE_RATE, channels=1)
    with decodable.path.open("rb") as file:
        refuse_crafted(file, container)
        exact = Timing.ESTIMATED if decodable.repair.doubtful else timing(file, container)
        return decodable, exact, decodable.repair.expected or read_length(file, container)


async def _decoded(
    path: Path, container: Container, ffmpeg: Ffmpeg, max_seconds: float, source: Source, tries: Tries
) -> tuple[Samples, bool]:
    """Return the decoded length, and for a source that may be mono whether both channels are the same sound. A file
    that proves longer than others can wait for is decoded again in the slot for long files."""
    heard = await _heard(path, container, ffmpeg, max_seconds, source, tries, long=False)
    if heard is None and max_seconds > SHORT_S:
        heard = await _heard(path, container, ffmpeg, max_seconds, source, tries, long=True)
    if heard is None:
        raise _too_long()
    if not heard[0]:
        raise GiveUp("the chunk holds no sound", reason="undecodable")
    return heard


async def _heard(
    path: Path, container: Container, ffmpeg: Ffmpeg, max_seconds: float, source: Source, tries: Tries, *, long: bool
) -> tuple[Samples, bool] | None:
    """Decode and count as `_decoded` does; None if there is more sound than allowed, or than others can wait for."""
    rate, channels = source.rate or SAMPLE_RATE, 2 if source.maybe_mono else 1
    size = 4 * channels
    limit = int((max_seconds if long else min(max_seconds, SHORT_S)) * rate)
    count, sounds, alike, rest = 0, False, source.maybe_mono, b""
    decoded = ffmpeg.decode(
        path, container, max_seconds=max_seconds + 1, channels=channels, rate=rate, long=long, tries=tries
    )
    async with aclosing(decoded) as blocks:
        async for block in blocks:
            count += len(block)
            if count > limit * size:
                return None
            if alike:
                block = rest + block
                whole = len(block) // size * size
                rest = block[whole:]
                left, right = np.frombuffer(block[:whole], "<f4").reshape(-1, 2).T
                sounds |= bool(left.any())
                alike = np.array_equal(left, right)
    return at_48_khz(count // size, rate), alike and sounds
