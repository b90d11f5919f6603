"""The door between calls and their media: all that the rest of Aircheck knows of WebRTC, and later of LiveKit. Pure.

Out of a leg comes sound on the clock of the call: Opus packets as they were received, or PCM frames that have to be
encoded once. Everything behind the door is the same for both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from bot.calls.model import Candidate
from bot.errors import GiveUp
from storage.records import Samples

NOTHING = Samples(0)


@dataclass(frozen=True, slots=True)
class OpusPacket:
    """An Opus packet. A hole before it, where `at` is behind the end of the packet before, is lost or unsent sound; no
    two packets of a leg overlap, and `at` only rises."""

    at: Samples  # where its sound begins on the clock of the call
    samples: Samples
    payload: bytes
    lost_before: Samples = NOTHING  # so much of the hole before it was sent and lost on the way


@dataclass(frozen=True, slots=True)
class PcmFrame:
    """Sound that came decoded: float32, 48 kHz, mono, little-endian."""

    at: Samples
    samples: Samples
    data: bytes


Sound = OpusPacket | PcmFrame


class Listener(Protocol):
    """The receiver of a leg's sound and fate. Its methods are called on the event loop and return at once."""

    def connected(self) -> None: ...

    def heard(self, sound: Sound) -> None: ...

    def ended(self) -> None:
        """Take note that the connection is over: closed by the other side, or lost for good. Called once, and not
        after `close`."""


class Refused(Exception):
    """A leg that can't be made or changed as asked. `reason`: a short code (`bad_sdp`, `no_opus`, `too_large`, …)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unfit(GiveUp):
    """Libraries that are installed and can't be used: broken, or in a version without a place that is needed."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, reason="unfit_media")


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server (Client-Server API, `/voip/turnServer`)."""

    urls: tuple[str, ...]
    username: str | None = None
    password: str | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """Our own SDP, and the id of the stream in it that our silent track belongs to."""

    sdp: str
    stream_id: str


class Leg(Protocol):
    """A connection to one device. All methods but `beep` raise Refused."""

    async def offer(self) -> Offer:
        """Make an offer with one audio line: our track, silent but for the beep."""

    async def answer(self, offer: str) -> Offer:
        """Answer an offer: its first audio line, everything else inactive."""

    async def accept(self, answer: str) -> None:
        """Take the answer to our offer."""

    async def renegotiate(self, offer: str) -> Offer:
        """Answer a new offer on this connection."""

    async def add_candidates(self, candidates: Sequence[Candidate]) -> None: ...

    def beep(self) -> None:
        """Play the short tone into this leg, once it is connected."""

    async def close(self) -> None:
        """End the connection. Sound that still waits is handed on before it returns."""


class Media(Protocol):
    """The maker of legs."""

    async def ready(self) -> None:
        """Get ready to make legs: to be called before the first. Raises Unfit if that can't be, TryLater if it can't be
        yet."""

    def leg(self, listener: Listener, clock: Callable[[], Samples], servers: Sequence[IceServer]) -> Leg:
        """Make a leg. `clock`: the present place on the clock of the call."""

    async def close(self) -> None:
        """End everything that is left."""
