"""Cover art drawn from a room's name: a JPEG of 1400 by 1400 pixels. No stranger's picture is opened here."""

import colorsys
import hashlib
import io
import unicodedata

from PIL import Image, ImageDraw, ImageFont

from bot.audio.command_lines import PICTURE_SIDE as SIDE

_MARGIN = 130
_BARS = 27
_SCALE = 2  # drawn larger and shrunk, for smooth edges
_MAX_NAME = 80
_SMALL = 100
_SPELT = str.maketrans(
    {
        "ä": "ae",
        "ö": "oe",
        "ü": "ue",
        "Ä": "Ae",
        "Ö": "Oe",
        "Ü": "Ue",
        "ß": "ss",
        "æ": "ae",
        "ø": "o",
        "ł": "l",
        "Ł": "L",
        "Ø": "O",
    }
)

Colour = tuple[int, int, int]


def drawn_cover(name: str, key: str) -> bytes:
    """Draw a cover: colours and a wave by the key, the name in large letters. The same name and key give the same
    picture. Takes some 100 ms: call it in a thread."""
    digest = hashlib.sha256(key.encode()).digest()
    top, bottom = _colours(digest)
    image = _gradient(top, bottom)
    _draw_wave(image, digest)
    _draw_name(image, _printable(name))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90, optimize=True, dpi=(72, 72))
    return file.getvalue()


def _colours(digest: bytes) -> tuple[Colour, Colour]:
    """Return two dark neighbours on the colour wheel, on which white letters stand out."""
    hue = int.from_bytes(digest[:2], "big") / 65_536
    return _colour(hue, 0.46, 0.62), _colour(hue + 0.09, 0.22, 0.70)


def _colour(hue: float, lightness: float, saturation: float) -> Colour:
    red, green, blue = colorsys.hls_to_rgb(hue % 1.0, lightness, saturation)
    # Yellow and green look lighter than blue of the same lightness.
    seen = 0.30 * red + 0.59 * green + 0.11 * blue
    factor = min(1.0, lightness * 0.8 / seen)
    return round(red * 255 * factor), round(green * 255 * factor), round(blue * 255 * factor)


def _gradient(top: Colour, bottom: Colour) -> Image.Image:
    """Draw a gradient from one corner to the other."""
    ramp = Image.linear_gradient("L").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    diagonal = Image.blend(ramp, ramp.transpose(Image.Transpose.ROTATE_90), 0.35)
    return Image.composite(Image.new("RGB", (SIDE, SIDE), bottom), Image.new("RGB", (SIDE, SIDE), top), diagonal)


def _draw_wave(image: Image.Image, digest: bytes) -> None:
    """Draw the bars of a waveform in the lower third, one for each byte of the digest."""
    side = SIDE * _SCALE
    mask = Image.new("L", (side, side // 3), 0)
    draw = ImageDraw.Draw(mask)
    step = (side - 2 * _MARGIN * _SCALE) / _BARS
    middle = mask.height / 2
    for number in range(_BARS):
        swell = 1 - abs(number - _BARS // 2) / _BARS
        half = middle * 0.9 * swell * (0.2 + 0.8 * digest[number % len(digest)] / 255)
        left = _MARGIN * _SCALE + number * step
        box = (left + step * 0.2, middle - half, left + step * 0.8, middle + half)
        draw.rounded_rectangle(box, radius=step * 0.3, fill=70)
    mask = mask.resize((SIDE, SIDE // 3), Image.Resampling.LANCZOS)
    image.paste(Image.new("RGB", mask.size, "white"), (0, SIDE - mask.height - _MARGIN // 2), mask)


def _draw_name(image: Image.Image, name: str) -> None:
    """Draw the name as large as it fits. Words are broken only where the letters would be small otherwise."""
    draw = ImageDraw.Draw(image)
    room = SIDE - 2 * _MARGIN
    for size in range(210, 59, -10):
        font = ImageFont.load_default(size=size)
        lines = _wrapped(name, font, room)
        whole = size <= _SMALL or all(font.getlength(word) <= room for word in name.split())
        if whole and len(lines) * size * 1.15 <= SIDE * 0.55:
            break
    top = _MARGIN * 0.9
    for line in lines:
        draw.text((_MARGIN, top), line, font=font, fill="white")
        top += size * 1.15


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float) -> list[str]:
    """Return lines of whole words; a word that is too long for a line is broken."""
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(joined) <= room:
            lines[-1] = joined
            continue
        while font.getlength(word) > room and len(word) > 1:
            fits = max(1, next((n for n in range(len(word), 0, -1) if font.getlength(word[:n]) <= room), 1))
            lines.append(word[:fits])
            word = word[fits:]
        lines.append(word)
    return lines


def _printable(name: str) -> str:
    """Return the characters that the bundled font has: letters without accents, digits, marks. A name in another script
    is replaced by words of ours, for it would be a row of boxes."""
    spelt = unicodedata.normalize("NFC", name)[:_MAX_NAME].translate(_SPELT)
    plain = "".join(c for c in unicodedata.normalize("NFKD", spelt) if not unicodedata.combining(c))
    font = ImageFont.load_default(size=40)
    missing = _glyph("\uffff", font)
    shown = (c for c in plain if c.isspace() or (c.isprintable() and _glyph(c, font) != missing))
    kept = " ".join("".join(shown).split())
    return kept if any(c.isalnum() for c in kept) else "On air"


def _glyph(character: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> bytes:
    image = Image.new("L", (80, 80))
    ImageDraw.Draw(image).text((8, 8), character, font=font, fill="white")
    return image.tobytes()
