"""True peaks: how high a wave goes between its samples (ITU-R BS.1770-4, annex 2, four places a sample).

Interpolation costs much, so it is done only where the samples come near enough to what matters: it can raise a peak by
no more than the sum of its coefficients.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Pcm = NDArray[np.float32]

SPAN = 8  # samples that the interpolation looks to each side
_PHASES = 4


def _interpolation() -> Pcm:
    """Rows of a windowed sinc, one for each place between two samples."""
    offsets = np.arange(-SPAN + 1, SPAN + 1)
    places = np.arange(1, _PHASES)[:, None] / _PHASES - offsets[None, :]
    window = np.cos(np.pi * places / (2 * (SPAN + 1))) ** 2
    rows = np.sinc(places) * window
    normal: Pcm = (rows / rows.sum(axis=1, keepdims=True)).astype(np.float32)
    return normal


_ROWS = _interpolation()
_RISE = float(np.abs(_ROWS).sum(axis=1).max())  # some 6 dB


def true_peaks(samples: Pcm, width: int, above: float) -> Pcm:
    """The peak of each `width` samples in a row, SPAN samples of its neighbours with it. The first and the last SPAN
    of `samples` are neighbours only. A part that can't be higher than `above` gets the peak of its samples."""
    windows = sliding_window_view(samples, width + 2 * SPAN)[::width]
    found: Pcm = np.maximum(windows.max(axis=1), -windows.min(axis=1))
    near = found * _RISE > above
    parts = windows[near]
    for row in _ROWS:
        between = np.zeros((len(parts), width + 1), np.float32)
        for tap, weight in enumerate(row):
            between += weight * parts[:, tap : tap + width + 1]
        found[near] = np.maximum(found[near], np.abs(between).max(axis=1, initial=0))
    return found
