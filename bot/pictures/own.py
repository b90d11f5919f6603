"""The host's own picture for all feeds (`feeds.image`)."""

from pathlib import Path

from bot.errors import ConfigError
from bot.pictures.cover import accepted
from bot.pictures.sizes import in_rgb
from bot.pillow import Image


def own_picture(path: Path) -> bytes:
    """Convert the operator's file to a square JPEG that directories accept. Raises ConfigError."""
    try:
        with Image.open(path, formats=("JPEG", "PNG", "WEBP")) as opened:
            picture = in_rgb(opened)
    except (OSError, Image.DecompressionBombError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no picture"
        raise ConfigError(f"feeds.image {path} can't be used: {reason}") from None
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture if left == top == 0 else picture.crop((left, top, left + side, top + side))
    return accepted(square, str(path))
