"""Callers made of aiortc, for tests: each sends sound whose place is known to the sample, over a line that can be bad.

The sound is Opus packets made beforehand: of the shipped speech, if nothing else is asked for. Each bears its number in
its padding, which players pass over. So a recorded packet tells by itself which part of the source it is, and nothing
has to be decoded to compare places.
"""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from bot.calls.media.door import Leg, OpusPacket, Sound
from bot.demo.slicing import speech
from storage.records import SAMPLE_RATE

DATA = """m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r
c=IN IP4 0.0.0.0\r
a=ice-ufrag:abcd\r
a=ice-pwd:LdrRd4EIjUv2sdF3qIl5lcZ8\r
a=setup:actpass\r
a=mid:data\r
a=sctp-port:5000\r
"""
PACKET = 960  # samples in a packet of the shipped speech
RATE = SAMPLE_RATE
AUDIBLE = 300  # of 32,767


@dataclass(frozen=True, slots=True)
class Prepared:
    """A packet as aiortc's sender takes it in place of a frame."""

    payload: bytes
    pts: int
    time_base: Fraction = Fraction(1, RATE)

    def __bytes__(self) -> bytes:
        return self.payload


class Talker(MediaStreamTrack):
    """A microphone that plays packets, one of them every 20 ms, from the first on; behind the last one it is silent."""

    kind = "audio"

    def __init__(self, packets: Sequence[bytes]) -> None:
        super().__init__()
        self.packets = packets
        self.sent = 0  # packets that were played
        self.jump = 0  # added to all timestamps from now on
        self._pauses = asyncio.Event()
        self._pauses.set()
        self.began = 0.0  # on the loop's clock: the place of the first packet
        self._late = 0  # packets by which the RTP clock is behind, after stalls
        self._unsent = 0  # packets' time that passed without any, with the clock going on

    def stall(self) -> None:
        """Stop capturing: no packets, and the RTP clock stands still, until `resume`."""
        self._pauses.clear()

    def resume(self) -> None:
        self._pauses.set()

    def hush(self, packets: int) -> None:
        """Send nothing for so many packets' time, as in DTX: the RTP clock goes on."""
        self._unsent += packets

    async def recv(self) -> Prepared:
        loop = asyncio.get_running_loop()
        self.began = self.began or loop.time()
        if not self._pauses.is_set():
            stalled = loop.time()
            await self._pauses.wait()
            self._late += round((loop.time() - stalled) * RATE)
        if self.sent >= len(self.packets):
            await asyncio.Event().wait()
        place = (self.sent + self._unsent) * PACKET
        await asyncio.sleep(self.began + (place + self._late) / RATE - loop.time())
        if self.readyState != "live":
            raise MediaStreamError
        self.sent += 1
        return Prepared(self.packets[self.sent - 1], place + self.jump)


class Line:
    """The way from a caller to the bot: drops packets, and lets some overtake others."""

    def __init__(self, seed: int = 1) -> None:
        self.loss = 0.0  # share of the RTP packets
        self.overtaken = 0.0  # share of them that come behind the next one
        self.dropped = 0
        self._held: bytes | None = None
        self._random = random.Random(seed)

    def into(self, transport: Any) -> None:
        """Put this line between an ICE transport and the network."""
        send: Callable[[bytes], Awaitable[None]] = transport._send

        async def lossy(data: bytes) -> None:
            if len(data) < 2 or not 127 < data[0] < 192 or 192 <= data[1] < 224:  # no RTP (RFC 5761)
                await send(data)
            elif self._random.random() < self.loss:
                self.dropped += 1
            elif self._held is None and self._random.random() < self.overtaken:
                self._held = data
            else:
                held, self._held = self._held, None
                for packet in filter(None, (data, held)):
                    await send(packet)

        transport._send = lossy


class Peer:
    """A caller. `video`, `data`: it offers a video line and a data channel besides its microphone."""

    def __init__(self, packets: Sequence[bytes] | None = None, *, video: bool = False, data: bool = False) -> None:
        self.talker = Talker(numbered(speech(1) if packets is None else packets))
        self.line = Line()
        self.loudest = 0  # sample that the bot sent
        self.hears = asyncio.Event()  # anything that is no silence
        self._listening: list[asyncio.Task[None]] = []
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connection.on("track", lambda track: self._listening.append(asyncio.ensure_future(self._listen(track))))
        self.transceiver = self.connection.addTransceiver(self.talker, "sendrecv")
        if video:
            self.connection.addTransceiver("video")
        self._data = data
        self.answered = ""  # the bot's answer
        self.line.into(self.transceiver.receiver.transport.transport)

    @property
    def dtls(self) -> Any:
        return self.transceiver.receiver.transport

    async def offer(self) -> str:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        offer = str(self.connection.localDescription.sdp)
        grouped = re.sub(r"a=group:BUNDLE[^\r]*", r"\g<0> data", offer) + DATA
        return grouped if self._data else offer

    async def accept(self, answer: str) -> None:
        self.answered = answer
        readable, *_ = answer.partition("m=application 0 ")  # aiortc can't read a declined line
        await self.connection.setRemoteDescription(RTCSessionDescription(readable, "answer"))

    async def answer(self, offer: str) -> str:
        await self.connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await self.connection.setLocalDescription(await self.connection.createAnswer())
        return str(self.connection.localDescription.sdp)

    async def call(self, leg: Leg) -> None:
        """Call the bot."""
        await self.accept((await leg.answer(await self.offer())).sdp)

    async def is_called_by(self, leg: Leg) -> None:
        """Let the bot call."""
        await leg.accept(await self.answer((await leg.offer()).sdp))

    def new_ssrc(self) -> None:
        """Go on as another stream, as after a track was replaced."""
        self.transceiver.sender._ssrc ^= 0x5A5A5A5A

    async def send(self, packet: bytes) -> None:
        """Send an RTP packet of any form."""
        await self.dtls._send_rtp(packet)

    def kill(self) -> None:
        """Be gone without a good-bye: nothing goes out any longer, and nothing is answered."""

        async def nothing(*args: Any) -> None: ...

        for protocol in self.dtls.transport._connection._protocols:
            protocol.datagram_received = protocol.send_stun = lambda *args: None
            protocol.send_data = nothing

    async def close(self) -> None:
        await self.connection.close()
        for task in self._listening:
            task.cancel()

    async def _listen(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            self.loudest = max(self.loudest, int(abs(frame.to_ndarray()).max()))
            if self.loudest > AUDIBLE:
                self.hears.set()


@dataclass
class Ear:
    """A listener that keeps what it is told."""

    sounds: list[Sound] = field(default_factory=list)
    connects: asyncio.Event = field(default_factory=asyncio.Event)
    ends: asyncio.Event = field(default_factory=asyncio.Event)
    ended_times: int = 0
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    def connected(self) -> None:
        self.connects.set()

    def heard(self, sound: Sound) -> None:
        self.sounds.append(sound)
        self._more.set()

    def ended(self) -> None:
        self.ended_times += 1
        self.ends.set()

    async def hears(self, packets: int) -> None:
        """Wait until so many packets were heard."""
        await self.listens(lambda: len(self.sounds) >= packets)

    async def listens(self, until: Callable[[], bool]) -> None:
        """Wait until something is true of what was heard."""
        while not until():
            self._more.clear()
            await asyncio.wait_for(self._more.wait(), 60)


def numbered(packets: Sequence[bytes]) -> list[bytes]:
    """Write the number of each packet, from 0, into its padding (RFC 6716, section 3.2.5). The sound stays the same."""
    assert all(packet[0] & 3 == 0 for packet in packets)  # one frame each
    frames = ((packet[0] | 3, packet[1:]) for packet in packets)
    return [bytes([first, 0x41, 4]) + frame + number.to_bytes(4) for number, (first, frame) in enumerate(frames)]


def places(heard: Sequence[OpusPacket]) -> list[tuple[int, int]]:
    """Return for each packet that was heard its place in the source and on the clock of the call, in samples."""
    return [(int.from_bytes(packet.payload[-4:]) * PACKET, packet.at) for packet in heard]
