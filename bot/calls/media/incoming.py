"""The receiving end of a leg: RTP packets of strangers in, Opus packets on the clock of the call out. Pure."""

from collections.abc import Collection

from bot.audio.opus_packets import length_of, well_formed
from bot.calls.media.door import OpusPacket
from bot.calls.media.reorder import Ordered, Reorder
from bot.calls.media.rtp import parse
from bot.calls.media.rtpclock import RtpClock
from storage.records import Samples

MOST_BYTES = 1500  # of an Opus packet


class Incoming:
    """The sound of one leg. Everything that is no Opus of a negotiated payload type is dropped."""

    def __init__(self) -> None:
        self.payload_types: Collection[int] = ()
        self._reorder = Reorder()
        self._clock = RtpClock()

    @property
    def due(self) -> Samples | None:
        """The place on the clock at which to call `expire`; None: nothing waits."""
        return min((due for due in (self._reorder.due, self._clock.due) if due is not None), default=None)

    def push(self, data: bytes, now: Samples) -> list[OpusPacket]:
        """Take an RTP packet as it arrives; return the sound whose turn has come."""
        packet = parse(data, now)
        if packet is None or packet.payload_type not in self.payload_types or len(packet.payload) > MOST_BYTES:
            return []
        if length_of(packet.payload) is None or not well_formed(packet.payload):
            return []
        return self._placed(self._reorder.push(packet))

    def expire(self, now: Samples) -> list[OpusPacket]:
        """Return the sound that need not wait any longer."""
        return self._placed(self._reorder.expire(now)) + self._clock.expire(now)

    def flush(self) -> list[OpusPacket]:
        """Return all sound that waits."""
        return self._placed(self._reorder.flush()) + self._clock.flush()

    def _placed(self, ordered: list[Ordered]) -> list[OpusPacket]:
        placed = []
        for packet in ordered:
            samples = length_of(packet.packet.payload)
            assert samples is not None  # checked on arrival
            placed += self._clock.push(packet, samples)
        return placed
