"""What of a sound is listened to when its level is decided, and how loud that is.

Pauses and the noise of a room must not be pulled up, and somebody who speaks far more softly than the one before must
be. Level alone can't tell the two apart, so two things are asked, second by second, of the four seconds around:
is it alive (speech and most music swell and fade, a fan doesn't), and how far is it below the loudest of late?
What is alive is followed down to _FAR below that, what is steady only to _NEAR. Whatever is alive lets the mark of the
loudest sink slowly, so that a new speaker who is softer still is followed after a while; a pause doesn't, however long.
"""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from bot.audio.loudness import REFERENCE_DB, Energies

SECOND = 10  # hops
WINDOW = 15  # hops before and after that have a say in a moment's level
_BEFORE, _AFTER = 15, 25  # hops around the beginning of a second: four seconds, this one in the middle
_ALIVE_DB = 8.0  # single hops of a voice spread over 13 dB and more, those of noise over 3
_ABOVE_FLOOR_DB = 4.0  # in what is alive; what is less is the gap between words
_FAR_DB, _NEAR_DB = 20.0, 10.0
_SINK_DB = 0.5  # a second
_DEEP_DB = 22.0  # below the top of the four seconds: a voice 15 dB below another still speaks, noise doesn't
_NOTHING_LUFS = -66.0  # a microphone that is off; it makes no noise alive
_FAINT_LUFS = -60.0  # never listened to
_PLAIN_LUFS = -40.0  # steady sound that is a programme and no noise, where nothing else was heard yet

Levels = NDArray[np.float64]  # LUFS, one per hop


def listened(energies: Energies, loudest: float | None) -> tuple[Levels, float | None]:
    """The loudness of the 400 ms around each hop that counts, not a number for those that don't; and the mark of the
    loudest after them, from the mark before (LUFS)."""
    hops, levels = _level(energies), _level(smoothed(energies))
    counted = np.zeros(len(levels), np.bool_)
    for start in range(0, len(levels), SECOND):
        here, around = slice(start, start + SECOND), slice(max(0, start - _BEFORE), start + _AFTER)
        top = _share(levels[around], 0.9)
        some = hops[around][hops[around] > _NOTHING_LUFS]
        if top <= _FAINT_LUFS or not len(some):
            continue
        low = _share(some, 0.05)
        alive = _share(some, 0.9) - low >= _ALIVE_DB
        if _counts(top, loudest, alive=alive):
            floor = low + _ABOVE_FLOOR_DB if alive else -math.inf
            counted[here] = levels[here] > max(_FAINT_LUFS, top - _DEEP_DB, floor)
            loudest = top if loudest is None else max(top, loudest)
        if alive and loudest is not None:
            loudest = max(top, loudest - _SINK_DB)
    return np.where(counted, levels, math.nan), loudest


def _level(energies: Energies) -> Levels:
    levels: Levels = 10 * np.log10(np.maximum(energies, 1e-12)) - REFERENCE_DB
    return levels


def smoothed(energies: Energies) -> Energies:
    """Over 400 ms; at both ends over what there is of them."""
    if not len(energies):
        return energies
    padded = np.pad(energies, (1, 2), mode="edge")
    smoothed: Energies = (padded[:-3] + padded[1:-2] + padded[2:-1] + padded[3:]) / 4
    return smoothed


def _share(levels: Levels, share: float) -> float:
    """What this share of them doesn't exceed."""
    return float(np.sort(levels)[int(len(levels) * share)])


def _counts(top: float, loudest: float | None, *, alive: bool) -> bool:
    if loudest is None:
        return alive or top > _PLAIN_LUFS
    return top > loudest - (_FAR_DB if alive else _NEAR_DB)


def settled_levels(levels: Levels, before: Levels) -> Levels:
    """The median of the WINDOW around each of these hops, all of which count; not a number stands for one that
    doesn't. `before` are the last ones that counted, up to WINDOW. A median has no delay where one speaker follows the
    other: it turns when half of what it sees is the new one."""
    result = np.full(len(levels), math.nan)
    counted = (~np.isnan(levels)).nonzero()[0]
    if not len(counted):
        return result
    missing = np.full(WINDOW, math.nan)
    row = np.concatenate([missing[len(before) :], before, levels, missing])
    for some in np.array_split(counted, len(counted) // 1024 + 1):
        windows = np.sort(sliding_window_view(row, 2 * WINDOW + 1)[some], axis=1)  # not-a-numbers come last
        known = (~np.isnan(windows)).sum(axis=1)
        result[some] = windows[np.arange(len(some)), known // 2]
    return result
