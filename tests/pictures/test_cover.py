"""Drawn cover art."""

import io

import pytest
from PIL import Image

from bot.pictures.cover import drawn_cover

SIDE = (1400, 1400)


def opened(picture: bytes) -> Image.Image:
    return Image.open(io.BytesIO(picture), formats=("JPEG",)).copy()


@pytest.mark.parametrize("name", ["Ada's room", "", "日本語", "x" * 500, "Ünïcödé 🎙", "a\nb\0c", "W" * 40 + " i"])
def test_drawn(name: str) -> None:
    """Any name gives a square JPEG that directories accept, the same each time."""
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
