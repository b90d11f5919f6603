"""Resampling to 48 kHz: each piece alone, without a seam between pieces.

A resampler needs some hundred samples on both sides. There are none at the ends of a piece, and silence there would
make each seam click, although the sound continues. So both ends are extended by linear prediction, as opus-tools does
at the end of a stream: resonances continue. The extension is only an input of the filter and is never heard.

A piece is rarely a whole number of samples long at 48 kHz. It gets the nearest length, and its last tenth of a second
is shifted gradually by the fraction, so that the next piece begins exactly where it ends.
"""

from math import gcd

import numpy as np
import soxr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from bot.audio.peaks import Pcm
from storage.records import SAMPLE_RATE, Samples

Wave = NDArray[np.float64]

ORDER = 32  # samples from which the next one is predicted
HEARD_S = 0.04  # of sound from which the prediction is learned
REACH = 160  # samples of a continuation, at 48 kHz or less; at higher rates in proportion
LOUDER = 2.0  # times the peak of the sound before, at most, in a continuation
SLIDE = SAMPLE_RATE // 10  # samples at the end that are shifted
SIDE = 32  # samples on each side from which a value between two samples is interpolated
ROUNDED = 1.5  # samples at 48 kHz by which a length may be off through rounding


def at_48_khz(samples: int, rate: int) -> Samples:
    """Return the nearest whole length at 48 kHz; of two equally near ones the even one."""
    return Samples(round(samples * SAMPLE_RATE / rate))


class Resampler:
    """The resampling of one piece, block by block; float32 in arrays (samples, channels). The result is the same for
    any cut into blocks. Blocking: some 5 ms for 2^16 samples."""

    def __init__(self, rate: int, channels: int, wanted: int) -> None:
        """Begin a piece. `wanted`: the length in the plan at 48 kHz, which the piece gets if it differs only by
        rounding."""
        self._rate = rate
        self._wanted = wanted
        self._more = REACH * -(-rate // SAMPLE_RATE)
        self._learned = int(HEARD_S * rate)
        self._recent = np.zeros((0, channels), np.float32)  # last samples that came in
        self._came = 0
        self._stream = soxr.ResampleStream(rate, SAMPLE_RATE, channels, "float32", "HQ")
        self._begun = False
        self._held = self._recent  # last samples that came out, from sample `_at` on
        self._at = 0
        self._given = 0

    def put(self, block: Pcm) -> Pcm:
        """Add a block; return the samples that are final."""
        self._came += len(block)
        self._recent = np.concatenate([self._recent, block])
        if not self._begun:
            if len(self._recent) < self._learned:
                return self._held[:0]
            block = self._begin()
        self._recent = self._recent[-self._learned :]
        self._take(block, last=False)
        return self._give(self._at + len(self._held) - SLIDE - 2 * SIDE)

    def end(self) -> Pcm:
        """Return the rest."""
        if not self._came:
            return self._held
        rest = self._recent[:0] if self._begun else self._begin()
        self._take(np.concatenate([rest, continued(self._recent, self._more)]), last=True)
        exact = self._came * SAMPLE_RATE / self._rate
        length = self._wanted if abs(exact - self._wanted) < ROUNDED else at_48_khz(self._came, self._rate)
        slide = min(SLIDE, length) if exact != length else 0
        return np.concatenate([self._give(length - slide), self._slid(length - slide, slide, exact - length)])

    def _begin(self) -> Pcm:
        """Return the sound so far, with an extension before it that is a whole number of samples long at 48 kHz."""
        self._begun = True
        unit = self._rate // gcd(self._rate, SAMPLE_RATE)
        length = -(-self._more // unit) * unit
        self._at = -length * SAMPLE_RATE // self._rate
        before = np.zeros((length, self._recent.shape[1]), np.float32)
        before[length - self._more :] = continued(self._recent[: self._learned][::-1], self._more)[::-1]
        return np.concatenate([before, self._recent])

    def _take(self, block: Pcm, *, last: bool) -> None:
        self._held = np.concatenate([self._held, self._stream.resample_chunk(block, last=last)])

    def _give(self, upto: int) -> Pcm:
        """Return the samples before `upto`. Keep the last ones for interpolation."""
        upto = max(upto, self._given)
        ready = self._held[self._given - self._at : upto - self._at]
        self._given = upto
        unneeded = min(len(self._held), max(0, upto - SIDE - self._at))
        self._held, self._at = self._held[unneeded:], self._at + unneeded
        return ready

    def _slid(self, first: int, count: int, by: float) -> Pcm:
        """Return samples from `first` on, shifted gradually, so that the last one is shifted by `by` samples."""
        place = np.arange(count) * (1 + by / max(1, count))
        whole = np.floor(place).astype(int)
        reach = np.arange(1 - SIDE, SIDE + 1)
        off = (place - whole)[:, None] - reach
        weights = np.sinc(off) * np.cos(off * (np.pi / 2 / SIDE)) ** 2
        around = sliding_window_view(self._held, 2 * SIDE, axis=0)[first - self._at + whole + 1 - SIDE]
        slid: Pcm = np.einsum("sck,sk->sc", around, weights).astype(np.float32)
        return slid


def continued(sound: Pcm, count: int) -> Pcm:
    """Return `count` samples that continue the sound with the same resonances, never much louder than before."""
    more = np.zeros((count, sound.shape[1]), np.float32)
    for channel, wave in enumerate(sound.T.astype(np.float64)):
        factors = _burg(wave, min(ORDER, len(wave) // 3))
        order = len(factors)
        line = np.concatenate([wave[len(wave) - order :], np.zeros(count)])
        loudest = LOUDER * np.abs(wave).max()
        for at in range(order, order + count):
            line[at] = min(loudest, max(-loudest, line[at - order : at] @ factors))
        more[:, channel] = line[order:]
    return more


def _burg(wave: Wave, order: int) -> Wave:
    """Return the factors of linear prediction by Burg's method: the next sample is the sum of the last ones, oldest
    first, times these. The method is stable. Its weights are tapered, since it would slightly miss the pitch of tones
    otherwise."""
    error = np.ones(1)
    ahead, behind = wave[1:], wave[:-1]
    least = 1e-18 * (wave @ wave)
    for _ in range(order):
        weights = np.hanning(len(ahead) + 2)[1:-1]
        energy = weights @ (ahead * ahead + behind * behind)
        if energy <= least:
            break
        reflected = -2 * (weights @ (ahead * behind)) / energy
        longer = np.append(error, 0)
        error = longer + reflected * longer[::-1]
        ahead, behind = (ahead + reflected * behind)[1:], (behind + reflected * ahead)[:-1]
    return -error[:0:-1]
