"""The rules of a lease: how long its holder may believe in it, and when it asks for more. Pure.

The database's clock says until when a lease lasts, and who waits for its end goes by that. The holder goes by a clock
of its own machine, as clocks of two machines differ. It counts from before it asked, so it stops believing before
others may begin; and it stops some seconds earlier still, in which what it had begun ends. Its clock counts on while
the machine sleeps.
"""

from dataclasses import dataclass

LEASE_S = 15.0
RENEW_EVERY_S = 4.0
STOP_S = 3.0
"""Seconds before the end of its lease in which the holder begins nothing any more."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that was asked for at a time of the holder's clock, in seconds."""

    asked_at: float

    @property
    def ends_at(self) -> float:
        return self.asked_at + LEASE_S - STOP_S

    @property
    def renew_at(self) -> float:
        return self.asked_at + RENEW_EVERY_S

    def left(self, now: float) -> float:
        """Return for how many seconds the holder may go on; 0 when it may not."""
        return max(0.0, self.ends_at - now)
