"""The sound of a window of a call: the slices of its stems, decoded together.

A process costs as much as the decoding of ten seconds. So the packets of several stems are written into one file, one
stem after the other, and taken apart again after decoding: a packet is decoded to exactly its length. Before the
packets of a slice stand the last ones of the slice that it continues, else as much silence, so that nothing is left of
the stem before it. If the decoder leaves out a packet of one stem, each stem is decoded alone.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bot.audio.ffmpeg import BOTH, Ffmpeg
from bot.audio.opus import facts_of, filled, opus_streams
from bot.audio.opus_clock import Fill
from bot.audio.opus_head import usual_head
from bot.audio.opus_packets import digital_silence, duration
from bot.audio.opus_writer import OpusWriter
from bot.audio.peaks import Pcm, tamed
from bot.audio.plan import DECODER_PRE_ROLL, LocalFile, Mix, pre_roll
from bot.errors import GiveUp
from storage.records import SAMPLE_RATE, BlobKey, Container, StemPart

TOGETHER = 8  # stems that are decoded at once: 16 MB
_MAX_SAMPLES = 1 << 40
_SILENCE = digital_silence(DECODER_PRE_ROLL, 1)


@dataclass(slots=True)
class StemSound:
    """The sound of one stem in a window."""

    stem: int
    sound: Pcm  # as long as the window
    missing: int = 0  # samples that could not be decoded
    reason: str | None = None


async def stem_sounds(
    mix: Mix, local: LocalFile, ffmpeg: Ffmpeg, folder: Path, channels: int
) -> AsyncGenerator[StemSound, None]:
    """Yield the sound of each stem of a window, in the order of their numbers. Raises TryLater when ffmpeg hangs,
    OSError when a file is not there."""
    stems = [*mix.stems.items()]
    async with AsyncExitStack() as stack:
        files = {blob: await stack.enter_async_context(local(blob)) for blob in sorted(mix.blobs)}
        for first in range(0, len(stems), TOGETHER):
            some = dict(stems[first : first + TOGETHER])
            parts = [part for stem in some.values() for part in stem]
            together = await _decoded(parts, files, ffmpeg, folder, channels)
            for stem, own in some.items():
                heard = [each for each in together if each.part.stem == stem]
                if any(each.torn for each in together) and len(some) > 1:
                    heard = await _decoded(own, files, ffmpeg, folder, channels)
                yield await asyncio.to_thread(_laid, stem, heard, mix.samples, channels)


@dataclass(slots=True)
class _Place:
    """The place of a part in the decoded file."""

    part: StemPart
    at: int = 0  # in the window
    begin: int = 0
    end: int = 0
    reason: str | None = None  # why there is nothing of it
    sound: Pcm = field(default_factory=lambda: np.zeros((0, 1), np.float32))
    torn: bool = False  # the decoder gave less sound than there is in the file, nobody knows where


async def _decoded(
    parts: Sequence[StemPart], files: Mapping[BlobKey, Path], ffmpeg: Ffmpeg, folder: Path, channels: int
) -> list[_Place]:
    """Decode parts in one run of ffmpeg."""
    path = folder / "stems.ogg"
    places, length = await asyncio.to_thread(_write, parts, files, path, channels)
    blocks: list[bytes] = []
    reason: str | None = None
    if length:
        decoded = ffmpeg.decode(
            path, Container.OGG_OPUS, max_seconds=length / SAMPLE_RATE + 1, channels=channels, tries=BOTH
        )
        try:
            async with aclosing(decoded) as stream:
                blocks.extend([block async for block in stream])
        except GiveUp as failure:
            reason = failure.reason
    await asyncio.to_thread(_take_apart, places, blocks, length, channels, reason)
    return places


def _take_apart(places: Sequence[_Place], blocks: list[bytes], length: int, channels: int, reason: str | None) -> None:
    """Give each part its sound. Blocking."""
    data = b"".join(blocks)
    blocks.clear()
    size = 4 * channels
    sound = np.frombuffer(data[: len(data) // size * size], "<f4").reshape(-1, channels)
    for place in places:
        place.sound = sound[place.begin : place.end]
        place.torn = len(sound) != length
        if place.torn and len(place.sound) < place.end - place.begin:
            place.reason = place.reason or reason or "undecodable"


def _write(
    parts: Sequence[StemPart], files: Mapping[BlobKey, Path], path: Path, channels: int
) -> tuple[list[_Place], int]:
    """Write the packets of all parts into one file; return their places in its sound, and its length. Blocking."""
    places: list[_Place] = []
    length = 0
    head = usual_head(channels)
    with path.open("wb") as file:
        writer = OpusWriter(file, head, pre_skip=0)
        for part in parts:
            place = _Place(part)
            places.append(place)
            try:
                before, lead = _end_of(part, files)
                skip, packets = _packets(part, files)
            except GiveUp as damage:
                place.reason = damage.reason
                continue
            for packet in before or _SILENCE:
                writer.put(packet)
                length += duration(packet)
            place.at = part.at - lead
            place.begin = length - lead + skip
            for packet, fill in packets:
                if fill is None:
                    writer.put(packet)
                    length += duration(packet)
                else:
                    writer.rest(fill.samples, packet)
                    length += fill.samples
            place.end = min(length, place.begin + lead + part.samples)
        writer.close()
    return places, length


def _end_of(part: StemPart, files: Mapping[BlobKey, Path]) -> tuple[list[bytes], int]:
    """Return the last packets of the slice that a part continues, and how many samples of it are heard."""
    if part.before is None:
        return [], 0
    packets = [packet for packet, fill in _read(files[part.before])[1] if fill is None]
    lengths = [duration(packet) for packet in packets]
    last = packets[-pre_roll(lengths, DECODER_PRE_ROLL + part.lead) :] if packets else []
    return last, min(part.lead, sum(map(duration, last)))


def _packets(part: StemPart, files: Mapping[BlobKey, Path]) -> tuple[int, list[tuple[bytes, Fill | None]]]:
    """Return the packets of a slice, and how many samples of them are skipped at the beginning of its stem."""
    return (0, []) if part.blob is None else _read(files[part.blob])


def _read(path: Path) -> tuple[int, list[tuple[bytes, Fill | None]]]:
    """Return the pre-skip of a slice, if it begins its stem, and its packets. Raises GiveUp."""
    with path.open("rb") as file:
        streams = opus_streams(file, max_samples=_MAX_SAMPLES)
        file.seek(0)
        packets = [(packet, fill) for _, packet, fill in filled(file, streams)]
    ogg = facts_of(streams).ogg
    return (ogg.pre_skip if ogg is not None and ogg.begins_run else 0), packets


def _laid(stem: int, places: Sequence[_Place], samples: int, channels: int) -> StemSound:
    """Lay the parts of a stem into the window. Blocking."""
    laid = StemSound(stem, np.zeros((samples, channels), np.float32))
    for place in places:
        wanted = place.part.lead + place.part.samples
        sound = tamed(place.sound[max(0, -place.at) :][: samples - max(0, place.at)])
        begin = max(0, place.at)
        laid.sound[begin : begin + len(sound)] += sound
        laid.missing += max(0, wanted - len(place.sound))
        laid.reason = laid.reason or place.reason
    return laid
