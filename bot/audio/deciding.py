"""The gain of a piece, decided once, part by part, while the piece is decoded for the first time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bot.audio import leveller, waveform
from bot.audio.leveller import Gains, LevelState
from bot.audio.peaks import Pcm
from storage.records import SAMPLE_RATE, Cut

PART = 20 * SAMPLE_RATE  # samples whose gain is decided together; more of them take more memory
ENCODER_TAKES_LU = 0.45  # by which the output of libmp3lame is softer than its input


@dataclass(frozen=True, slots=True)
class Decided:
    """A piece whose gain was decided, and its peaks of 10 ms each, gain included."""

    cut: Cut
    peaks: bytes


class Deciding:
    """The gain of one piece while it is decided, part by part. `ends_at`: the gain in dB at the beginning of the next
    piece, if it is decided already.
    """

    def __init__(self, target_lufs: float | None, state: LevelState, ends_at: float | None) -> None:
        self.over = False
        self._target = None if target_lufs is None else target_lufs + ENCODER_TAKES_LU
        self._state = state
        self._ends_at = ends_at
        self._waiting: list[Pcm] = []
        self._left = 0  # samples that wait
        self._ended = False
        self._gains: list[Gains] = []
        self._peaks: list[bytes] = []

    def parts(self, block: Pcm, *, last: bool) -> Iterator[Pcm]:
        """Yield the parts that can be decided now. Decide each before asking for the next."""
        self._waiting.append(block)
        self._left += len(block)
        self._ended = last
        while self._left > PART or (last and self._left):
            sound = np.concatenate(self._waiting)
            part, rest = sound[:PART], sound[PART:]
            self._waiting, self._left = [rest], len(rest)
            yield part

    def decide(self, part: Pcm) -> Pcm:
        """Decide the gain of a part and return the part with its gain. Blocking: some 0.05 s."""
        self.over = self._ended and not self._left
        gains, self._state = leveller.curve(part, self._state, self._target)
        if self.over and self._ends_at is not None:
            gains = leveller.bridge(gains, self._ends_at)
        gained = leveller.apply(part, gains, 0)
        self._gains.append(gains[1:] if self._gains else gains)
        self._peaks.append(waveform.peaks(gained))
        return gained

    @property
    def gains(self) -> bytes:
        return np.concatenate(self._gains).astype("<i2").tobytes()

    @property
    def level(self) -> str:
        return self._state.to_json()

    @property
    def peaks(self) -> bytes:
        return b"".join(self._peaks)
