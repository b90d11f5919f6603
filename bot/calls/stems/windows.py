"""The windows of a call that are over, so that they can be mixed. Pure.

A window is over when its end has passed and every stem that is in the call has reached it. A stem is not waited for

- for more than 5 s behind the window's end: its network, or the disk, may be stalled;
- when it has had no sound for 5 s: its sender sends none while it is muted, or is gone.

Sound that comes later still gets its place, in a slice of its own.
"""

from collections.abc import Iterable

from bot.recording.call.layout import WINDOW
from storage.records import SAMPLE_RATE, Samples

PATIENCE = Samples(5 * SAMPLE_RATE)


def window_of(at: int) -> int:
    """Return the number of the window in which sound at this place on the clock of the call begins."""
    return at // WINDOW


def end_of(window: int) -> Samples:
    return Samples((window + 1) * WINDOW)


def is_over(window: int, ends: Iterable[Samples], now: Samples) -> bool:
    """Return whether a window is over. `ends`: how far the sound of each stem in the call reaches."""
    end = end_of(window)
    if not end <= now < end + PATIENCE:
        return now >= end
    return all(reached >= end or now - reached >= PATIENCE for reached in ends)
