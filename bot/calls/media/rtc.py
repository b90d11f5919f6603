"""Media over WebRTC: the legs of calls whose devices connect to each other, by aiortc.

Packets are taken as they come, ordered and placed on the clock of the call; nothing is decoded. What a stranger sends
is bounded before it is worked on: descriptions by `sdp`, datagrams by rates, addresses by whether they are public.
"""

import asyncio
import logging
import time
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager

from aiortc import (
    RTCConfiguration,
    RTCIceCandidate,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSessionDescription,
)
from aiortc.rtcicetransport import parse_stun_turn_uri

from bot.addresses import is_public
from bot.calls.media import inside, sdp
from bot.calls.media.bounds import Bucket
from bot.calls.media.door import IceServer, Listener, Offer, OpusPacket, Refused, SfuListener
from bot.calls.media.incoming import Incoming
from bot.calls.media.livekit.sfu import LiveKitSfu
from bot.calls.media.voice import Voice, beep
from bot.calls.model import Candidate
from storage.records import SAMPLE_RATE, Samples

CONNECT_S = 30.0  # from the other side's description to the connection
CLOSE_S = 0.8  # for the good-byes; the rest goes on in the background
MOST_PACKETS = 200  # a second, of RTP and RTCP
MOST_BYTES = 512_000 // 8  # a second
MOST_CHECKS = 50  # a second, of ICE
BURST_S = 2

log = logging.getLogger(__name__)


class RtcMedia:
    """The maker of legs. `private`: they may lead into private networks, as the homeserver is in one."""

    def __init__(self, private: bool) -> None:
        inside.check()
        beep()
        self.private = private
        self._legs: set[RtcLeg] = set()
        self._sfus: weakref.WeakSet[LiveKitSfu] = weakref.WeakSet()
        self._closing: set[asyncio.Task[None]] = set()

    async def ready(self) -> None:
        """Do nothing: all is loaded."""

    def leg(self, listener: Listener, clock: Callable[[], Samples], servers: Sequence[IceServer]) -> "RtcLeg":
        """Make a leg. `clock`: the present place on the clock of the call."""
        leg = RtcLeg(self, listener, clock, servers)
        self._legs.add(leg)
        return leg

    def sfu(self, listener: SfuListener, clock: Callable[[], Samples], *, encrypted: bool, private: bool) -> LiveKitSfu:
        """Make a connection to an SFU. `encrypted`: sound that is not, is not taken. `private`: it may lead into
        private networks."""
        sfu = LiveKitSfu(listener, clock, private=private, encrypted=encrypted)
        self._sfus.add(sfu)
        return sfu

    async def close(self) -> None:
        """End everything that is left."""
        for leg in list(self._legs):
            leg.end()
        await asyncio.gather(*(sfu.close() for sfu in self._sfus))
        if self._closing:
            await asyncio.wait(self._closing, timeout=CLOSE_S)

    def forget(self, leg: "RtcLeg", closing: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Let a leg's connection be closed in the background."""
        self._legs.discard(leg)
        task = asyncio.ensure_future(closing)
        self._closing.add(task)
        task.add_done_callback(self._closed)
        return task

    def _closed(self, task: asyncio.Task[None]) -> None:
        self._closing.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("closing a connection failed: %s", type(error).__name__)


class RtcLeg:
    """A connection to one device."""

    def __init__(
        self, media: RtcMedia, listener: Listener, clock: Callable[[], Samples], servers: Sequence[IceServer]
    ) -> None:
        self._media, self._listener, self._clock = media, listener, clock
        self._loop = asyncio.get_running_loop()
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=_servers(servers)))
        self._voice = Voice()
        transceiver = self._peer.addTransceiver(self._voice, "sendrecv")
        transceiver.setCodecPreferences(
            [codec for codec in RTCRtpReceiver.getCapabilities("audio").codecs if codec.mimeType == "audio/opus"]
        )
        self._hold = inside.Hold(transceiver)
        self._hold.receive(self._packet)
        self._hold.guard(self._admits, self._admits_check)
        self._packets = Bucket(MOST_PACKETS, BURST_S * MOST_PACKETS)
        self._bytes = Bucket(MOST_BYTES, BURST_S * MOST_BYTES)
        self._checks = Bucket(MOST_CHECKS, BURST_S * MOST_CHECKS)
        self._incoming = Incoming()
        self._timer: asyncio.TimerHandle | None = None  # for sound that waits
        self._patience: asyncio.TimerHandle | None = None  # for the connection
        self._turn = asyncio.Lock()
        self._remote: sdp.Remote | None = None  # the first description
        self._waiting: list[str] = []  # candidates that came before it
        self._candidates = 0
        self._over = False
        self._peer.on("connectionstatechange", self._changed)

    async def offer(self) -> Offer:
        """Make an offer with one audio line: our track, silent but for the beep."""
        async with self._changing("stable"):
            await self._peer.setLocalDescription(await self._peer.createOffer())
            return self._offer(self._peer.localDescription.sdp)

    async def answer(self, offer: str) -> Offer:
        """Answer an offer: its first audio line, everything else inactive."""
        return await self.renegotiate(offer)

    async def renegotiate(self, offer: str) -> Offer:
        """Answer a new offer on this connection."""
        async with self._changing("stable", "have-remote-offer"):  # the latter if the one before it failed
            remote = self._read(offer, "offer")
            await self._take(remote)
            await self._peer.setLocalDescription(await self._peer.createAnswer())
            return self._offer(sdp.completed(self._peer.localDescription.sdp, remote))

    async def accept(self, answer: str) -> None:
        """Take the answer to our offer."""
        async with self._changing("have-local-offer"):
            await self._take(self._read(answer, "answer"))

    async def add_candidates(self, candidates: Sequence[Candidate]) -> None:
        async with self._changing():
            await self._connectable([one.candidate for one in candidates if self._is_ours(one)])

    def beep(self) -> None:
        """Play the short tone into this leg, once it is connected."""
        self._voice.beep()

    async def close(self) -> None:
        """End the connection. Sound that still waits is handed on before it returns."""
        if not self._over:
            await asyncio.wait([self.end()], timeout=CLOSE_S)

    @asynccontextmanager
    async def _changing(self, *states: str) -> AsyncIterator[None]:
        """Make one change at a time, and only on a connection in one of these signalling states."""
        async with self._turn:
            if self._over or (states and self._peer.signalingState not in states):
                raise Refused("closed" if self._over else "wrong_state")
            try:
                yield
                if self._over:
                    raise Refused("closed")
            except Refused:
                raise
            except Exception as error:
                # Nothing in a checked description should be too much for aiortc, but it is a stranger's all the same.
                log.warning("a description was not accepted: %s", type(error).__name__)
                raise Refused("closed" if self._over else "failed") from error

    def _read(self, text: str, kind: str) -> sdp.Remote:
        before = self._remote
        remote = sdp.read(text, kind, before.mid if before else None)
        if before is not None and (remote.fragment, remote.password) != (before.fragment, before.password):
            raise Refused("ice_restart")  # aiortc can't; the other side calls anew
        return remote

    async def _take(self, remote: sdp.Remote) -> None:
        await self._peer.setRemoteDescription(RTCSessionDescription(remote.minimal(), remote.kind))
        if self._over:
            raise Refused("closed")
        self._incoming.payload_types = remote.payload_types
        if self._remote is None:
            self._remote = remote
            self._patience = self._loop.call_later(CONNECT_S, self._lost)
        waiting, self._waiting = self._waiting, []
        await self._connectable([*remote.candidates, *waiting])

    async def _connectable(self, candidates: Sequence[str]) -> None:
        """Connect to the candidates that may be connected to.

        That there are no more (an empty one) is not told to aioice: it would give up where all were refused, though
        checks from a public address may still come.
        """
        if self._remote is None:
            self._waiting += candidates[: sdp.MOST_CANDIDATES - len(self._waiting)]
            return
        for text in candidates:
            if self._candidates < sdp.MOST_CANDIDATES and (found := sdp.address(text, self._media.private)):
                self._candidates += 1
                await self._hold.add_candidate(
                    RTCIceCandidate(
                        component=1,
                        foundation=found.foundation,
                        ip=found.host,
                        port=found.port,
                        priority=found.priority,
                        protocol="udp",
                        type=found.type,
                    )
                )

    def _is_ours(self, candidate: Candidate) -> bool:
        """Tell whether a candidate is for the line that counts, or may be."""
        if self._remote is None:
            return True
        lines = ((self._remote.mid, self._remote.index), self._remote.tagged)
        return any(candidate.sdp_mid == mid or candidate.sdp_m_line_index == index for mid, index in lines)

    def _offer(self, text: str) -> Offer:
        return Offer(text, self._hold.stream_id)

    # ---- sound

    def _admits(self, datagram: bytes) -> bool:
        now = time.monotonic()
        return self._packets.take(1, now) and self._bytes.take(len(datagram), now)

    def _admits_check(self, host: str, known: int) -> bool:
        if not self._checks.take(1, time.monotonic()) or known > 2 * sdp.MOST_CANDIDATES:
            return False
        return self._media.private or is_public(host)

    def _packet(self, data: bytes) -> None:
        self._hear(self._incoming.push(data, self._clock()))

    def _hear(self, sounds: Sequence[OpusPacket]) -> None:
        for sound in sounds:
            self._listener.heard(sound)
        due = self._incoming.due
        if due is not None and self._timer is None:
            self._timer = self._loop.call_later(max(0, due - self._clock()) / SAMPLE_RATE, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self._hear(self._incoming.expire(self._clock()))

    # ---- beginning and end

    def _changed(self) -> None:
        if self._over:
            return
        if self._peer.connectionState == "connected":
            if self._patience is not None:
                self._patience.cancel()
            self._listener.connected()
        elif self._peer.connectionState in ("closed", "failed"):
            self._lost()

    def _lost(self) -> None:
        self.end()
        self._listener.ended()

    def end(self) -> "asyncio.Task[None]":
        """Hand on what waits, and close the connection in the background."""
        self._over = True
        for timer in (self._timer, self._patience):
            if timer is not None:
                timer.cancel()
        for sound in self._incoming.flush():
            self._listener.heard(sound)
        return self._media.forget(self, self._shut())

    async def _shut(self) -> None:
        async with self._turn:  # aioice leaves sockets open if it is closed while it gathers addresses
            await self._peer.close()


def _servers(servers: Sequence[IceServer]) -> list[RTCIceServer]:
    """Give aiortc the servers that it understands. (Without a list it would ask one of Google's.)"""
    return [
        RTCIceServer(url, server.username, server.password)
        for server in servers
        for url in server.urls
        if _is_understood(url)
    ]


def _is_understood(url: str) -> bool:
    try:
        parse_stun_turn_uri(url)
    except ValueError:
        return False
    return True
