"""The numbers that a recording goes by. Pure."""

from dataclasses import dataclass
from datetime import timedelta

from storage.records import SAMPLE_RATE, Samples

MAX_CHUNKS = 5_000
"""Of one recording: six hours in chunks of 4.3 s. More is no broadcast but an attempt to fill the disk."""


DOWNLOADS_MAY_TAKE = timedelta(minutes=10)
"""How long after the quiet period chunks may still be on their way, as after an outage; what hangs longer holds nothing
back."""


ASKING_MAY_TAKE = timedelta(seconds=30)
"""How long the homeserver's answer is waited for before something counts as missing; what it says later heals."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The section `recording` of the settings; seconds and bytes."""

    quiet_period_s: float
    abandoned_after_s: float
    paused_for_s: float
    max_broadcast_s: float
    max_chunk_bytes: int

    @property
    def quiet_period(self) -> timedelta:
        return timedelta(seconds=self.quiet_period_s)

    @property
    def max_samples(self) -> Samples:
        return Samples(round(self.max_broadcast_s * SAMPLE_RATE))

    def patience(self, *, paused: bool) -> timedelta:
        """How long a broadcast may give no sign of life before it counts as abandoned."""
        return timedelta(seconds=self.paused_for_s if paused else self.abandoned_after_s)
