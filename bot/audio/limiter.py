"""A look-ahead limiter: what one gain for the whole would drive over the ceiling is turned down, gently.

Speech peaks some 20 dB above its loudness, so no single gain brings it to the level that podcasts have. The gain is
worked out once per millisecond: what each millisecond's true peak asks for, the lowest of all around it, smoothed by a
window no wider than that. So it has come down before the peak is there, and never bends a wave.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from bot.audio.peaks import SPAN, Pcm, true_peaks

HOP = 48  # samples
REACH = 20  # hops in which the gain comes down, and comes back
CONTEXT = (REACH + 2) * HOP  # samples on each side that have a say in a sample's gain


def _window() -> NDArray[np.float64]:
    raised = np.hanning(REACH + 2)[1:-1]
    weights: NDArray[np.float64] = raised / raised.sum()
    return weights


_WINDOW = _window()


class Limiter:
    """Blocks in, the same samples out with the gain, CONTEXT samples later; `flush` gives the rest. How the sound is
    cut into blocks makes no difference."""

    def __init__(self, *, gain_db: float, ceiling_db: float) -> None:
        self._gain = 10 ** (gain_db / 20)
        self._ceiling = 10 ** (ceiling_db / 20)
        self._buffer: Pcm = np.zeros(CONTEXT, np.float32)  # begins CONTEXT before the next sample to give

    def push(self, block: Pcm) -> Pcm:
        """What can be given by now; about 1 ms of work per second of sound."""
        buffer = np.concatenate([self._buffer, block])
        ready = max(0, len(buffer) - 2 * CONTEXT) // HOP * HOP
        self._buffer = buffer[ready:]
        if not ready:
            return np.zeros(0, np.float32)
        return buffer[CONTEXT : CONTEXT + ready] * self._curve(buffer)[CONTEXT : CONTEXT + ready]

    def flush(self) -> Pcm:
        """What is left at the end."""
        left = len(self._buffer) - CONTEXT
        return self.push(np.zeros(CONTEXT + HOP, np.float32))[:left]

    def _curve(self, samples: Pcm) -> Pcm:
        """The gain of each sample; right but for the first and last CONTEXT."""
        around = np.pad(samples[: len(samples) // HOP * HOP], SPAN)
        peaks = true_peaks(around, HOP, self._ceiling / self._gain) * self._gain
        asked = np.minimum(1.0, self._ceiling / np.maximum(peaks, self._ceiling))
        if asked.min() == 1.0:
            return np.full(len(samples), self._gain, np.float32)
        # At the border of two hops: the mean of minima that all look at both of them.
        padded = np.pad(asked, REACH, constant_values=1.0)
        lowest = sliding_window_view(padded, REACH + 1).min(axis=1)
        borders = np.convolve(lowest, _WINDOW, "valid")
        at = np.arange(len(samples)) / HOP
        curve: Pcm = (self._gain * np.interp(at, np.arange(len(borders)), borders)).astype(np.float32)
        return curve
