"""Cover art, drawn and taken."""

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from bot.audio.cover import MAX_AVATAR_BYTES, drawn_cover, safe_cover

SIDE = (1400, 1400)


def opened(picture: bytes) -> Image.Image:
    return Image.open(io.BytesIO(picture), formats=("JPEG",)).copy()


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize("name", ["Ada's room", "", "日本語", "x" * 500, "Ünïcödé 🎙", "a\nb\0c", "W" * 40 + " i"])
def test_drawn(name: str) -> None:
    """Any name gives a square JPEG that directories take, the same each time."""
    picture = drawn_cover(name, "key")
    image = opened(picture)
    assert (image.size, image.mode) == (SIDE, "RGB")
    assert len(picture) < 500_000
    assert drawn_cover(name, "key") == picture


def test_drawn_apart() -> None:
    """Another key gives another picture, and the name can be seen in it."""
    assert drawn_cover("a", "1") != drawn_cover("a", "2")
    assert drawn_cover("a", "1") != drawn_cover("b", "1")
    letters = opened(drawn_cover("Name", "1")).convert("L").crop((100, 100, 900, 400))
    assert max(letters.tobytes()) > 240


@pytest.mark.parametrize(
    ("image", "form"),
    [
        (Image.new("RGB", (300, 200), "red"), "JPEG"),
        (Image.new("RGBA", (2000, 1500), (255, 0, 0, 255)), "PNG"),
        (Image.new("P", (64, 64)), "GIF"),
        (Image.new("RGB", (64, 500), "red"), "WEBP"),
        (Image.new("CMYK", (64, 64)), "JPEG"),
        (Image.new("I;16", (64, 64)), "PNG"),
    ],
)
async def test_taken(image: Image.Image, form: str) -> None:
    """A healthy picture of any usual form becomes a square JPEG."""
    picture = await safe_cover(encoded(image, form))
    assert picture is not None
    taken = opened(picture)
    assert (taken.size, taken.mode) == (SIDE, "RGB")


async def test_clear_parts_become_white(tmp_path: Path) -> None:
    """What is transparent is white, and a file serves as well as bytes."""
    path = tmp_path / "avatar"
    path.write_bytes(encoded(Image.new("RGBA", (100, 100), (0, 0, 0, 0)), "PNG"))
    picture = await safe_cover(path)
    assert picture is not None
    assert opened(picture).getpixel((700, 700)) == (255, 255, 255)


def bomb() -> bytes:
    """A PNG of a few bytes that claims 60,000 by 60,000 pixels."""
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    body = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        bomb(),
        encoded(Image.new("1", (9000, 9000)), "PNG"),
        encoded(Image.new("RGB", (300, 200), "red"), "JPEG")[:-400],
        encoded(Image.new("RGB", (300, 200), "red"), "BMP"),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        bytes(MAX_AVATAR_BYTES + 1),
    ],
)
async def test_refused(data: bytes, tmp_path: Path) -> None:
    """What is no picture, is damaged or too large is refused, from a file too."""
    assert await safe_cover(data) is None
    path = tmp_path / "avatar"
    path.write_bytes(data)
    assert await safe_cover(path) is None
