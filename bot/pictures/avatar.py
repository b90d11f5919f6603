"""Pictures of strangers, made safe: their format by their bytes, and the part of ffmpeg that may open each.

ffmpeg decodes it under the limits that chunks have (`bot.audio.ffmpeg.Ffmpeg.square`); no library of ours does.
"""

import asyncio
from pathlib import Path

from bot.audio.command_lines import Picture
from bot.audio.ffmpeg import Ffmpeg
from bot.errors import GiveUp, TryLater

MAX_AVATAR_BYTES = 8 * 1024 * 1024
JPEG = Picture("jpeg_pipe", "mjpeg")
PNG = Picture("png_pipe", "png")
GIF = Picture("gif", "gif")
WEBP = Picture("webp_pipe", "webp")
WEBP_MOVING = Picture("webp_anim", "webp_anim")


async def safe_picture(ffmpeg: Ffmpeg, path: Path, side: int) -> bytes | None:
    """Make a square JPEG of a picture (JPEG, PNG, WebP or GIF); None if it has too many bytes or pixels, is damaged, or
    takes too much work."""
    head, size = await asyncio.to_thread(_head, path)
    form = form_of(head)
    if form is None or size > MAX_AVATAR_BYTES:
        return None
    try:
        return await ffmpeg.square(path, form, side)
    except (GiveUp, TryLater):
        return None


def form_of(head: bytes) -> Picture | None:
    """Return the format by the first bytes of a file, never by its name or type; None for any other format."""
    if head.startswith(b"\xff\xd8\xff"):
        return JPEG
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if head.startswith((b"GIF87a", b"GIF89a")):
        return GIF
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP_MOVING if head[12:16] == b"VP8X" and head[20:21] and head[20] & 0x02 else WEBP
    return None


def _head(path: Path) -> tuple[bytes, int]:
    with path.open("rb") as file:
        return file.read(32), path.stat().st_size
