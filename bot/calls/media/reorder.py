"""The order of a leg's packets: a short window in which late ones are waited for. Pure.

aiortc's own jitter buffer discards good packets near each lost one (1 % lost on the way made 6 % silence). This window
loses nothing that arrives in time:

- A packet that is next in sequence leaves at once. Behind a hole, packets wait until the hole is filled, until `WINDOW`
  numbers follow it, or until `WAIT` has passed.
- Packets that come twice, or after their turn, are dropped.
- A leg has one stream at a time. Another SSRC, or a sequence number far from the expected one, is believed when two
  packets in a row confirm it (RFC 3550, appendix A.1). So a single stray packet changes nothing, and a sender that
  mixes several streams is heard with one of them, or with garbled sound of its own.
"""

from typing import NamedTuple

from bot.calls.media.rtp import RtpPacket
from storage.records import SAMPLE_RATE, Samples

WINDOW = 16  # packets
WAIT = Samples(SAMPLE_RATE // 5)
_MISORDERED = 100  # numbers back that count as late, not as a restart (RFC 3550, appendix A.1)
_DROPPED = 3000  # numbers ahead that count as lost
_NUMBERS = 1 << 16


class Ordered(NamedTuple):
    """A packet in its order. `lost`: numbers before it that never came; `begins`: the first of another stream."""

    packet: RtpPacket
    lost: int
    begins: bool


class Reorder:
    """The window of one leg."""

    def __init__(self) -> None:
        self._ssrc: int | None = None
        self._next = 0  # the number that is handed on next, counted on beyond 16 bits
        self._held: dict[int, RtpPacket] = {}
        self._lost = 0  # numbers given up since the last packet that was handed on
        self._begins = False
        self._stranger: RtpPacket | None = None  # the last packet, if it doesn't belong to the stream

    @property
    def waits_since(self) -> Samples | None:
        """The arrival of the packet that is handed on next; None: nothing waits."""
        return self._held[min(self._held)].arrived if self._held else None

    @property
    def due(self) -> Samples | None:
        """The place on the clock at which to call `expire`; None: nothing waits."""
        return None if self.waits_since is None else Samples(self.waits_since + WAIT)

    def push(self, packet: RtpPacket) -> list[Ordered]:
        """Take a packet as it arrives; return those whose turn has come."""
        if self._ssrc is None:
            self._begin(packet)
        step = _apart(packet.sequence, self._next)
        if packet.ssrc != self._ssrc or not -_MISORDERED <= step < _DROPPED:
            return self._estranged(packet)
        self._stranger = None
        number = self._next + step
        if step < 0 or number in self._held:
            return []
        self._held[number] = packet
        return self._leaving(packet.arrived)

    def expire(self, now: Samples) -> list[Ordered]:
        """Return the packets that need not wait any longer."""
        return self._leaving(now)

    def flush(self) -> list[Ordered]:
        """Return all packets that wait, as at the end of the leg."""
        return self._leaving(None)

    def _begin(self, packet: RtpPacket) -> None:
        self._ssrc, self._next, self._lost, self._begins = packet.ssrc, packet.sequence, 0, True

    def _leaving(self, now: Samples | None) -> list[Ordered]:
        leaving = []
        while self._held:
            if self._next not in self._held:
                first = min(self._held)
                waited = now is None or now - self._held[first].arrived >= WAIT
                skipped = (first if waited else min(first, max(self._held) - WINDOW + 1)) - self._next
                if skipped <= 0:
                    break
                self._next += skipped
                self._lost += skipped
                continue
            leaving.append(Ordered(self._held.pop(self._next), self._lost, self._begins))
            self._next, self._lost, self._begins = self._next + 1, 0, False
        return leaving

    def _estranged(self, packet: RtpPacket) -> list[Ordered]:
        """Take a packet of another stream. Change to it if the packet before confirms it."""
        before, self._stranger = self._stranger, packet
        if before is None or before.ssrc != packet.ssrc:
            return []
        step = _apart(packet.sequence, before.sequence)
        if not 0 < abs(step) < WINDOW:
            return []
        left = self.flush()
        self._stranger = None
        first, second = (before, packet) if step > 0 else (packet, before)
        self._begin(first)
        return left + self.push(first) + self.push(second)


def _apart(number: int, expected: int) -> int:
    """Return how far a number of 16 bits is ahead of the expected one; negative: behind."""
    return (number - expected + _NUMBERS // 2) % _NUMBERS - _NUMBERS // 2
