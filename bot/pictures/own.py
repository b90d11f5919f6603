"""The host's own picture for all feeds (`feeds.image`)."""

import io
from pathlib import Path

from PIL import Image

from bot.errors import ConfigError

SMALLEST, LARGEST = 1400, 3000
"""Sides of the squares that Apple accepts, in pixels."""
QUALITY = 88


def own_picture(path: Path) -> bytes:
    """Convert the operator's file to a square JPEG of a size that Apple accepts. Raises ConfigError."""
    try:
        with Image.open(path, formats=("JPEG", "PNG", "WEBP")) as opened:
            picture = opened.convert("RGB")
    except (OSError, Image.DecompressionBombError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no picture"
        raise ConfigError(f"feeds.image {path} can't be used: {reason}") from None
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    wanted = min(max(side, SMALLEST), LARGEST)
    square = picture.crop((left, top, left + side, top + side)).resize((wanted, wanted))
    out = io.BytesIO()
    square.save(out, "JPEG", quality=QUALITY, dpi=(72, 72))
    return out.getvalue()
