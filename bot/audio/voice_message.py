"""The sound of a recording as one voice message: Ogg Opus, in files that are no larger than a homeserver takes.

Where all of the sound is one Opus stream, its packets are copied as they are. Else (a pause, which begins a new stream;
a gap; damage; another codec) the sound of the plan is encoded, once. Either way it is as long as the plan, to the
sample.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path

from bot.audio.decode import decode_pieces
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.opus import facts_of, filled, opus_streams
from bot.audio.opus_packets import well_formed
from bot.audio.opus_parts import Part, Parts
from bot.audio.plan import LocalFile, Piece, Sound, head_skip, length
from bot.errors import GiveUp, TryLater
from storage.records import SAMPLE_RATE, BlobKey, Container, OggFacts, Samples

LEAST_BYTES = 1 << 16  # of a file; cutting smaller ones could go on for ever
KBPS = 48  # of a channel: twice what Element Web's recorder sends, so that little is lost once more
_MAX_SAMPLES = 1 << 40


async def make_voice_message(
    pieces: Sequence[Piece],
    channels: int,
    folder: Path,
    *,
    local: LocalFile,
    ffmpeg: Ffmpeg,
    max_bytes: int,
    mixed: AsyncGenerator[bytes, None] | None = None,
) -> list[Part]:
    """Write the files into `folder`, in the order of the sound. `max_bytes` is at least LEAST_BYTES. `mixed`: the sound
    of a call, whose stems have their levels.

    Raises TryLater when ffmpeg hangs or fails, OSError for the disk's errors.
    """
    try:
        return await _copied(pieces, folder, local, max_bytes)
    except GiveUp:  # not one stream, or one that can't be cut
        pcm = mixed or _pcm(pieces, channels, folder, local, ffmpeg)
        return await _encoded(pcm, length(pieces), channels, folder, ffmpeg, max_bytes)


async def _copied(pieces: Sequence[Piece], folder: Path, local: LocalFile, max_bytes: int) -> list[Part]:
    """Copy the packets of all pieces. Raises GiveUp when they are not one whole stream."""
    before: OggFacts | None = None
    with _parts(folder, length(pieces), max_bytes) as parts:
        for piece in pieces:
            if not isinstance(piece, Sound) or piece.container is not Container.OGG_OPUS:
                raise _not_one_stream()
            async with local(piece.blob) as path:
                before = await asyncio.to_thread(_copy, path, piece, before, parts)
        if await asyncio.to_thread(parts.end):
            raise _not_one_stream()
        return parts.parts


def _copy(path: Path, sound: Sound, before: OggFacts | None, parts: Parts) -> OggFacts:
    """Copy the packets of one chunk, and return its facts. Raises GiveUp when it does not continue the stream of the
    chunk before it, or is damaged. Blocking."""
    with path.open("rb") as file:
        streams = opus_streams(file, max_samples=_MAX_SAMPLES)
        ogg = facts_of(streams).ogg
        clean = ogg is not None and ogg.contiguous and ogg.agrees and not streams[0].clock.finish().fills
        if ogg is None or not clean or not streams[0].head_or_usual.one_stream:
            raise _not_one_stream()
        decoded = ogg.packet_samples - ogg.end_trim(before.end_granule if before else None)
        skip = 0
        if before is None:
            skip = head_skip(begins=ogg.begins_run, decoded=decoded, wanted=sound.samples, pre_skip=ogg.pre_skip)
            parts.begin(streams[0].head_or_usual, skip)
        if sound.continues is not (before is not None and _runs_on(before, ogg)) or decoded - skip != sound.samples:
            raise _not_one_stream()
        file.seek(0)
        for _, packet, _ in filled(file, streams):
            if not well_formed(packet):
                raise _not_one_stream()
            parts.put(packet)
    return ogg


def _runs_on(before: OggFacts, ogg: OggFacts) -> bool:
    """Return whether a chunk is the next slice of the stream."""
    same = (before.serial, before.head_sha256) == (ogg.serial, ogg.head_sha256)
    return same and before.last_page + 1 == ogg.first_page and not before.end_trim()


async def _encoded(
    pcm: AsyncGenerator[bytes, None], samples: Samples, channels: int, folder: Path, ffmpeg: Ffmpeg, max_bytes: int
) -> list[Part]:
    """Encode the sound, and cut the one stream that comes of it."""
    whole = folder / "whole.ogg"
    async with aclosing(pcm) as blocks:
        seconds = samples / SAMPLE_RATE
        await ffmpeg.encode_opus(blocks, whole, kbps=KBPS * channels, seconds=seconds, channels=channels)
    with _parts(folder, samples, max_bytes) as parts:
        try:
            await asyncio.to_thread(_copy, whole, _all_of_it(samples), None, parts)
            missing = await asyncio.to_thread(parts.end)
        except GiveUp as error:
            raise TryLater(f"the encoded sound can't be read ({error.reason})") from None
        if missing:
            raise TryLater("ffmpeg encoded less sound than it was given")
        return parts.parts


def _all_of_it(samples: Samples) -> Sound:
    return Sound(BlobKey(""), Container.OGG_OPUS, continues=False, samples=samples)


async def _pcm(
    pieces: Sequence[Piece], channels: int, folder: Path, local: LocalFile, ffmpeg: Ffmpeg
) -> AsyncGenerator[bytes, None]:
    async with aclosing(decode_pieces(pieces, local, ffmpeg, folder, channels=channels)) as blocks:
        async for block in blocks:
            yield block.tobytes()


def _parts(folder: Path, samples: Samples, max_bytes: int) -> Parts:
    return Parts(lambda number: folder / f"part{number}.ogg", samples, max_bytes)


def _not_one_stream() -> GiveUp:
    return GiveUp("the sound is not one Opus stream", reason="not_one_stream")
