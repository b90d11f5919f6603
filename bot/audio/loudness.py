"""Loudness and true peak of a mono stream as heard on two channels (ITU-R BS.1770-4), block by block.

The K-weighting is two recursive filters; their impulse response has fallen below 1e-5 after 2048 samples, so that one
FFT convolution does the same, vectorised.
"""

import math

import numpy as np
from numpy.typing import NDArray

from bot.audio.peaks import SPAN, Pcm, true_peaks
from storage.records import SAMPLE_RATE

DUAL_MONO_LU = 10 * math.log10(2)  # one channel played on two is this much louder
_HOP = SAMPLE_RATE // 10  # gating blocks of 400 ms begin every 100 ms
_TAPS = 2048
_FFT = 1 << 14
_STEP = _FFT - _TAPS + 1
_ABSOLUTE_GATE = 10 ** ((-70 + 0.691) / 10)
_SLOT = 240  # samples: 5 ms, of which the peak is kept for predictions
_SLOTS = _HOP // _SLOT
_PART = 256  # samples that are looked at or passed over together

# BS.1770-4, tables 1 and 2, at 48 kHz: b0 b1 b2, a1 a2.
_STAGES = (
    ((1.53512485958697, -2.69169618940638, 1.19839281085285), (-1.69065929318241, 0.73248077421585)),
    ((1.0, -2.0, 1.0), (-1.99004745483398, 0.99007225036621)),
)


def _k_weighting() -> NDArray[np.complex64]:
    """The spectrum of the K-weighting's impulse response."""
    signal = [1.0] + [0.0] * (_TAPS - 1)
    for b, a in _STAGES:
        x1 = x2 = y1 = y2 = 0.0
        filtered = []
        for x in signal:
            y = b[0] * x + b[1] * x1 + b[2] * x2 - a[0] * y1 - a[1] * y2
            x1, x2, y1, y2 = x, x1, y, y1
            filtered.append(y)
        signal = filtered
    spectrum: NDArray[np.complex64] = np.fft.rfft(np.array(signal), _FFT).astype(np.complex64)
    return spectrum


_SPECTRUM = _k_weighting()


class Meter:
    """Feed it all PCM in order, in blocks of any length; read it any time."""

    def __init__(self) -> None:
        self._history: Pcm = np.zeros(_TAPS - 1, np.float32)
        self._waiting: list[Pcm] = []
        self._count = 0
        self._rest: NDArray[np.float64] = np.zeros(0)  # squares of the K-weighted samples of an unfinished hop
        self._hops: list[NDArray[np.float64]] = []
        self._peak = 0.0
        self._slots: list[Pcm] = []  # highest sample of each slot
        self._unslotted: Pcm = np.zeros(0, np.float32)
        self._edge: Pcm = np.zeros(SPAN * 2, np.float32)

    def add(self, block: Pcm) -> None:
        """About 1 ms of work per second of sound; long blocks belong in a thread."""
        if not len(block):
            return
        self._find_peak(block)
        self._keep_slots(block)
        self._waiting.append(block)
        self._count += len(block)
        if self._count >= _STEP:
            self._weigh(np.concatenate(self._waiting))

    def _weigh(self, samples: Pcm, *, all_of_it: bool = False) -> None:
        done = 0
        while len(samples) - done >= (1 if all_of_it else _STEP):
            step = samples[done : done + _STEP]
            window = np.concatenate([self._history, step])
            spectrum = np.fft.rfft(window, _FFT) * _SPECTRUM
            weighted = np.fft.irfft(spectrum, _FFT)[_TAPS - 1 : _TAPS - 1 + len(step)]
            self._square(weighted.astype(np.float64))
            self._history = window[-(_TAPS - 1) :]
            done += len(step)
        self._waiting = [samples[done:]]
        self._count = len(samples) - done

    def _square(self, weighted: NDArray[np.float64]) -> None:
        squares = np.concatenate([self._rest, weighted * weighted])
        hops = len(squares) // _HOP
        self._hops.append(squares[: hops * _HOP].reshape(hops, _HOP).mean(axis=1))
        self._rest = squares[hops * _HOP :]

    def _find_peak(self, block: Pcm) -> None:
        samples = np.concatenate([self._edge, block])
        self._edge = samples[-2 * SPAN :]
        self._peak = max(self._peak, float(np.abs(block).max()))
        parts = -(-(len(samples) - 2 * SPAN) // _PART)
        padded = np.zeros(parts * _PART + 2 * SPAN, np.float32)
        padded[: len(samples)] = samples
        self._peak = max(self._peak, float(true_peaks(padded, _PART, self._peak).max()))

    def _keep_slots(self, block: Pcm) -> None:
        samples = np.concatenate([self._unslotted, block])
        whole = len(samples) // _SLOT * _SLOT
        self._slots.append(np.abs(samples[:whole]).reshape(-1, _SLOT).max(axis=1))
        self._unslotted = samples[whole:]

    def integrated(self) -> float | None:
        """Integrated loudness in LUFS as dual mono, gated; None where there is nothing above the gate."""
        return _gated(self._energies())

    def limited(self, gain_db: float, ceiling_db: float) -> float | None:
        """What `integrated` would be with a gain, and its peaks limited to a ceiling; within some 0.2 LU."""
        energies = self._energies()
        slots = np.concatenate([*self._slots, np.zeros(_SLOTS)])[: len(energies) * _SLOTS]
        gain, ceiling = 10 ** (gain_db / 20), 10 ** (ceiling_db / 20)
        asked = np.minimum(1.0, ceiling / np.maximum(slots * gain, ceiling))
        around = np.lib.stride_tricks.sliding_window_view(np.pad(asked, 4, constant_values=1.0), 9)
        held = (gain * around.min(axis=1)).reshape(-1, _SLOTS)
        # The loud parts of a hop hold its energy, and they are the ones that are turned down.
        weights = slots.reshape(-1, _SLOTS) ** 2 + 1e-20
        return _gated(energies * (held**2 * weights).sum(axis=1) / weights.sum(axis=1))

    def _energies(self) -> NDArray[np.float64]:
        """Mean squares of the K-weighted sound, one per 100 ms."""
        if self._count:
            self._weigh(np.concatenate(self._waiting), all_of_it=True)
        return np.concatenate([np.zeros(0), *self._hops])

    def true_peak(self) -> float:
        """In dBTP; minus infinity for silence."""
        return 20 * math.log10(self._peak) if self._peak else -math.inf


def _gated(hops: NDArray[np.float64]) -> float | None:
    """BS.1770-4, section 2.5: absolute gate at -70 LUFS, relative gate 10 LU below what is left."""
    if len(hops) < 4:  # shorter than one gating block: what there is, as if it were one
        powers = hops.mean(keepdims=True) if len(hops) else hops
    else:
        powers = (hops[:-3] + hops[1:-2] + hops[2:-1] + hops[3:]) / 4
    powers = powers[powers > _ABSOLUTE_GATE]
    if not len(powers):
        return None
    powers = powers[powers > powers.mean() / 10]
    return float(-0.691 + 10 * np.log10(powers.mean()) + DUAL_MONO_LU)
