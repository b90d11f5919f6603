"""Loudness as heard on two channels (ITU-R BS.1770-4), block by block; a mono sound counts as two equal channels. Pure.

The K-weighting is two recursive filters; their impulse response has fallen below 1e-5 after 1985 samples, so one FFT
convolution gives the same result, vectorised.
"""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from bot.audio.peaks import Pcm
from storage.records import SAMPLE_RATE

HOP = SAMPLE_RATE // 10  # samples; gating blocks of 400 ms begin every 100 ms
SLOTS = 20  # slots of 5 ms in a hop; the peak of each is kept for predictions
REFERENCE_DB = 0.691  # gain of the K-weighting at 997 Hz
_SLOT = HOP // SLOTS
_TAPS = 1985
_STEP = 3 * HOP
_FFT = _STEP + _TAPS - 1  # 2 ** 14
_AT_ONCE = 8 * _STEP  # samples, which fit the processor's cache

Energies = NDArray[np.float64]  # mean squares of the K-weighted sound, all channels together, one per hop
SlotPeaks = NDArray[np.float32]  # (hops, SLOTS): the highest sample of any channel in each slot

# BS.1770-4, tables 1 and 2, at 48 kHz: b0 b1 b2, a1 a2.
_STAGES = (
    ((1.53512485958697, -2.69169618940638, 1.19839281085285), (-1.69065929318241, 0.73248077421585)),
    ((1.0, -2.0, 1.0), (-1.99004745483398, 0.99007225036621)),
)


def _k_weighting() -> NDArray[np.complex64]:
    """Return the spectrum of the K-weighting's impulse response."""
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
    """A meter that takes PCM in order, in blocks of any length, and can be read at any time. The size of the blocks
    makes no difference."""

    def __init__(self) -> None:
        self._waiting: list[Pcm] = []  # blocks, after the _TAPS - 1 samples before them
        self._count = 0
        self._energies: list[Energies] = []
        self._slots: list[SlotPeaks] = []

    def add(self, block: Pcm) -> None:
        """Add a block. Less than 1 ms of work per second of sound and channel; long blocks belong in a thread."""
        if not self._waiting:
            self._waiting.append(np.zeros((_TAPS - 1, block.shape[1]), np.float32))
        done = 0
        while self._count + len(block) - done >= _AT_ONCE:
            taken = block[done : done + _AT_ONCE - self._count]
            samples = np.concatenate([*self._waiting, taken])
            self._keep(samples)
            self._waiting, self._count = [samples[_AT_ONCE:]], 0
            done += len(taken)
        self._waiting.append(block[done:].copy())
        self._count += len(block) - done

    def _keep(self, samples: Pcm) -> None:
        energies, slots = _measured(samples)
        self._energies.append(energies)
        self._slots.append(slots)

    def hops(self) -> tuple[Energies, SlotPeaks]:
        """Return the energies and the slots of each whole hop so far."""
        energies, slots = [np.zeros(0), *self._energies], [np.zeros((0, SLOTS), np.float32), *self._slots]
        if rest := self._count // HOP * HOP:
            samples = np.concatenate(self._waiting)
            some = _measured(np.pad(samples, ((0, -rest % _STEP), (0, 0)))[: _TAPS - 1 + rest + -rest % _STEP])
            energies.append(some[0][: rest // HOP])
            slots.append(some[1][: rest // HOP])
        return np.concatenate(energies), np.concatenate(slots)


def _measured(samples: Pcm) -> tuple[Energies, SlotPeaks]:
    """Return the energies and the slots of whole steps, given with the _TAPS - 1 samples before them."""
    channels = np.ascontiguousarray(samples.T)
    energies = np.zeros((len(samples) - _TAPS + 1) // HOP)
    for channel in channels:
        # With a norm of 1 numpy computes in double precision, which takes twice the time.
        spectrum = np.fft.rfft(sliding_window_view(channel, _FFT)[::_STEP], axis=1, norm="ortho")
        spectrum *= _SPECTRUM
        weighted = np.fft.irfft(spectrum, axis=1, norm="ortho")[:, _TAPS - 1 :].reshape(-1, HOP)
        energies += np.einsum("ij,ij->i", weighted, weighted) / HOP
    loudest = np.abs(channels[:, _TAPS - 1 :]).max(axis=0)
    return energies * (2 / len(channels)), loudest.reshape(len(energies), SLOTS, _SLOT).max(axis=2)


def predict_limited(energies: Energies, slots: SlotPeaks, gains: Energies, ceiling_db: float) -> Energies:
    """Predict the energies with these gains (factors, one per hop) and a limiter with this ceiling. Over some seconds
    the prediction is right within 0.2 LU."""
    ceiling = 10 ** (ceiling_db / 20)
    asked = np.minimum(1.0, ceiling / np.maximum(slots * gains[:, None], ceiling)).ravel()
    around = sliding_window_view(np.pad(asked, 4, constant_values=1.0), 9)
    held = around.min(axis=1).reshape(-1, SLOTS)
    # Loud slots hold most of a hop's energy, and only they are turned down.
    weights = slots.astype(np.float64) ** 2 + 1e-20
    softer: Energies = energies * gains**2 * ((held**2 * weights).sum(axis=1) / weights.sum(axis=1))
    return softer


def lufs(energy: float) -> float:
    """Return the loudness of an energy above zero, in LUFS."""
    return 10 * math.log10(energy) - REFERENCE_DB
