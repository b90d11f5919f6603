"""Silence in a file, found by comparing the times of its packets with their lengths. Pure.

Times are a stranger's numbers. They are believed if they agree with the lengths for most of the packets, and if their
silence in all is no longer than a speaker may stay muted by mistake.
"""

from dataclasses import dataclass, field

from bot.audio.repair import Pause
from storage.records import SAMPLE_RATE, Hole, Samples

MAX_PAUSES = 900 * SAMPLE_RATE  # samples of silence in one file
_JITTER = SAMPLE_RATE // 100  # samples by which times may differ and still agree
_LEAST = SAMPLE_RATE // 10  # samples of the shortest pause; less is an uneven clock


@dataclass(slots=True)
class PacketClock:
    """The times and lengths of packets, in samples at 48 kHz."""

    delay: float = 0.0  # samples that the decoder leaves out at the beginning
    heard: float = 0.0  # length of all packets so far
    agreed: int = 0
    disagreed: int = 0
    pauses: list[Pause] = field(default_factory=list)
    holes: list[Hole] = field(default_factory=list)  # the pauses that damage left
    damaged: bool = False  # something was left out before the next packet
    _due: float | None = None  # when the next packet should come
    _silence: int = 0  # length of all pauses
    _late: float = 0.0  # how much later than their lengths say the packets since the last pause come

    def put(self, at: float, lasts: float) -> None:
        """Add one packet or several in a row: their time and their length."""
        late = 0.0 if self._due is None else at - self._due
        if abs(late) > max(_JITTER, lasts / 4):
            self._late += late
            self.disagreed += not self.damaged
        else:
            self.agreed += 1
        if self._late > (_JITTER if self.damaged else _LEAST):
            self._pause(Samples(max(0, round(self.heard - self.delay))), Samples(round(self._late)))
            self._late = 0.0
        self.damaged = False
        self.heard += lasts
        self._due = at + lasts

    def _pause(self, position: Samples, samples: Samples) -> None:
        if self.damaged:
            self.holes.append(Hole(Samples(position + self._silence), samples))
        self.pauses.append(Pause(position, samples))
        self._silence += samples

    @property
    def believed(self) -> bool:
        """Whether the pauses may be used."""
        return self.agreed > self.disagreed and self._silence <= MAX_PAUSES
