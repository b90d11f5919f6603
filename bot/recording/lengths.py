"""Lengths and places in the sound as people read them. Pure."""

from bot.language import _


def spoken_length(milliseconds: int) -> str:
    """Return `2 h 4 min`, `5 min 12 s` or `41 s`."""
    seconds = (milliseconds + 500) // 1000
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    if hours:
        parts = ((hours, _("{n} h")), (minutes, _("{n} min")))
    else:
        parts = ((minutes, _("{n} min")), (seconds % 60, _("{n} s")))
    return " ".join(unit.format(n=n) for n, unit in parts if n) or parts[-1][1].format(n=0)


def spoken_gap(milliseconds: int) -> str:
    """Return the length of a gap as `spoken_length` does, but never 0: a gap is never nothing."""
    return spoken_length(max(1000, milliseconds))


def player_clock(milliseconds: int) -> str:
    """Return a position in the audio as players show it: `2:03`, `1:02:03`."""
    seconds = milliseconds // 1000
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    return f"{hours}:{minutes:02}:{seconds % 60:02}" if hours else f"{minutes}:{seconds % 60:02}"
