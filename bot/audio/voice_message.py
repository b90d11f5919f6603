"""The sound of a recording as one voice message: Ogg Opus, in files that are no larger than a homeserver takes.

Where all of the sound is one Opus stream, its packets are copied as they are. Else (a pause, which begins a new stream;
a gap; damage; another codec) the sound of the plan is encoded, once. Either way it is as long as the plan, to the
sample.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path

from bot.audio.decode import decode_pieces
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.one_stream import copied, copy_chunk
from bot.audio.opus_parts import Part, Parts
from bot.audio.plan import LocalFile, Piece, Sound, length
from bot.errors import GiveUp, TryLater
from storage.records import SAMPLE_RATE, BlobKey, Container, Samples

LEAST_BYTES = 1 << 16  # of a file; cutting smaller ones could go on for ever
KBPS = 48  # of a channel: twice what Element Web's recorder sends, so that little is lost once more


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
        return await copied(pieces, partial(_part, folder), local=local, max_bytes=max_bytes)
    except GiveUp:  # not one stream, or one that can't be cut
        pcm = mixed or _pcm(pieces, channels, folder, local, ffmpeg)
        return await _encoded(pcm, length(pieces), channels, folder, ffmpeg, max_bytes)


async def _encoded(
    pcm: AsyncGenerator[bytes, None], samples: Samples, channels: int, folder: Path, ffmpeg: Ffmpeg, max_bytes: int
) -> list[Part]:
    """Encode the sound, and cut the one stream that comes of it."""
    whole = folder / "whole.ogg"
    async with aclosing(pcm) as blocks:
        seconds = samples / SAMPLE_RATE
        await ffmpeg.encode_opus(blocks, whole, kbps=KBPS * channels, seconds=seconds, channels=channels)
    with Parts(partial(_part, folder), samples, max_bytes) as parts:
        try:
            await asyncio.to_thread(copy_chunk, whole, _all_of_it(samples), None, parts)
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


def _part(folder: Path, number: int) -> Path:
    return folder / f"part{number}.ogg"
