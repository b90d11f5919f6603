"""Sound of other rates at 48 kHz: each piece alone, and no seam between pieces.

A resampler reaches some hundred samples to both sides. At the ends of a piece there is nothing to reach for: with
silence there each seam would be a click, though the sound goes on. So both ends are continued by linear prediction,
as opus-tools does where a stream ends: what rings goes on to ring. The continuation is only reached for, never heard.

A piece is rarely a whole number of samples long at 48 kHz. It gets the nearest one, and its last tenth of a second is
moved by the fraction, little by little: the next piece begins exactly where it ends.
"""

from math import gcd

import numpy as np
import soxr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from storage.records import SAMPLE_RATE, Samples

Pcm = NDArray[np.float32]
Wave = NDArray[np.float64]

ORDER = 32  # samples that predict the next
HEARD_S = 0.04  # of sound that they are learned from
REACH = 160  # samples that an end is continued by, at 48 kHz or less; at higher rates as much more
LOUDER = 2.0  # times as loud as what was heard, at most
SLIDE = SAMPLE_RATE // 10  # samples
SIDE = 32  # samples to each side for one that lies between others
ROUNDED = 1.5  # samples at 48 kHz: where a length is off by less, somebody rounded


def at_48_khz(samples: int, rate: int) -> Samples:
    """The nearest whole length; of two the even one."""
    return Samples(round(samples * SAMPLE_RATE / rate))


class Resampler:
    """One piece, block by block; float32 in arrays (samples, channels). The same samples for any cut into blocks.
    Blocking: some 5 ms for 2^16 samples."""

    def __init__(self, rate: int, channels: int, wanted: int) -> None:
        """`wanted`: the length that it should have at 48 kHz. Where it is only rounded otherwise, it gets that."""
        self._rate = rate
        self._wanted = wanted
        self._more = REACH * -(-rate // SAMPLE_RATE)
        self._learned = int(HEARD_S * rate)
        self._recent = np.zeros((0, channels), np.float32)  # the last that came in
        self._came = 0
        self._stream = soxr.ResampleStream(rate, SAMPLE_RATE, channels, "float32", "HQ")
        self._begun = False
        self._held = self._recent  # the last that came out, from the sample `_at` on
        self._at = 0
        self._given = 0

    def put(self, block: Pcm) -> Pcm:
        """What is sure by now."""
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
        """The rest."""
        if not self._came:
            return self._held
        rest = self._recent[:0] if self._begun else self._begin()
        self._take(np.concatenate([rest, continued(self._recent, self._more)]), last=True)
        exact = self._came * SAMPLE_RATE / self._rate
        length = self._wanted if abs(exact - self._wanted) < ROUNDED else at_48_khz(self._came, self._rate)
        slide = min(SLIDE, length) if exact != length else 0
        return np.concatenate([self._give(length - slide), self._slid(length - slide, slide, exact - length)])

    def _begin(self) -> Pcm:
        """What came so far, with its continuation to the left, as long as whole samples at 48 kHz."""
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
        """What is ready before the sample `upto`. A little of it stays, to reach back for."""
        upto = max(upto, self._given)
        ready = self._held[self._given - self._at : upto - self._at]
        self._given = upto
        unneeded = min(len(self._held), max(0, upto - SIDE - self._at))
        self._held, self._at = self._held[unneeded:], self._at + unneeded
        return ready

    def _slid(self, first: int, count: int, by: float) -> Pcm:
        """Samples from `first` on, each a little later than the one before, the end of the last by `by`."""
        place = np.arange(count) * (1 + by / max(1, count))
        whole = np.floor(place).astype(int)
        reach = np.arange(1 - SIDE, SIDE + 1)
        off = (place - whole)[:, None] - reach
        weights = np.sinc(off) * np.cos(off * (np.pi / 2 / SIDE)) ** 2
        around = sliding_window_view(self._held, 2 * SIDE, axis=0)[first - self._at + whole + 1 - SIDE]
        slid: Pcm = np.einsum("sck,sk->sc", around, weights).astype(np.float32)
        return slid


def continued(sound: Pcm, count: int) -> Pcm:
    """The `count` samples that may follow: what the same resonances would give, never much louder than it was."""
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
    """Linear prediction by Burg's method, which can't blow up; tapered, else it is a little off the pitch of tones. The
    next sample is the last ones, oldest first, times these factors."""
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
