"""The door between calls and their media: all that the rest of Aircheck knows of WebRTC and LiveKit. Pure.

Sound comes on the clock of the call, as Opus packets that were received: of a leg, which is a connection to one device,
or of an SFU, which passes on the sound of many.
"""

from collections.abc import Callable, Collection, Sequence
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


Sound = OpusPacket
"""Sound as the media hand it on."""


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


class SfuListener(Protocol):
    """The receiver of what an SFU passes on. A participant is a device, by its identity there. Its methods are called
    on the event loop and return at once."""

    def joined(self) -> None:
        """Take note that the bot is in the room of the SFU."""

    def came(self, identity: str) -> None:
        """Take note that a participant is in the room; also of those who were in it before."""

    def went(self, identity: str) -> None: ...

    def muted(self, identity: str, muted: bool) -> None:
        """Take note that the microphone of a participant who came is muted, or not any more. Without a microphone they
        are muted."""

    def heard(self, identity: str, sound: Sound) -> None: ...

    def unreadable(self, identity: str, reason: str) -> None:
        """Take note of sound that is silence for ever. `reason`: `no_key`, it waited for its key in vain;
        `unencrypted`, it has to be encrypted and is not. Called once for each stretch of such sound."""

    def ended(self, reason: str) -> None:
        """Take note that the connection is over, and with it everybody's: the SFU closed it, or it is lost and was not
        to be had again. Called once, and not after `close`. `reason`: a short code."""


class Sfu(Protocol):
    """A connection to a room of an SFU. It is held through short breaks of the network."""

    async def join(self, url: str, token: str) -> None:
        """Join with a token (MSC4195). Raises Refused (`refused`: the SFU takes no such token; `unreachable`, …)."""

    def receive(self, identities: Collection[str]) -> None:
        """Receive the microphones of these participants and of nobody else, from now on; they may not be there yet."""

    def take_key(self, identity: str, index: int, key: bytes) -> None:
        """Take a key of a participant's sound, who may not be there yet. Sound that waits for it is heard now."""

    def use_own_key(self, index: int, key: bytes) -> None:
        """Encrypt our own track with this key from now on."""

    def beep(self) -> None:
        """Play the short tone, once the bot is in the room."""

    async def close(self) -> None:
        """Leave. Sound that still waits is handed on before it returns."""


class Media(Protocol):
    """The maker of legs and of connections to SFUs."""

    async def ready(self) -> None:
        """Get ready to make legs: to be called before the first. Raises Unfit if that can't be, TryLater if it can't be
        yet."""

    def leg(self, listener: Listener, clock: Callable[[], Samples], servers: Sequence[IceServer]) -> Leg:
        """Make a leg. `clock`: the present place on the clock of the call."""

    def sfu(self, listener: SfuListener, clock: Callable[[], Samples], *, encrypted: bool, private: bool) -> Sfu:
        """Make a connection to an SFU. `encrypted`: sound that is not, is not taken. `private`: it may lead into
        private networks."""

    async def close(self) -> None:
        """End everything that is left."""
