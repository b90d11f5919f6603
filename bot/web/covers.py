"""A room's picture: drawn from its name, always the same for the same name, or the operator's own file."""

import asyncio
import io
import random
from hashlib import sha256
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from bot.errors import ConfigError
from bot.feeds.titles import NAMELESS_ROOM
from bot.settings import FeedsSettings
from bot.web.library import View
from bot.web.memo import Recent

SIDE = 1400
"""Pixels; Apple takes squares from 1400 to 3000."""
LARGEST = 3000
QUALITY = 88
DRAWING = "2"  # raise when the drawing changes: a new picture needs a new address
BARS = 21
# Two colours each, dark enough below white letters.
PALETTE = (
    ("#16324f", "#2a628f"), ("#3d1f4e", "#7a3b79"), ("#0f4c3a", "#2b8a63"), ("#5a1f2b", "#a8434f"),
    ("#2b2d42", "#5c6784"), ("#4a2c0f", "#a0652a"), ("#123c45", "#2b7a85"), ("#35155d", "#5f4bb6"),
)  # fmt: skip

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


class Covers:
    """Raises ConfigError when `feeds.image` names something that is no picture."""

    def __init__(self, settings: FeedsSettings) -> None:
        self._own = _own_picture(Path(settings.image).expanduser()) if settings.image else None
        self._drawn: Recent[str, bytes] = Recent(16)
        self._lock = asyncio.Lock()

    def name(self, view: View) -> str:
        """The file name, which changes with the picture."""
        if self._own is not None:
            return f"cover-{sha256(self._own).hexdigest()[:16]}.jpg"
        seed = f"{DRAWING}\0{view.face.title}\0{view.room.podcast_guid}"
        return f"cover-{sha256(seed.encode()).hexdigest()[:16]}.jpg"

    async def picture(self, view: View) -> bytes:
        """A square JPEG."""
        if self._own is not None:
            return self._own
        name = self.name(view)
        async with self._lock:  # one at a time: drawing takes a core for a moment
            known = self._drawn.get(name)
            if known is None:
                known = await asyncio.to_thread(draw, view.face.title, view.room.podcast_guid)
                self._drawn.put(name, known)
            return known


def draw(title: str, seed: str) -> bytes:
    """A square JPEG: bars like those of a voice, and the title where the font has its letters."""
    chance = random.Random(seed)
    dark, light = chance.choice(PALETTE)
    picture = _gradient(dark, light)
    pen = ImageDraw.Draw(picture, "RGBA")
    lettered = title != NAMELESS_ROOM and _in_font(title)
    _bars(pen, chance, middle=SIDE * (0.36 if lettered else 0.5))
    if lettered:
        _letters(pen, title)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=QUALITY, dpi=(72, 72))
    return out.getvalue()


def _gradient(dark: str, light: str) -> Image.Image:
    ramp = Image.linear_gradient("L").resize((SIDE, SIDE))
    return Image.composite(Image.new("RGB", (SIDE, SIDE), dark), Image.new("RGB", (SIDE, SIDE), light), ramp)


def _bars(pen: ImageDraw.ImageDraw, chance: random.Random, middle: float) -> None:
    step = SIDE * 0.8 / BARS
    for number in range(BARS):
        swell = 1 - abs(number - BARS // 2) / (BARS // 2 + 1)
        half = SIDE * (0.02 + 0.2 * swell * chance.uniform(0.35, 1))
        left = SIDE * 0.1 + number * step + step * 0.2
        box = (left, middle - half, left + step * 0.6, middle + half)
        pen.rounded_rectangle(box, radius=step * 0.3, fill=(255, 255, 255, 225))


def _letters(pen: ImageDraw.ImageDraw, title: str) -> None:
    """The title on three lines at most, as large as fits."""
    for size in (150, 120, 96, 76, 60):
        font = ImageFont.load_default(size)
        lines = _wrap(pen, title, font, SIDE * 0.8)
        if len(lines) <= 3 and all(pen.textlength(line, font) <= SIDE * 0.8 for line in lines):
            break
    text = "\n".join(lines[:3])
    pen.multiline_text((SIDE / 2, SIDE * 0.79), text, fill="white", font=font, anchor="mm", align="center")


def _wrap(pen: ImageDraw.ImageDraw, title: str, font: Font, width: float) -> list[str]:
    lines: list[str] = []
    for word in title.split():
        if lines and pen.textlength(f"{lines[-1]} {word}", font) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _in_font(title: str) -> bool:
    """The font that comes with Pillow has Latin letters only; boxes are worse than none."""
    return all(" " <= letter <= "~" or "\u00a1" <= letter <= "\u017e" for letter in title)


def _own_picture(path: Path) -> bytes:
    """The operator's file as a square JPEG of a size that Apple takes. Raises ConfigError."""
    try:
        with Image.open(path, formats=("JPEG", "PNG", "WEBP")) as opened:
            picture = opened.convert("RGB")
    except (OSError, Image.DecompressionBombError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no picture"
        raise ConfigError(f"feeds.image {path} can't be used: {reason}") from None
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    wanted = min(max(side, SIDE), LARGEST)
    square = picture.crop((left, top, left + side, top + side)).resize((wanted, wanted))
    out = io.BytesIO()
    square.save(out, "JPEG", quality=QUALITY, dpi=(72, 72))
    return out.getvalue()
