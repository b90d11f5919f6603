"""Cover art: drawn for every script, and made of small and large pictures; always one that directories accept."""

import io
import random

import pytest
from PIL import Image, ImageDraw

from bot.pictures.cover import MOST_BYTES, drawn_cover, fitted
from bot.pictures.lettering import FILES, Lettering, lettering
from bot.pictures.sizes import small

SIDE = (3000, 3000)
LATIN, OTHERS = FILES


def opened(picture: bytes) -> Image.Image:
    return Image.open(io.BytesIO(picture), formats=("JPEG",)).copy()


def test_drawn() -> None:
    """A cover is a square JPEG that directories accept, the same each time, also of a name that can't be written."""
    for name in ("Ada's room", "日本語"):
        picture = drawn_cover(name, "key")
        image = opened(picture)
        assert (image.format or "JPEG", image.size, image.mode) == ("JPEG", SIDE, "RGB")
        assert len(picture) <= MOST_BYTES
    assert drawn_cover("日本語", "key") == picture


def test_drawn_apart() -> None:
    """Another key gives other colours, and a name that can be written is seen in the upper part."""
    one, other, plain = (opened(drawn_cover(*of)).convert("RGB") for of in (("a", "1"), ("a", "2"), ("עברית", "1")))
    assert one.getpixel((2900, 20)) != other.getpixel((2900, 20))
    box = (200, 200, 1000, 700)
    assert max(one.convert("L").crop(box).tobytes()) > 230
    assert len(set(plain.crop(box).tobytes())) < 12, "the ground alone"


def written(name: str) -> Lettering | None:
    return lettering(name, 2540, 1500, largest=640, smallest=120)


@pytest.mark.parametrize(
    ("name", "file", "lines"),
    [
        ("Kitchen radio", LATIN, ("Kitchen", "radio")),
        ("Ünïcödé 🎙️ Łódź", LATIN, ("Ünïcödé", "Łódź")),
        ("Cafe\u0301", LATIN, ("Café",)),
        ("a\nb\0c", LATIN, ("a b c",)),
        ("Радио Кухня", OTHERS, ("Радио", "Кухня")),
        ("Ραδιόφωνο της κουζίνας", OTHERS, ("Ραδιόφωνο", "της", "κουζίνας")),
    ],
)
def test_letters_of_these_alphabets_are_written(name: str, file: str, lines: tuple[str, ...]) -> None:
    """Latin names have the letters of the pages, Greek and Cyrillic ones others; emoji are left out."""
    found = written(name)
    assert found is not None
    assert (found.file, found.lines) == (file, lines)


@pytest.mark.parametrize(
    "name", ["", "🎙🎙", "…!", "日本語ラジオ", "مطبخ", "עברית Radio", "रेडियो", "x" * 500, "\ud800", "한국어"]
)
def test_other_names_are_not_written(name: str) -> None:
    """Nobody reads boxes, half a name, or a word that is cut."""
    assert written(name) is None


@pytest.mark.parametrize("seed", range(8))
def test_no_word_is_cut(seed: int) -> None:
    """Long names have smaller letters in lines that fit, and at last an ellipsis behind a word."""
    dice = random.Random(seed)
    words = ["".join(dice.choices("abcdefghijkmno", k=dice.randint(1, 30))) for _ in range(dice.randint(1, 40))]
    found = written(" ".join(words))
    assert found is not None
    shown = " ".join(found.lines).split()
    if found.lines[-1].endswith("…"):
        shown[-1] = shown[-1].removesuffix("…")
        assert found.size == 120 or len(" ".join(words)) > 300
    else:
        assert len(shown) == len(words)
    assert shown == words[: len(shown)]
    assert all(found.font.getlength(line) <= 2540 for line in found.lines)
    assert found.height <= 1500


def test_lines_are_even() -> None:
    """The longest line is as short as it can be."""
    found = written("One two three four five six")
    assert found is not None
    assert found.lines == ("One two", "three four", "five six")


def a_picture(side: int, *, noisy: bool = False) -> bytes:
    image = Image.effect_noise((side, side), 90).convert("RGB") if noisy else Image.new("RGB", (side, side), "white")
    ImageDraw.Draw(image).rectangle((side // 3, side // 3, side * 2 // 3, side * 2 // 3), fill="red")
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95)
    return file.getvalue()


@pytest.mark.parametrize(
    ("side", "noisy", "becomes"),
    [(1, False, 3000), (300, False, 3000), (700, False, 1400), (1500, False, 1500), (2000, True, 1400)],
)
def test_a_picture_is_brought_to_the_rules(side: int, noisy: bool, becomes: int) -> None:
    """A small one is laid on a drawn ground, a larger one enlarged or left; one of too many bytes becomes smaller."""
    data = fitted(a_picture(side, noisy=noisy), "key")
    image = opened(data)
    assert (image.size, image.mode) == ((becomes, becomes), "RGB")
    assert len(data) <= MOST_BYTES
    laid = side < 640
    corner = image.getpixel((4, 4))
    assert isinstance(corner, tuple)
    assert noisy or (min(corner) > 245) is not laid


def test_small_sizes() -> None:
    """A size is a square of its own, of as many bytes as are allowed."""
    picture = drawn_cover("Kitchen radio", "key")
    assert opened(small(picture, 400)).size == (400, 400)
    assert len(small(a_picture(2000, noisy=True), 600, 30_000)) <= 30_000
