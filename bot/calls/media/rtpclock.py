"""The place of each packet on the clock of the call, from the RTP clock of its sender. Pure.

Places follow the sender's timestamps, so that jitter of the network is not heard and unsent sound (DTX) is a hole of
its true length. The two clocks are tied together when a stream begins, and again when they have come apart:

- **Settling.** The first packets of a stream are held until for `SETTLE` none was less delayed than those before; the
  least delayed gives the offset. The same is done, for `CATCH_UP`, behind a pause in arrivals if the packets behind it
  seem to be late: packets that were held back on the way catch up, those of a sender whose clock stood still do not.
- **Stalls.** A sender that loses sound while its RTP clock goes on evenly (an overloaded machine) falls behind. When
  even the least delayed packet of `STALL` is later than `TOLERANCE`, so much silence is inserted. One late packet, or
  a few, change nothing.
- **Ahead.** A sender's clock that is too fast gets ahead of ours. That is taken back where there is a hole anyway. A
  timestamp more than `AHEAD` before its time is a jump: the stream begins anew. Sound that would still lie so far ahead
  is dropped, so no sender can put more sound on the clock than the time holds.

Places only rise, and packets never overlap.
"""

from collections import deque
from typing import NamedTuple

from bot.calls.media.door import OpusPacket
from bot.calls.media.reorder import Ordered
from storage.records import SAMPLE_RATE, Samples

SETTLE = Samples(SAMPLE_RATE // 10)
CATCH_UP = Samples(SAMPLE_RATE // 2)
MOST_SETTLING = Samples(2 * SAMPLE_RATE)
TOLERANCE = Samples(SAMPLE_RATE // 4)
STALL = Samples(4 * SAMPLE_RATE)
AHEAD = Samples(SAMPLE_RATE)
_LESS = SAMPLE_RATE // 100  # by which a packet must be less delayed to count as catching up
_PAUSE = SAMPLE_RATE // 2  # without a packet: longer than DTX pauses between two
_BUCKET = SAMPLE_RATE // 2  # the delays of STALL are kept as the least of each half second
_BUCKETS = STALL // _BUCKET
_TIMESTAMPS = 1 << 32


class _Timed(NamedTuple):
    """A packet with its timestamp counted on beyond 32 bits, and its length."""

    ordered: Ordered
    time: int
    samples: Samples


class RtpClock:
    """The clock of one leg."""

    def __init__(self) -> None:
        self._time = 0  # of the last packet, counted on
        self._timestamp = 0  # of the last packet, as sent
        self._arrived = Samples(0)  # of the last packet
        self._offset = 0  # from RTP time to the clock of the call
        self._end = Samples(0)  # of the sound that was placed
        self._length = Samples(0)  # of the last packet that was placed
        self._settling: list[_Timed] = []
        self._least_delayed = 0  # among them
        self._caught_up = Samples(0)  # arrival of the last of them that was less delayed than those before
        self._anew = False  # what settles is a stream that begins, not one that may have stalled
        self._least: deque[tuple[int, int]] = deque(maxlen=_BUCKETS)  # half second, least delay in it
        self._early = 0  # samples that the stream is ahead of its time, beyond TOLERANCE

    @property
    def due(self) -> Samples | None:
        """The place on the clock at which to call `expire`; None: nothing waits."""
        if not self._settling:
            return None
        patience = SETTLE if self._anew else CATCH_UP
        return Samples(min(self._caught_up + patience, self._settling[0].ordered.packet.arrived + MOST_SETTLING))

    def push(self, ordered: Ordered, samples: Samples) -> list[OpusPacket]:
        """Take the next packet in order, `samples` long; return what has its place now."""
        placed = self.expire(ordered.packet.arrived)
        timed = _Timed(ordered, self._counted(ordered.packet.timestamp), samples)
        delay, pause = self._delay(timed), ordered.packet.arrived - self._arrived
        if ordered.begins or self._jumped(timed):
            placed += self.flush()
            self._anew = True
        self._time, self._timestamp, self._arrived = timed.time, ordered.packet.timestamp, ordered.packet.arrived
        if self._settling or self._anew or (pause > _PAUSE and delay > TOLERANCE):
            self._settle(timed, delay)
            return placed
        return placed + self._place(timed)

    def expire(self, now: Samples) -> list[OpusPacket]:
        """Return the packets that need not wait any longer."""
        return self.flush() if self.due is not None and now >= self.due else []

    def flush(self) -> list[OpusPacket]:
        """Settle now, and return all packets that wait."""
        settling, self._settling = self._settling, []
        if settling:
            delay = min(map(self._delay, settling))
            if self._anew or delay > TOLERANCE:
                self._move(delay)
                self._least.clear()  # of another time
                self._early = 0
            self._anew = False
        return [packet for timed in settling for packet in self._place(timed)]

    def _settle(self, timed: _Timed, delay: int) -> None:
        if not self._settling or delay < self._least_delayed - _LESS:
            self._least_delayed, self._caught_up = delay, timed.ordered.packet.arrived
        self._settling.append(timed)

    def _counted(self, timestamp: int) -> int:
        """Count a timestamp on beyond 32 bits."""
        step = (timestamp - self._timestamp + _TIMESTAMPS // 2) % _TIMESTAMPS - _TIMESTAMPS // 2
        return self._time + step

    def _delay(self, timed: _Timed) -> int:
        """Return how long after its place a packet arrived; negative: before."""
        return timed.ordered.packet.arrived - timed.time - self._offset

    def _jumped(self, timed: _Timed) -> bool:
        """Tell whether a timestamp can't belong to the stream as it was."""
        if self._settling:
            return abs(timed.time - self._time) > AHEAD
        return -self._delay(timed) > AHEAD or self._end - timed.time - self._offset > AHEAD

    def _move(self, by: int) -> None:
        self._offset += by
        self._least = deque(((half, late - by) for half, late in self._least), _BUCKETS)

    def _place(self, timed: _Timed) -> list[OpusPacket]:
        packet, lost, _ = timed.ordered
        self._watch(packet.arrived, self._delay(timed))
        hole = timed.time + self._offset - self._end
        if hole < 0:
            self._move(-hole)
        elif taken_back := min(hole, self._early):
            self._move(-taken_back)
            self._early -= taken_back
        if -self._delay(timed) > AHEAD:
            self._move(max(self._end - timed.time - self._offset, self._delay(timed)))
        if -self._delay(timed) > AHEAD:
            return []
        at = Samples(timed.time + self._offset)
        missing = Samples(min(at - self._end, lost * self._length))
        self._end, self._length = Samples(at + timed.samples), timed.samples
        return [OpusPacket(at, timed.samples, packet.payload, missing)]

    def _watch(self, now: Samples, delay: int) -> None:
        """Note how late a packet is. Insert silence when all of them were too late for `STALL`."""
        half = now // _BUCKET
        if self._least and self._least[-1][0] >= half:
            self._least[-1] = (half, min(delay, self._least[-1][1]))
            return
        if len(self._least) == _BUCKETS:
            least = min(delay, *(late for _, late in self._least))
            if least > TOLERANCE:
                self._move(least)
                delay -= least
            self._early = max(0, -least - TOLERANCE)
        self._least.append((half, delay))
