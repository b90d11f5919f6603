"""A look-ahead limiter: sound that a gain raises above the ceiling is turned down smoothly. Pure.

Speech peaks some 20 dB above its loudness, so no gain that follows its loudness brings it to the level of podcasts. The
reduction is computed once per millisecond: first the one that its true peak needs, then the largest of its
neighbourhood, smoothed by a window no wider than that. So the gain is low before the peak comes, and distorts no wave.
Steep sound counts as higher, since an encoder raises its peaks: it cuts off the highest frequencies and codes noise
coarsely. The milliseconds are those of the whole sound, and all sums are taken element by element in one order: any
part of a long sound can be limited alone, with CONTEXT around it, and is the same to the bit.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from bot.audio.peaks import SPAN, Pcm, true_peaks
from bot.audio.reach import CONTEXT, HOP, REACH

_MARGIN = CONTEXT // HOP
_STEEP = 0.4  # a low-rate encoder adds 2 dB to wide-band noise, 5 to clipped noise, almost nothing to a voice
_BLOCK = 1000 * HOP  # samples that are limited together, few enough for the processor's cache


def _window() -> NDArray[np.float32]:
    raised = np.hanning(REACH + 2)[1:-1]
    weights: NDArray[np.float32] = (raised / raised.sum()).astype(np.float32)
    return weights


_WINDOW = _window()
_BETWEEN = (np.arange(HOP) / HOP).astype(np.float32)


def limited(pcm: Pcm, ceiling_db: float, *, first: int = 0) -> Pcm:
    """Return the sound with no true peak above the ceiling in dBTP; all channels are turned down together.

    `first`: the place of the first sample in the whole sound. Silence is assumed around the given sound. 0.5 ms of work
    per second of loud sound and channel.
    """
    ceiling = 10 ** (ceiling_db / 20)
    result = np.empty_like(pcm)
    for start in range(-(first % HOP), len(pcm), _BLOCK):
        stop = min(start + _BLOCK, len(pcm) + -(first + len(pcm)) % HOP)
        done = _limited(_cut(pcm, start - CONTEXT, stop + CONTEXT), ceiling)
        begin = max(start, 0)
        result[begin:stop] = done[begin - start :][: len(pcm) - begin]
    return result


def _cut(pcm: Pcm, start: int, stop: int) -> Pcm:
    """Return a part, with silence where it reaches beyond the beginning or the end."""
    part = pcm[max(start, 0) : stop]
    before = max(-start, 0)
    return part if len(part) == stop - start else np.pad(part, ((before, stop - start - before - len(part)), (0, 0)))


def _limited(block: Pcm, ceiling: float) -> Pcm:
    """Limit whole hops; return them without the CONTEXT on both sides."""
    inner = block[CONTEXT:-CONTEXT]
    # Nothing depends on the outermost hops, so they need no neighbours.
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
    """Return the gains at the borders of the hops inside CONTEXT: weighted means of minima, each over both hops of the
    border."""
    excess = 1 - np.float32(ceiling) / np.maximum(peaks, np.float32(ceiling))
    highest = sliding_window_view(excess[_MARGIN - REACH : REACH - _MARGIN], REACH + 1).max(axis=1)
    borders = len(peaks) - 2 * _MARGIN + 1
    taken = np.zeros(borders, np.float32)
    for place, weight in enumerate(_WINDOW):
        taken += weight * highest[place : place + borders]
    gains: NDArray[np.float32] = 1 - taken
    return gains
