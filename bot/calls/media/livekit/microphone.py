"""The receiving end of a participant's microphone: RTP packets in, Opus packets on the clock of the call out. Pure.

Other than the packets of a leg (`incoming`), those of an SFU may be encrypted, so what is no Opus is known only once
their keys are there. What waits for a key holds the clock: places come out as if the key had been there all the time.
"""

from collections.abc import Collection, Sequence

from bot.audio.opus_packets import length_of
from bot.calls.media.door import OpusPacket
from bot.calls.media.incoming import MOST_BYTES
from bot.calls.media.livekit.frames import OVERHEAD
from bot.calls.media.livekit.keyring import Keyring
from bot.calls.media.livekit.sealed import Unreadable, Unsealing
from bot.calls.media.reorder import Ordered, Reorder
from bot.calls.media.rtp import parse
from bot.calls.media.rtpclock import RtpClock
from storage.records import Samples


class Microphone:
    """The microphone of one participant, whatever tracks and streams it is sent in, one at a time. `keys`: the
    participant's. `encrypted`: their sound is, or has to be."""

    def __init__(self, keys: Keyring, *, encrypted: bool) -> None:
        self.payload_types: Collection[int] = ()
        self._reorder = Reorder()
        self._unsealing = Unsealing(keys, encrypted=encrypted)
        self._clock = RtpClock()

    @property
    def encrypted(self) -> bool:
        return self._unsealing.encrypted

    @encrypted.setter
    def encrypted(self, encrypted: bool) -> None:
        self._unsealing.encrypted = encrypted

    def know_injected(self, trailer: bytes) -> None:
        """Learn the trailer of the silence that the SFU puts in: `sif_trailer` of its JoinResponse."""
        self._unsealing.injected = trailer

    @property
    def due(self) -> Samples | None:
        """The place on the clock at which to call `expire`; None: nothing waits."""
        dues = [self._reorder.due, self._unsealing.due]
        if self._clock.due is not None and self._clock.due <= min(self._held(), default=self._clock.due):
            dues.append(self._clock.due)
        return min((due for due in dues if due is not None), default=None)

    def push(self, data: bytes, now: Samples) -> list[OpusPacket | Unreadable]:
        """Take an RTP packet as it arrives; return the sound whose turn has come."""
        packet = parse(data, now)
        if packet is None or packet.payload_type not in self.payload_types:
            return []
        if len(packet.payload) > MOST_BYTES + OVERHEAD:
            return []
        return self._unsealed(self._reorder.push(packet))

    def take_key(self, index: int, key: bytes) -> list[OpusPacket | Unreadable]:
        """Take a key of the participant; return the sound that has waited for it."""
        return self._placed(self._unsealing.take_key(index, key))

    def expire(self, now: Samples) -> list[OpusPacket | Unreadable]:
        """Return the sound that need not wait any longer."""
        told = self._unsealed(self._reorder.expire(now)) + self._placed(self._unsealing.expire(now))
        return [*told, *self._clock.expire(min([now, *self._held()]))]

    def flush(self) -> list[OpusPacket | Unreadable]:
        """Return all sound that waits, as at the end."""
        told = self._unsealed(self._reorder.flush()) + self._placed(self._unsealing.flush())
        return [*told, *self._clock.flush()]

    def _held(self) -> list[Samples]:
        """Return the arrivals of what waits before the clock, of each stage the oldest."""
        return [since for since in (self._reorder.waits_since, self._unsealing.waits_since) if since is not None]

    def _unsealed(self, ordered: Sequence[Ordered]) -> list[OpusPacket | Unreadable]:
        return self._placed([told for packet in ordered for told in self._unsealing.push(packet)])

    def _placed(self, unsealed: Sequence[Ordered | Unreadable]) -> list[OpusPacket | Unreadable]:
        placed: list[OpusPacket | Unreadable] = []
        for told in unsealed:
            if isinstance(told, Unreadable):
                placed.append(told)
            else:
                samples = length_of(told.packet.payload)
                assert samples is not None  # checked when it was unsealed
                placed += self._clock.push(told, samples)
        return placed
