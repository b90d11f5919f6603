"""The parts of a sound that count when its level is decided, and their loudness. Pure.

Pauses and the noise of a room must not be amplified, but somebody who speaks far more softly than the speaker before
must be. Level alone can't distinguish the two. So all sound within _NEAR_DB of the recent maximum counts. Softer sound,
down to _FAR_DB, counts only if it is a voice when judged without the louder sound: it swells and fades several times a
second (a fan and a passing car don't), and it fills the time (keys and steps are short beats with little between).
A voice, or sound that swells and fades near the maximum, lets the maximum sink slowly, so that after a while a softer
speaker counts too. A pause doesn't, however long.
"""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from bot.audio.loudness import REFERENCE_DB, Energies, SlotPeaks

SECOND = 10  # hops
WINDOW = 15  # hops before and after a moment that its level depends on
_BEFORE, _AFTER = 15, 25  # hops before and after the beginning of a second: four seconds around its middle
_ENOUGH = 15  # fewest soft hops that can be judged alone
_QUICK_DB = 4.0  # upper quartile of level steps over two hops: voices have 5 and more, rumble and cars below 3
_FULL = 0.25  # square of the mean of 5 ms peaks over their mean square: voices have 0.3 and more, keys and steps 0.2
_ABOVE_FLOOR_DB = 4.0  # hops less than this above the noise floor are taken as gaps between words
_NEAR_DB, _FAR_DB = 10.0, 20.0
_SINK_DB = 0.5  # a second
_NOTHING_LUFS = -66.0  # a microphone that is off, which is not used to judge a voice
_FAINT_LUFS = -60.0  # never counts
PLAIN_LUFS = -40.0  # above this level the first sound of a recording counts as programme, not as noise
STEM_PLAIN_LUFS = -30.0  # of a stem: a microphone is open before anybody speaks, and others are heard meanwhile

Levels = NDArray[np.float64]  # LUFS, one per hop


def listened(
    energies: Energies, slots: SlotPeaks, loudest: float | None, plain: float = PLAIN_LUFS
) -> tuple[Levels, float | None]:
    """Return the loudness of the 400 ms around each hop that counts, NaN for the others; and the recent maximum after
    them in LUFS, given the recent maximum before them. `plain`: the level from which the first sound counts, whatever
    it is."""
    hops, levels = _level(energies), _level(smoothed(energies))
    counted = np.zeros(len(levels), np.bool_)
    for start in range(0, len(levels), SECOND):
        here, around = slice(start, start + SECOND), slice(max(0, start - _BEFORE), start + _AFTER)
        top = _share(levels[around], 0.9)
        if top <= _FAINT_LUFS:
            continue
        near = math.inf if loudest is None else loudest - _NEAR_DB
        judged = levels[around] <= near
        if judged.sum() < _ENOUGH:
            judged[:] = True
        softer = _share(levels[around][judged], 0.9)
        on = hops[around] > _NOTHING_LUFS
        heard = hops[around][judged & on]
        voice = _is_full(slots[around][judged]) and _is_quick(heard)
        floor = near
        if voice and (loudest is None or softer > loudest - _FAR_DB):
            floor = min(near, max(softer - _NEAR_DB, _share(heard, 0.05) + _ABOVE_FLOOR_DB))
        elif loudest is None and top > plain:
            floor = top - _NEAR_DB
        counted[here] = levels[here] > max(_FAINT_LUFS, floor)
        if loudest is not None:
            sinks = voice or (top > near and _is_quick(hops[around][on]))
            loudest = max(top, loudest - _SINK_DB if sinks else loudest)
        elif floor < math.inf:
            loudest = top
    return np.where(counted, levels, math.nan), loudest


def _is_full(slots: SlotPeaks) -> bool:
    return bool(slots.mean(dtype=np.float64) ** 2 > _FULL * np.square(slots, dtype=np.float64).mean())


def _is_quick(hops: Levels) -> bool:
    return len(hops) > 2 and _share(np.abs(hops[2:] - hops[:-2]), 0.75) > _QUICK_DB


def _level(energies: Energies) -> Levels:
    levels: Levels = 10 * np.log10(np.maximum(energies, 1e-12)) - REFERENCE_DB
    return levels


def smoothed(energies: Energies) -> Energies:
    """Return the means over 400 ms, over less at both ends."""
    if not len(energies):
        return energies
    padded = np.pad(energies, (1, 2), mode="edge")
    smoothed: Energies = (padded[:-3] + padded[1:-2] + padded[2:-1] + padded[3:]) / 4
    return smoothed


def _share(levels: Levels, share: float) -> float:
    """Return the level that this share of the levels does not exceed."""
    return float(np.sort(levels)[int(len(levels) * share)])


def settled_levels(levels: Levels, before: Levels) -> Levels:
    """Return the median of the WINDOW around each hop that counts, NaN for the others. `before`: the levels of the last
    hops that counted before these, up to WINDOW. A median has no delay where one speaker follows another: it changes
    when half of its window is the new one."""
    result = np.full(len(levels), math.nan)
    counted = (~np.isnan(levels)).nonzero()[0]
    if not len(counted):
        return result
    missing = np.full(WINDOW, math.nan)
    row = np.concatenate([missing[len(before) :], before, levels, missing])
    for some in np.array_split(counted, len(counted) // 1024 + 1):
        windows = np.sort(sliding_window_view(row, 2 * WINDOW + 1)[some], axis=1)  # NaN comes last
        known = (~np.isnan(windows)).sum(axis=1)
        result[some] = windows[np.arange(len(some)), known // 2]
    return result
