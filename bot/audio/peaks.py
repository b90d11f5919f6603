"""True peaks: how high a wave goes between its samples (ITU-R BS.1770-4, annex 2, four places per sample). Pure.

Interpolation is costly, so it is done only where the wave may reach the level that matters. Between two samples it
rises above them by no more than the sum of the coefficients, and by no more than a share of how sharply the wave bends
there, which tells more: voices bend little. All sums are taken element by element in one order, so that the same
samples give the same bits wherever they lie in a block.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Pcm = NDArray[np.float32]  # samples, channels; 48 kHz, one or two channels, full scale is 1

LOUDEST = 8.0  # full scale is 1; a float file may claim anything
SPAN = 8  # samples that the interpolation uses on each side
_AT_ONCE = 256  # parts, which fit the processor's cache


def _interpolation() -> tuple[Pcm, Pcm, Pcm]:
    """Return the coefficients of a windowed sinc for a quarter, a half and three quarters of the way between two
    samples. The outer two rows are mirror images, so they are given as their even and odd parts, after the middle row.
    Only half of each row is returned, since all are symmetric."""
    offsets = np.arange(-SPAN + 1, SPAN + 1)
    places = np.array([0.25, 0.5])[:, None] - offsets[None, :]
    rows = np.sinc(places) * np.cos(np.pi * places / (2 * (SPAN + 1))) ** 2
    quarter, half = rows / rows.sum(axis=1, keepdims=True)
    even, odd = (quarter + quarter[::-1]) / 2, (quarter - quarter[::-1]) / 2
    return half[:SPAN].astype(np.float32), even[:SPAN].astype(np.float32), odd[:SPAN].astype(np.float32)


_HALF, _EVEN, _ODD = _interpolation()
_RISE = 1.01 * max(2 * float(np.abs(_HALF).sum()), float((np.abs(_EVEN + _ODD) + np.abs(_EVEN - _ODD)).sum()))  # 6 dB
_BEND = 1.01 * 0.375
"""Share of the highest second difference by which a wave can rise above the line between two samples: the sum of the
sizes of the coefficients, less those of that line, added up twice. It is largest half the way between the samples."""
_TILT = 0.004  # of the highest step, which the rows of the quarters leave over


def true_peaks(samples: Pcm, width: int, above: float, steep: float = 0.0) -> NDArray[np.float32]:
    """Return the true peak of each part of `width` samples, in the loudest channel.

    The first and the last SPAN of `samples` are neighbours only. A part that can't be higher than `above` gets the peak
    of its samples. A place between two samples counts as higher by `steep` times the step between them.
    """
    parts = (len(samples) - 2 * SPAN) // width
    highest = np.zeros(parts, np.float32)
    for channel in np.ascontiguousarray(samples.T):
        # Transposed, since numpy is slow at the maximum of many short rows.
        peaks = np.abs(channel[SPAN : SPAN + parts * width]).reshape(parts, width).T.copy().max(axis=0)
        ends = [np.abs(channel[:SPAN]).max(keepdims=True), np.abs(channel[-SPAN:]).max(keepdims=True)]
        around = np.concatenate([ends[0], peaks, ends[1]])
        near = np.maximum(np.maximum(around[:-2], around[2:]), peaks) * (_RISE + 2 * steep) > above
        windows = sliding_window_view(channel, width + 2 * SPAN)[::width]
        for some in np.array_split(near.nonzero()[0], max(1, int(near.sum()) // _AT_ONCE)):
            around = np.ascontiguousarray(windows[some].T)
            high = (_highest(around, steep) > above).nonzero()[0]
            if len(high):
                peaks[some[high]] = np.maximum(peaks[some[high]], _between(around[:, high], steep))
        np.maximum(highest, peaks, out=highest)
    return highest


def _highest(parts: Pcm, steep: float) -> Pcm:
    """Return a bound of what `_between` returns: a tenth of its work."""
    steps = parts[1:] - parts[:-1]
    bends = steps[1:] - steps[:-1]
    highest, steepest, sharpest = (np.maximum(each.max(axis=0), -each.min(axis=0)) for each in (parts, steps, bends))
    bound: Pcm = highest + np.float32(_BEND) * sharpest + np.float32(steep + _TILT) * steepest
    return bound


def _between(parts: Pcm, steep: float) -> NDArray[np.float32]:
    """Return the highest place between the samples of each part. Parts are columns, SPAN longer at both ends."""
    steps = len(parts) - 2 * SPAN + 1
    half, even, odd = (np.zeros((steps, parts.shape[1]), np.float32) for _ in range(3))
    for tap in range(SPAN):
        left, right = parts[tap : tap + steps], parts[2 * SPAN - 1 - tap : 2 * SPAN - 1 - tap + steps]
        both, step = left + right, left - right
        half += _HALF[tap] * both
        even += _EVEN[tap] * both
        odd += _ODD[tap] * step
    # The larger of |even + odd| and |even - odd| is |even| + |odd|.
    heights: Pcm = np.maximum(np.abs(half), np.abs(even) + np.abs(odd))
    if steep:
        heights += np.float32(steep) * np.abs(step)  # of the last tap: the two in the middle
    highest: NDArray[np.float32] = heights.max(axis=0)
    return highest


def tamed(block: Pcm) -> Pcm:
    """Return the block as it is if all its numbers are finite and in range, else a clipped copy."""
    if not len(block) or (block.min() >= -LOUDEST and block.max() <= LOUDEST):
        return block
    return np.clip(np.nan_to_num(block, nan=0.0, posinf=LOUDEST, neginf=-LOUDEST), -LOUDEST, LOUDEST)
