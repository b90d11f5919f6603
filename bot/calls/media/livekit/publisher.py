"""Our own microphone in a room of an SFU: a track that is muted, but for the beep.

A track appears to the others with its first packet, so some silence is sent when it is there; a client that subscribed
to it then hears the beep from its beginning. In a call that is encrypted nothing is sent before we have a key.
"""

import asyncio
import logging
import secrets
import struct
from collections.abc import Callable, Iterable

from livekit.protocol import models, rtc

from bot.calls.media.livekit.description import OUR_PAYLOAD_TYPE, Local, offer, read
from bot.calls.media.livekit.frames import Sealer
from bot.calls.media.livekit.signalling import Signalling
from bot.calls.media.livekit.transport import Relay, Transport
from bot.calls.media.voice import PACKET, PACKET_S, beep

SILENCE = bytes((0xF8, 0xFF, 0xFE))  # 20 ms of Opus
ANNOUNCING = 10  # packets of silence
UNMUTING_S = 0.3  # for the news that we are not muted to arrive before the beep
CONNECT_S = 10.0
NAME = "microphone"
_HEADER = struct.Struct("!BBHII")
_VERSION = 2 << 6

log = logging.getLogger(__name__)


class Publisher:
    """The sending transport. `sealer` returns the encryption that our frames need; None: they need none. `lost`: the
    transport was up, and is lost."""

    def __init__(self, *, private: bool, sealer: Callable[[], Sealer | None], lost: Callable[[], None]) -> None:
        self._sealer, self._lost = sealer, lost
        self._transport = Transport(
            private=private, admits=lambda datagram: False, received=lambda packet: None, changed=self._changed
        )
        self._track = f"TR_{secrets.token_hex(8)}"
        self._sid = ""
        self._ssrc, self._sequence, self._timestamp = secrets.randbits(32), secrets.randbits(15), secrets.randbits(31)
        self._version = 0
        self._local: Local | None = None
        self._up = asyncio.Event()
        self._was_up = self._ever_up = False
        self._sending = asyncio.Lock()
        self._beeping = False

    @property
    def has_ended(self) -> bool:
        """Whether the transport was up, and is lost for good."""
        return self._ever_up and self._transport.has_ended

    async def publish(self, signalling: Signalling, relay: Relay | None, *, encrypted: bool) -> None:
        """Announce the track, and offer it."""
        encryption = models.Encryption.GCM if encrypted else models.Encryption.NONE
        await signalling.send(
            add_track=rtc.AddTrackRequest(
                cid=self._track,
                name=NAME,
                type=models.TrackType.AUDIO,
                source=models.TrackSource.MICROPHONE,
                muted=True,
                encryption=encryption,
            )
        )
        await self.offer(signalling, relay)

    async def offer(self, signalling: Signalling, relay: Relay | None) -> None:
        """Make an offer, with a new ICE connection."""
        self._local = await self._transport.prepare(relay)
        self._version += 1
        text = offer(self._local, self._track, self._ssrc, self._version)
        await signalling.send(offer=rtc.SessionDescription(type="offer", sdp=text, id=self._version))

    async def accept(self, answer: str, number: int) -> None:
        """Take the answer to our offer. Raises Refused."""
        if number not in (0, self._version):
            return
        remote = read(answer, "answer", {})
        for candidate in remote.candidates:
            await self._transport.add_candidate(candidate)
        self._transport.connect(remote, controlling=True, client=remote.role == "passive")

    async def add_candidate(self, text: str) -> None:
        await self._transport.add_candidate(text)

    def published(self, message: rtc.TrackPublishedResponse) -> None:
        """Take note of the id that the SFU gave to the track."""
        if message.cid == self._track:
            self._sid = message.track.sid

    async def announce(self) -> None:
        """Send some silence, once the transport is up."""
        await self._play([SILENCE] * ANNOUNCING)

    async def beep(self, signalling: Callable[[], Signalling]) -> None:
        """Play the short tone, and be muted again."""
        if self._beeping:
            return
        self._beeping = True
        try:
            await self._wait()
            await signalling().send(mute=rtc.MuteTrackRequest(sid=self._sid, muted=False))
            await self._play([SILENCE] * round(UNMUTING_S / PACKET_S) + list(beep()))
        finally:  # also where the transport is lost meanwhile
            self._beeping = False
            await self.mute(signalling())

    async def mute(self, signalling: Signalling) -> None:
        """Be muted, unless the tone plays."""
        if self._sid and not self._beeping:
            await signalling.send(mute=rtc.MuteTrackRequest(sid=self._sid, muted=True))

    async def close(self) -> None:
        await self._transport.close()

    async def _wait(self) -> None:
        async with asyncio.timeout(CONNECT_S):
            await self._up.wait()

    async def _play(self, frames: Iterable[bytes]) -> None:
        await self._wait()
        async with self._sending:
            clock = asyncio.get_running_loop().time
            due = clock()
            for number, frame in enumerate(frames):
                await self._transport.send(self._packet(frame, begins=number == 0))
                due += PACKET_S
                await asyncio.sleep(max(0, due - clock()))

    def _packet(self, frame: bytes, *, begins: bool) -> bytes:
        sealer = self._sealer()
        payload = frame if sealer is None else sealer.seal(frame, self._ssrc, self._timestamp)
        head = _HEADER.pack(
            _VERSION, begins << 7 | OUR_PAYLOAD_TYPE, self._sequence & 0xFFFF, self._timestamp & 0xFFFFFFFF, self._ssrc
        )
        self._sequence += 1
        self._timestamp += PACKET
        return head + payload

    def _changed(self, up: bool) -> None:
        if up:
            self._was_up = self._ever_up = True
            self._up.set()
            return
        self._up.clear()
        if self._was_up:
            self._was_up = False
            self._lost()
        else:
            log.info("our own track could not be connected to the SFU")
