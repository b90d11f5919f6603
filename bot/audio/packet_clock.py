"""A file's clock beside its packets: where it goes on without them there was silence, of this length.

The clock is a stranger's word. It counts where it agrees with the packets for most of the time, and in all says of no
more silence than somebody may send who forgot that they are muted.
"""

from dataclasses import dataclass, field

from bot.audio.repair import Pause
from storage.records import SAMPLE_RATE, Hole, Samples

MAX_PAUSES = 900 * SAMPLE_RATE  # samples
_JITTER = SAMPLE_RATE // 100  # samples: a clock that is off by less agrees
_LEAST = SAMPLE_RATE // 10  # samples: a shorter hole is a clock that is not even


@dataclass(slots=True)
class PacketClock:
    """Compares how long packets last with when they come; all in samples at 48 kHz."""

    delay: float = 0.0  # that a decoder leaves out at the beginning
    heard: float = 0.0  # all packets so far
    agreed: int = 0
    disagreed: int = 0
    pauses: list[Pause] = field(default_factory=list)
    holes: list[Hole] = field(default_factory=list)  # those of the pauses that damage left
    damaged: bool = False  # something was left out before the next packet
    _due: float | None = None  # when the next packet should come
    _silence: int = 0  # of all pauses
    _late: float = 0.0  # so much the packets since the last pause came too late

    def put(self, at: float, lasts: float) -> None:
        """A packet, or some in a row."""
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
        return self.agreed > self.disagreed and self._silence <= MAX_PAUSES
