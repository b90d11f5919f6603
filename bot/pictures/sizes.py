"""Smaller sizes of our own pictures, for pages and tags: JPEG squares. No stranger's picture is opened here."""

import io

from bot.pillow import Image

SIDES = (200, 400, 800)
"""Pixels: the sizes in which pages may ask for a cover."""
QUALITIES = (85, 75, 65, 50, 35, 20)


def small(picture: bytes, side: int, most_bytes: int | None = None) -> bytes:
    """Return a picture of ours with sides of `side` pixels, of the best quality that fits into `most_bytes`. Takes
    some 30 ms: call it by `apart`."""
    with Image.open(io.BytesIO(picture), formats=("JPEG",)) as opened:
        opened.draft("RGB", (side, side))  # decodes it in an eighth, a quarter or half of its size
        image = in_rgb(opened).resize((side, side), Image.Resampling.LANCZOS)
    return encoded(image, most_bytes)


def in_rgb(image: Image.Image) -> Image.Image:
    """Return an image in RGB, itself where it is: Pillow would make a copy, of 36 MB for a cover."""
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")


def encoded(image: Image.Image, most_bytes: int | None = None) -> bytes:
    """Return an image as a JPEG, of the best quality that fits into `most_bytes`."""
    for quality in QUALITIES:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality, optimize=True, dpi=(72, 72))
        if most_bytes is None or file.tell() <= most_bytes:
            break
    return file.getvalue()
