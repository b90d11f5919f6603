"""The microphones of the participants whose sound is recorded, and everybody's keys, through all reconnects."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from bot.calls.media.door import NOTHING, OpusPacket, SfuListener
from bot.calls.media.livekit.keyring import Keyring
from bot.calls.media.livekit.microphone import Microphone
from bot.calls.media.livekit.sealed import Unreadable
from storage.records import SAMPLE_RATE, Samples

MOST_KEYRINGS = 2000


@dataclass(slots=True)
class _Ear:
    """A microphone, with a timer for what waits in it."""

    microphone: Microphone
    due: Samples = NOTHING  # of the timer
    timer: asyncio.TimerHandle | None = None


class Ears:
    """The microphones. `encrypted`: sound that is not, is not taken."""

    def __init__(self, listener: SfuListener, clock: Callable[[], Samples], *, encrypted: bool) -> None:
        self._listener, self._clock, self._encrypted = listener, clock, encrypted
        self._loop = asyncio.get_running_loop()
        self._ears: dict[str, _Ear] = {}
        self._keyrings: dict[str, Keyring] = {}
        self._encrypting: set[str] = set()  # participants who say that they encrypt, whatever the call does
        self._injected = b""

    def __contains__(self, identity: str) -> bool:
        return identity in self._ears

    def receive(self, identities: Collection[str]) -> None:
        """Receive these participants and nobody else."""
        for identity in set(self._ears) - set(identities):
            self._stop(identity)
        for identity in identities:
            if identity not in self._ears:
                encrypted = self._encrypted or identity in self._encrypting
                microphone = Microphone(self._keyring(identity), encrypted=encrypted)
                microphone.know_injected(self._injected)
                self._ears[identity] = _Ear(microphone)

    def know_injected(self, trailer: bytes) -> None:
        """Learn the trailer of the silence that the SFU puts in."""
        self._injected = trailer
        for ear in self._ears.values():
            ear.microphone.know_injected(trailer)

    def know_encrypted(self, identity: str, encrypted: bool) -> None:
        """Learn whether a participant encrypts: in an unencrypted call it would be noise."""
        (self._encrypting.add if encrypted else self._encrypting.discard)(identity)
        if (ear := self._ears.get(identity)) is not None:
            ear.microphone.encrypted = self._encrypted or encrypted

    def push(self, identity: str, packet: bytes, payload_types: Collection[int]) -> None:
        """Take a packet of RTP."""
        if (ear := self._ears.get(identity)) is not None:
            ear.microphone.payload_types = payload_types
            self._hand_on(identity, ear, ear.microphone.push(packet, self._clock()))

    def take_key(self, identity: str, index: int, key: bytes) -> None:
        """Take a key of a participant, who may not be there yet."""
        if (ear := self._ears.get(identity)) is not None:
            self._hand_on(identity, ear, ear.microphone.take_key(index, key))
        elif identity in self._keyrings or len(self._keyrings) < MOST_KEYRINGS:
            self._keyring(identity).take(index, key)

    def waits(self, identity: str) -> bool:
        """Tell whether sound of a participant waits for something."""
        return identity in self._ears and self._ears[identity].microphone.due is not None

    def close(self) -> None:
        """Hand on all sound that waits."""
        for identity in list(self._ears):
            self._stop(identity)

    def _keyring(self, identity: str) -> Keyring:
        return self._keyrings.setdefault(identity, Keyring())

    def _stop(self, identity: str) -> None:
        ear = self._ears.pop(identity)
        if ear.timer is not None:
            ear.timer.cancel()
        self._tell(identity, ear.microphone.flush())

    def _hand_on(self, identity: str, ear: _Ear, told: Sequence[OpusPacket | Unreadable]) -> None:
        self._tell(identity, told)
        due = ear.microphone.due
        if due is None or (ear.timer is not None and ear.due <= due):
            return
        if ear.timer is not None:
            ear.timer.cancel()
        ear.due = due
        ear.timer = self._loop.call_later(max(0, due - self._clock()) / SAMPLE_RATE, self._expire, identity, ear)

    def _expire(self, identity: str, ear: _Ear) -> None:
        ear.timer = None
        self._hand_on(identity, ear, ear.microphone.expire(self._clock()))

    def _tell(self, identity: str, told: Sequence[OpusPacket | Unreadable]) -> None:
        for one in told:
            if isinstance(one, Unreadable):
                self._listener.unreadable(identity, one.reason)
            else:
                self._listener.heard(identity, one)
