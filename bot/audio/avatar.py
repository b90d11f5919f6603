"""A process of its own: a stranger's picture on standard input, a square JPEG on standard output.

Imports nothing of ours, so that it runs as a bare script, isolated. Exit code 1: refused.
"""

import io
import sys
import warnings
from typing import BinaryIO

from PIL import Image, ImageOps

SIDE = 1400  # pixels; podcast directories ask for 1400 to 3000
MAX_PIXELS = 40_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "GIF")


def square(source: BinaryIO) -> bytes:
    """The middle of the picture, on white where it is clear. Raises whatever Pillow does."""
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    with Image.open(source, formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS or min(image.size) < 1:
            raise ValueError("too many pixels")
        image.draft("RGB", (SIDE, SIDE))
        upright = ImageOps.exif_transpose(image) or image
        fitted = ImageOps.fit(_opaque(upright), (SIDE, SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    fitted.save(file, "JPEG", quality=88, optimize=True, dpi=(72, 72))
    return file.getvalue()


def _opaque(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    ground = Image.new("RGB", layer.size, "white")
    ground.paste(layer, mask=layer.getchannel("A"))
    return ground


def main() -> int:
    warnings.simplefilter("error", Image.DecompressionBombWarning)  # Pillow only warns of a bomb up to twice its limit
    try:
        picture = square(io.BytesIO(sys.stdin.buffer.read()))
    except Exception:
        return 1
    sys.stdout.buffer.write(picture)
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
