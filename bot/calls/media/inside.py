"""The places inside aiortc and aioice that the media of calls take hold of, all in one file.

aiortc is made for those who want decoded frames: it starts a thread with a decoder for each track, behind a jitter
buffer that loses sound (see `reorder`), and trusts the other side. None of that can be set from outside, so a
connection is taken hold of at these private names, which is why aiortc is pinned, and why `check` says what is missing
in another version.
"""

import asyncio
import inspect
from collections import deque
from collections.abc import Callable
from typing import Any

import pylibsrtp
from aioice import Connection
from aiortc import RTCRtpReceiver
from aiortc.rtcdtlstransport import RTCCertificate, RTCDtlsParameters, RTCDtlsTransport
from aiortc.rtcicetransport import RTCIceTransport
from aiortc.rtcrtpsender import RTCRtpSender
from aiortc.rtcrtptransceiver import RTCRtpTransceiver

from bot.calls.media.door import Unfit

_METHODS: tuple[tuple[Any, str, tuple[str, ...]], ...] = (
    (RTCRtpReceiver, "receive", ("parameters",)),
    (RTCIceTransport, "addRemoteCandidate", ("candidate",)),
    (Connection, "data_received", ("data", "component")),
    (Connection, "request_received", ("message", "addr", "protocol")),
    (RTCDtlsTransport, "_set_role", ("role",)),
)
_ATTRIBUTES: tuple[tuple[Any, str], ...] = (
    (RTCDtlsTransport, "_rx_srtp"),
    (RTCDtlsTransport, "_tx_srtp"),
    (RTCIceTransport, "_connection"),
    (RTCRtpSender, "_stream_id"),
    (Connection, "_remote_candidates"),
)
_MEDIA = range(128, 192)  # first bytes of RTP and RTCP (RFC 7983)
_REPORTS = range(192, 224)  # second bytes of RTCP (RFC 5761)
_EARLY = 16  # packets that may wait for the end of the handshake
_WAITING = 64  # datagrams of DTLS


def check() -> None:
    """Raise Unfit if a private place that is needed is not in the installed version, or has another shape."""
    for owner, name, parameters in _METHODS:
        found = tuple(inspect.signature(getattr(owner, name)).parameters)[1:] if hasattr(owner, name) else None
        if found != parameters:
            raise Unfit(f"{owner.__module__}.{owner.__name__}.{name} takes {found}, and {parameters} is needed")
    for owner, name in _ATTRIBUTES:
        if name not in owner.__init__.__code__.co_names:
            raise Unfit(f"{owner.__module__}.{owner.__name__} has no {name}")


class Hold:
    """The hold on one connection with a single audio line."""

    def __init__(self, transceiver: RTCRtpTransceiver) -> None:
        self._sender, self._receiver = transceiver.sender, transceiver.receiver
        self._packet: Callable[[bytes], None] = _drop
        self._encrypted: deque[bytes] = deque(maxlen=_EARLY)

    @property
    def _dtls(self) -> Any:
        return self._receiver.transport

    @property
    def _ice(self) -> Any:
        return self._dtls.transport

    @property
    def stream_id(self) -> str:
        """The stream that the connection's description puts our track into."""
        return str(self._sender._stream_id)

    def receive(self, packet: Callable[[bytes], None]) -> None:
        """Have decrypted RTP packets handed on as they come, in place of aiortc's receiver and its thread."""

        async def begin(parameters: Any) -> None: ...

        self._packet = packet
        self._receiver.receive = begin

    def guard(self, data: Callable[[bytes], bool], request: Callable[[str, int], bool]) -> None:
        """Have each datagram judged before anything is done with it. `request`: by the address and the number of
        addresses known, for checks of ICE.

        RTCP is dropped: nothing is sent that reports could be about, and aiortc stumbles over malformed ones, as it
        does over an empty datagram.
        """

        def received(datagram: bytes) -> bool:
            if not datagram or not data(datagram):
                return True
            if is_media(datagram):
                self._decrypt(datagram)
                return True
            return False

        guard(self._ice._connection, received, request)

    def _decrypt(self, datagram: bytes) -> None:
        """Hand on an RTP packet, at once: on aiortc's way through a queue and a task it costs half as much again."""
        if is_report(datagram):
            return
        self._encrypted.append(datagram)
        if (decryption := self._dtls._rx_srtp) is None:
            return  # it overtook the last words of the handshake
        while self._encrypted:
            if (packet := _decrypted(decryption, self._encrypted.popleft())) is not None:
                self._packet(packet)

    async def add_candidate(self, candidate: Any) -> None:
        """Add a candidate of the other side."""
        await self._ice.addRemoteCandidate(candidate)


class Path:
    """The way of datagrams below an association of DTLS, whichever ICE connection they take."""

    role = "controlled"

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self._waiting: asyncio.Queue[bytes | None] = asyncio.Queue()

    def put(self, datagram: bytes) -> None:
        """Take a datagram of DTLS that was received."""
        if self._waiting.qsize() < _WAITING:
            self._waiting.put_nowait(datagram)

    def close(self) -> None:
        """End the association that waits for datagrams."""
        self._waiting.put_nowait(None)

    async def forward(self, datagram: bytes) -> None:
        """Send a datagram. Raises ConnectionError."""
        if self.connection is None:
            raise ConnectionError
        await self.connection.send(datagram)

    async def _recv(self) -> bytes:
        datagram = await self._waiting.get()
        if datagram is None:
            raise ConnectionError
        return datagram

    _send = forward


class Dtls:
    """An association of DTLS-SRTP that gives and takes packets as bytes."""

    def __init__(self, path: Path, certificate: RTCCertificate) -> None:
        self._transport: Any = RTCDtlsTransport(path, [certificate])
        self._early: deque[bytes] = deque(maxlen=_EARLY)
        self._ended = asyncio.Event()
        self._transport.on("statechange", self._changed)

    @property
    def is_up(self) -> bool:
        return bool(self._transport.state == "connected")

    @property
    def has_ended(self) -> bool:
        return self._ended.is_set()

    async def start(self, remote: RTCDtlsParameters, *, client: bool) -> None:
        """Shake hands. `is_up` tells whether that succeeded."""
        self._transport._set_role("client" if client else "server")
        await self._transport.start(remote)

    async def ended(self) -> None:
        """Wait for the end of the association."""
        await self._ended.wait()

    async def stop(self) -> None:
        """Say good-bye."""
        await self._transport.stop()

    def encrypted(self, packet: bytes) -> bytes:
        """Encrypt a packet of RTP or RTCP. Raises ConnectionError."""
        if (encryption := self._transport._tx_srtp) is None:
            raise ConnectionError
        try:
            return bytes(encryption.protect_rtcp(packet) if is_report(packet) else encryption.protect(packet))
        except pylibsrtp.Error as error:
            raise ConnectionError from error

    def decrypted(self, datagram: bytes) -> list[bytes]:
        """Decrypt a packet of RTP, and those that waited for the end of the handshake."""
        self._early.append(datagram)
        if (decryption := self._transport._rx_srtp) is None:
            return []
        early, self._early = self._early, deque(maxlen=_EARLY)
        return [packet for one in early if (packet := _decrypted(decryption, one)) is not None]

    def _changed(self) -> None:
        if self._transport.state in ("closed", "failed"):
            self._ended.set()


def guard(connection: Any, data: Callable[[bytes], bool], request: Callable[[str, int], bool]) -> None:
    """Have the datagrams of an ICE connection judged. `data`: returns whether it took the datagram; `request`: tells by
    the address and the number of addresses known whether a check of ICE is answered."""
    received, requested = connection.data_received, connection.request_received

    def data_received(datagram: bytes, component: int) -> None:
        if not data(datagram):
            received(datagram, component)

    def request_received(message: Any, addr: tuple[str, int], protocol: Any) -> None:
        if request(addr[0], len(connection._remote_candidates)):
            requested(message, addr, protocol)

    connection.data_received, connection.request_received = data_received, request_received


def is_media(datagram: bytes) -> bool:
    """Tell whether a datagram that isn't empty is of RTP or RTCP."""
    return datagram[0] in _MEDIA


def is_report(datagram: bytes) -> bool:
    """Tell whether a datagram of RTP or RTCP is of RTCP, or is neither."""
    return len(datagram) < 2 or datagram[1] in _REPORTS


def _decrypted(decryption: Any, datagram: bytes) -> bytes | None:
    try:
        return bytes(decryption.unprotect(datagram))
    except pylibsrtp.Error:  # not from the other side, or twice
        return None


def _drop(packet: bytes) -> None:
    """Do nothing with a packet."""
