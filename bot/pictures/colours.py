"""Colours as the pages have them: of one lightness for every hue, in OKLCH (https://bottosson.github.io/posts/oklab/).
Pure."""

import colorsys
import math

Colour = tuple[int, int, int]
"""Red, green and blue of sRGB, 0 to 255."""


def hue_of(turn: float) -> float:
    """Return the hue, in degrees of OKLCH, of a place on the wheel of HSL (0 to 1): by this the style sheet's accents
    were made."""
    red, green, blue = (_linear(part) for part in colorsys.hls_to_rgb(turn % 1.0, 0.46, 0.62))
    long = math.cbrt(0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue)
    middle = math.cbrt(0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue)
    short = math.cbrt(0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue)
    a = 1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short
    b = 0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short
    return math.degrees(math.atan2(b, a)) % 360


def oklch(lightness: float, chroma: float, hue: float) -> Colour:
    """Return the sRGB colour; one that screens lack gets as much of its chroma as they have."""
    while chroma > 0:
        parts = _rgb(lightness, chroma, hue)
        if all(-0.0005 <= part <= 1.0005 for part in parts):
            break
        chroma -= 0.004
    shown = (min(1.0, max(0.0, part)) for part in _rgb(lightness, max(0.0, chroma), hue))
    red, green, blue = (round(255 * _curved(part)) for part in shown)
    return red, green, blue


def _rgb(lightness: float, chroma: float, hue: float) -> tuple[float, float, float]:
    """Return the linear parts, outside of 0 to 1 where no screen has the colour."""
    a, b = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
    )


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4


def _curved(part: float) -> float:
    return 12.92 * part if part <= 0.0031308 else 1.055 * part ** (1 / 2.4) - 0.055
