"""Cover art of 3000 by 3000 pixels, drawn from a room's name and key: a coloured ground, the bars and the dot of
Aircheck's mark, and the name. No stranger's picture is opened here."""

import hashlib
import io
from functools import lru_cache

from bot.pictures.colours import Colour, hue_of, oklch
from bot.pictures.lettering import LEADING, Lettering, lettering
from bot.pictures.sizes import encoded, in_rgb
from bot.pillow import Image, ImageDraw

SIDE = 3000
"""Pixels: the largest square that podcast directories accept."""
LEAST_SIDE = 1400
"""Pixels: the smallest that they accept."""
MOST_BYTES = 500_000
"""Spotify and others ask for pictures of at most 512 kB."""
LEAST_FILLING = 640
"""Pixels: a smaller avatar is laid on a drawn ground; enlarged to a cover, it would be a blur."""
_MARGIN = 230
_BARS = 9
_BAR = 196  # pixels: the width of one
_FOOT = SIDE - 250  # the line on which bars stand
_TOP_OF_NAME = 210
_NAME_HEIGHT = 1500
_LARGEST, _SMALLEST = 640, 120  # sizes of letters
_SMALL_DOT = 230


def drawn_cover(name: str, key: str) -> bytes:
    """Draw a cover: colours and bars by the key, the name in large letters, or bars alone where no shipped font has its
    letters. The same name and key give the same picture. Takes some 150 ms and 60 MB:
    call it by `apart`."""
    digest = hashlib.sha256(key.encode()).digest()
    written = lettering(name, SIDE - 2 * _MARGIN, _NAME_HEIGHT, largest=_LARGEST, smallest=_SMALLEST)
    image = _ground(digest)
    if written is None:
        _draw_bars(image, digest, highest=2100, dot=330)
    else:
        _draw_bars(image, digest, highest=SIDE - 2 * _TOP_OF_NAME - round(written.height) - 260, dot=_SMALL_DOT)
        _draw_name(image, written, oklch(0.97, 0.02, _hue(digest)))
    return encoded(image, MOST_BYTES)


def fitted(picture: bytes, key: str) -> bytes:
    """Bring a square JPEG of ours, with as many pixels as it came with, to the rules of podcast directories. Takes some
    300 ms and 90 MB: call it by `apart`."""
    with Image.open(io.BytesIO(picture), formats=("JPEG",)) as opened:
        return accepted(in_rgb(opened), key)


def accepted(square: Image.Image, key: str) -> bytes:
    """Return a square picture as a JPEG that podcast directories accept: as it is, enlarged a little, or laid on a
    ground of the key's colours where it is small."""
    side = square.width
    if side < LEAST_FILLING:
        return encoded(_laid(square, hashlib.sha256(key.encode()).digest()), MOST_BYTES)
    for wanted in (min(side, SIDE), 2000, LEAST_SIDE):
        if wanted != LEAST_SIDE and (wanted > side or wanted < LEAST_SIDE):
            continue
        resized = square if wanted == side else square.resize((wanted, wanted), Image.Resampling.LANCZOS)
        data = encoded(resized, None if wanted > LEAST_SIDE else MOST_BYTES)
        if len(data) <= MOST_BYTES:
            break
    return data


def _hue(digest: bytes) -> float:
    """Return the hue of a key in degrees, which pages take for their accent too."""
    return hue_of(int.from_bytes(digest[:2]) / 65_536)


def _ground(digest: bytes) -> Image.Image:
    return Image.new("RGB", (SIDE, SIDE), oklch(0.39, 0.115, _hue(digest)))


def _draw_bars(image: Image.Image, digest: bytes, *, highest: int, dot: int) -> None:
    """Draw bars that stand on one line and rise to the right, and the dot above the last one."""
    hue = _hue(digest)
    step = (SIDE - 2 * _MARGIN - _BAR) / (_BARS - 1)
    tops = []
    for number in range(_BARS):
        rise = 0.25 + 0.6 * number / (_BARS - 1)
        height = highest * min(1.0, rise * (0.55 + 0.75 * digest[2 + number] / 255))
        left = round(_MARGIN + number * step)
        tops.append(_FOOT - max(_BAR * 1.5, height))
        colour = oklch(0.56 + 0.2 * number / (_BARS - 1), 0.13, hue + 7 * number)
        _pill(image, left, round(tops[-1]), _FOOT, _BAR, colour)
    right = SIDE - _MARGIN - _BAR // 2
    _disc(image, right - dot // 2, round(tops[-1]) - dot - 90, dot, oklch(0.72, 0.19, 35))


def _draw_name(image: Image.Image, written: Lettering, colour: Colour) -> None:
    draw = ImageDraw.Draw(image)
    font = written.font
    top = _TOP_OF_NAME + written.size * 0.78  # the line on which the first letters stand
    for line in written.lines:
        draw.text((_MARGIN - font.getbbox(line[0], anchor="ls")[0], top), line, font=font, fill=colour, anchor="ls")
        top += written.size * LEADING


def _laid(square: Image.Image, digest: bytes) -> Image.Image:
    """Lay a small picture on the drawn ground, with round corners."""
    image = _ground(digest)
    _draw_bars(image, digest, highest=800, dot=_SMALL_DOT)
    side = min(1500, max(1200, square.width * 3))
    shown = square.resize((side, side), Image.Resampling.LANCZOS)
    image.paste(shown, ((SIDE - side) // 2, _TOP_OF_NAME + (1650 - side) // 2), _rounded(side, side // 7))
    return image


def _pill(image: Image.Image, left: int, top: int, foot: int, width: int, colour: Colour) -> None:
    """Draw an upright bar with round ends."""
    _disc(image, left, top, width, colour)
    _disc(image, left, foot - width, width, colour)
    ImageDraw.Draw(image).rectangle((left, top + width // 2, left + width - 1, foot - width // 2), fill=colour)


def _disc(image: Image.Image, left: int, top: int, width: int, colour: Colour) -> None:
    image.paste(colour, (left, top, left + width, top + width), _rounded(width, width // 2))


@lru_cache(maxsize=16)
def _rounded(side: int, radius: int) -> Image.Image:
    """Return the mask of a square with round corners and smooth edges."""
    scale = 4
    corner = Image.new("L", (radius * scale, radius * scale))
    ImageDraw.Draw(corner).pieslice((0, 0, 2 * radius * scale, 2 * radius * scale), 180, 270, fill=255)
    corner = corner.resize((radius, radius), Image.Resampling.LANCZOS)
    mask = Image.new("L", (side, side), 255)
    flip, turn = Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM
    mask.paste(corner, (0, 0))
    mask.paste(corner.transpose(flip), (side - radius, 0))
    mask.paste(corner.transpose(turn), (0, side - radius))
    mask.paste(corner.transpose(flip).transpose(turn), (side - radius, side - radius))
    return mask
