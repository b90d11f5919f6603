"""A look-ahead limiter: what a gain would drive over the ceiling is turned down, gently. Pure.

Speech peaks some 20 dB above its loudness, so no gain that follows its loudness brings it to the level that podcasts
have. What is turned down is worked out once per millisecond: what each millisecond's true peak asks for, the lowest of
all around it, smoothed by a window no wider than that. So it has come down before the peak is there, and never bends a
wave. What is steep counts as higher, for that is what an encoder makes higher: it cuts off the highest sound and codes
noise coarsely. The milliseconds are those of the whole sound, and all sums are taken element by element in one order:
any part of a long sound can be worked on alone, with CONTEXT around it, and comes out the same to the bit.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from bot.audio.peaks import SPAN, Pcm, true_peaks

HOP = 48  # samples
REACH = 20  # hops in which the gain comes down, and comes back
CONTEXT = (REACH + 2) * HOP  # samples on each side that have a say in a sample
_MARGIN = CONTEXT // HOP
_STEEP = 0.4  # an encoder of few bits puts 2 dB on wide noise, 5 on one that was clipped, next to nothing on a voice
_BLOCK = 1000 * HOP  # worked on together: what fits the cache


def _window() -> NDArray[np.float32]:
    raised = np.hanning(REACH + 2)[1:-1]
    weights: NDArray[np.float32] = (raised / raised.sum()).astype(np.float32)
    return weights


_WINDOW = _window()
_BETWEEN = (np.arange(HOP) / HOP).astype(np.float32)


def limited(pcm: Pcm, ceiling_db: float, *, first: int = 0) -> Pcm:
    """The same sound with no true peak above the ceiling in dBTP; all channels are turned down together. `first` is
    the place of the first sample in the whole sound, of which only its rest by HOP matters. What begins or ends here
    is taken to have silence around it. 0.5 ms of work per second of loud sound and channel."""
    ceiling = 10 ** (ceiling_db / 20)
    result = np.empty_like(pcm)
    for start in range(-(first % HOP), len(pcm), _BLOCK):
        stop = min(start + _BLOCK, len(pcm) + -(first + len(pcm)) % HOP)
        done = _limited(_cut(pcm, start - CONTEXT, stop + CONTEXT), ceiling)
        begin = max(start, 0)
        result[begin:stop] = done[begin - start :][: len(pcm) - begin]
    return result


def _cut(pcm: Pcm, start: int, stop: int) -> Pcm:
    """A part, with silence for what is before the beginning or behind the end."""
    part = pcm[max(start, 0) : stop]
    before = max(-start, 0)
    return part if len(part) == stop - start else np.pad(part, ((before, stop - start - before - len(part)), (0, 0)))


def _limited(block: Pcm, ceiling: float) -> Pcm:
    """Whole hops, given back without the CONTEXT on both sides."""
    inner = block[CONTEXT:-CONTEXT]
    # The outermost hops have no say, so that it doesn't matter that they lack neighbours.
    peaks = true_peaks(np.pad(block, ((SPAN, SPAN), (0, 0))), HOP, ceiling, _STEEP)
    if peaks.max() <= ceiling:
        return inner
    borders = _gains(peaks, ceiling)
    turned = ((borders[:-1] < 1) | (borders[1:] < 1)).nonzero()[0]
    first, last = borders[turned], borders[turned + 1]
    curve = first[:, None] + (last - first)[:, None] * _BETWEEN
    result = inner.copy()
    hops = result.reshape(-1, HOP, block.shape[1])
    hops[turned] *= curve[:, :, None]
    return result


def _gains(peaks: NDArray[np.float32], ceiling: float) -> NDArray[np.float32]:
    """At the borders of the hops that are not CONTEXT: the mean of minima that all look at both hops of a border."""
    excess = 1 - np.float32(ceiling) / np.maximum(peaks, np.float32(ceiling))
    highest = sliding_window_view(excess[_MARGIN - REACH : REACH - _MARGIN], REACH + 1).max(axis=1)
    borders = len(peaks) - 2 * _MARGIN + 1
    taken = np.zeros(borders, np.float32)
    for place, weight in enumerate(_WINDOW):
        taken += weight * highest[place : place + borders]
    gains: NDArray[np.float32] = 1 - taken
    return gains
