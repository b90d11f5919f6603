"""Lengths and places in the sound as people read them. Pure."""


def spoken_length(milliseconds: int) -> str:
    """Return `2 h 4 min`, `5 min 12 s` or `41 s`."""
    seconds = (milliseconds + 500) // 1000
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    if minutes:
        return f"{minutes} min {seconds % 60} s" if seconds % 60 else f"{minutes} min"
    return f"{seconds} s"


def spoken_gap(milliseconds: int) -> str:
    """Return the length of a gap as `spoken_length` does, but never 0: a gap is never nothing."""
    return spoken_length(max(1000, milliseconds))


def player_clock(milliseconds: int) -> str:
    """Return a position in the audio as players show it: `2:03`, `1:02:03`."""
    seconds = milliseconds // 1000
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    return f"{hours}:{minutes:02}:{seconds % 60:02}" if hours else f"{minutes}:{seconds % 60:02}"
