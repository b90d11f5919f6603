"""Limits and periods of recordings. Pure."""

from dataclasses import dataclass
from datetime import timedelta

from storage.records import SAMPLE_RATE, Samples

MAX_CHUNKS = 5_000
"""Chunks of one recording: six hours in chunks of 4.3 s. More chunks are an attempt to fill the disk."""

DOWNLOADS_MAY_TAKE = timedelta(minutes=10)
"""Time after the quiet period in which chunks may still be fetched, as after an outage. A download that takes longer
holds back no episode."""


ASKING_MAY_TAKE = timedelta(seconds=30)
"""Time that the homeserver has to answer before anything counts as missing. A later answer heals the recording."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The section `recording` of the settings; seconds and bytes."""

    quiet_period_s: float
    abandoned_after_s: float
    paused_for_s: float
    max_broadcast_s: float
    max_chunk_bytes: int
    session_gap_s: float = 600

    @property
    def quiet_period(self) -> timedelta:
        return timedelta(seconds=self.quiet_period_s)

    @property
    def session_gap(self) -> timedelta:
        """The longest time between two messages of one session."""
        return timedelta(seconds=self.session_gap_s)

    @property
    def max_samples(self) -> Samples:
        return Samples(round(self.max_broadcast_s * SAMPLE_RATE))

    def patience(self, *, paused: bool) -> timedelta:
        """Return the time without a sign of life after which a broadcast counts as abandoned."""
        return timedelta(seconds=self.paused_for_s if paused else self.abandoned_after_s)
