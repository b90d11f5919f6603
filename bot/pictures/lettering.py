"""Names in large letters: the shipped fonts, what they can write, and lines that never break within a word."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, pairwise
from pathlib import Path

from bot.pillow import Image, ImageDraw, ImageFont

FONTS = Path(__file__).parent / "fonts"
FILES = ("bricolage-extrabold.ttf", "manrope-extrabold.ttf")
"""Fonts in the order of preference: that of the pages, for Latin alphabets; and one with Greek and Cyrillic too."""
LEADING = 1.0
"""The distance between two lines, in sizes of letters."""
MOST_NAME = 300
"""Characters: more would be too small to be read."""
MOST_BALANCED = 12
"""Words of which every way of breaking the lines is looked at."""
DROPPED = frozenset({"So", "Sk", "Sm", "Cf", "Cn", "Co", "Cs", "Mn", "Me"})
"""Categories of characters that a name can be written without: emoji, and what joins them."""
_ELLIPSIS = "…"


@dataclass(frozen=True, slots=True)
class Lettering:
    """A name as it is drawn: its lines, all of one size."""

    lines: tuple[str, ...]
    file: str
    size: int

    @property
    def height(self) -> float:
        return len(self.lines) * self.size * LEADING

    @property
    def font(self) -> ImageFont.FreeTypeFont:
        return _font(self.file, self.size)


def lettering(name: str, width: int, height: int, *, largest: int, smallest: int) -> Lettering | None:
    """Return a name in the largest letters with which it fits into a box; with an ellipsis behind a word where the
    smallest are too large. None where no font has its letters, nothing of it can be written, or a word is too long."""
    written = _written(name)
    if written is None:
        return None
    file, words = written
    for size in range(largest, smallest - 1, -10):
        most = int(height // (size * LEADING))
        lines = _lines(words, _font(file, size), width, most)
        if lines is not None:
            return Lettering(lines, file, size)
    return _shortened(words, file, smallest, width, int(height // (smallest * LEADING)))


def _shortened(words: Sequence[str], file: str, size: int, width: int, most: int) -> Lettering | None:
    for count in range(len(words) - 1, 0, -1):
        lines = _lines([*words[: count - 1], words[count - 1] + _ELLIPSIS], _font(file, size), width, most)
        if lines is not None:
            return Lettering(lines, file, size)
    return None


def _lines(words: Sequence[str], font: ImageFont.FreeTypeFont, width: int, most: int) -> tuple[str, ...] | None:
    """Return lines of whole words, as few as possible and as even as possible; None where they do not fit."""
    if any(font.getlength(word) > width for word in words):
        return None
    lines: list[list[str]] = [[]]
    for word in words:
        if lines[-1] and font.getlength(" ".join([*lines[-1], word])) > width:
            lines.append([])
        lines[-1].append(word)
    if len(lines) > most:
        return None
    if len(words) > MOST_BALANCED:
        return tuple(" ".join(line) for line in lines)
    return _balanced(words, font, width, len(lines))


def _balanced(words: Sequence[str], font: ImageFont.FreeTypeFont, width: int, count: int) -> tuple[str, ...]:
    """Return these many lines, of which the longest is as short as possible."""

    def broken(at: Sequence[int]) -> list[str]:
        ends = [0, *at, len(words)]
        return [" ".join(words[begin:end]) for begin, end in pairwise(ends)]

    ways = (broken(at) for at in combinations(range(1, len(words)), count - 1))
    return tuple(min(ways, key=lambda lines: max(map(font.getlength, lines))))


def _written(name: str) -> tuple[str, list[str]] | None:
    """Return the first font that has every letter of a name, and the words without what it can be written without."""
    text = unicodedata.normalize("NFC", name)
    if len(text) > MOST_NAME:  # the last word may be cut: an ellipsis stands for it
        text = text[:MOST_NAME].rpartition(" ")[0].rstrip() + _ELLIPSIS
    for file in FILES:
        kept = [c for c in text if c.isspace() or unicodedata.category(c) == "Cc" or _has(file, c) or not _is_spare(c)]
        words = "".join(" " if unicodedata.category(c) == "Cc" else c for c in kept).split()
        if any(c.isalnum() for word in words for c in word) and all(_has(file, c) for word in words for c in word):
            return file, words
    return None


def _is_spare(character: str) -> bool:
    return unicodedata.category(character) in DROPPED


@lru_cache(maxsize=4096)
def _has(file: str, character: str) -> bool:
    """Return whether a font has a character that can be seen: one that it lacks is drawn like a code point that no font
    has."""
    drawn = _drawn(file, character)
    return any(drawn) and drawn != _drawn(file, "\uffff")


def _drawn(file: str, character: str) -> bytes:
    image = Image.new("L", (64, 64))
    ImageDraw.Draw(image).text((8, 8), character, font=_font(file, 32), fill="white")
    return image.tobytes()


@lru_cache(maxsize=128)
def _font(file: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONTS / file, size)
