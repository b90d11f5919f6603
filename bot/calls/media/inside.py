"""The places inside aiortc and aioice that the media of calls take hold of, all in one file.

aiortc is made for those who want decoded frames: it starts a thread with a decoder for each track, behind a jitter
buffer that loses sound (see `reorder`), and trusts the other side. None of that can be set from outside, so a
connection is taken hold of at these private names, which is why aiortc is pinned, and why `check` says what is missing
in another version.
"""

import inspect
from collections import deque
from collections.abc import Callable
from typing import Any

import pylibsrtp
from aioice import Connection
from aiortc import RTCRtpReceiver
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcicetransport import RTCIceTransport
from aiortc.rtcrtpsender import RTCRtpSender
from aiortc.rtcrtptransceiver import RTCRtpTransceiver

from bot.calls.media.door import Unfit

_METHODS: tuple[tuple[Any, str, tuple[str, ...]], ...] = (
    (RTCRtpReceiver, "receive", ("parameters",)),
    (RTCIceTransport, "addRemoteCandidate", ("candidate",)),
    (Connection, "data_received", ("data", "component")),
    (Connection, "request_received", ("message", "addr", "protocol")),
)
_ATTRIBUTES: tuple[tuple[Any, str], ...] = (
    (RTCDtlsTransport, "_rx_srtp"),
    (RTCIceTransport, "_connection"),
    (RTCRtpSender, "_stream_id"),
    (Connection, "_remote_candidates"),
)
_MEDIA = range(128, 192)  # first bytes of RTP and RTCP (RFC 7983)
_REPORTS = range(192, 224)  # second bytes of RTCP (RFC 5761)
_EARLY = 16  # packets that may wait for the end of the handshake


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
        connection = self._ice._connection
        received, requested = connection.data_received, connection.request_received

        def data_received(datagram: bytes, component: int) -> None:
            if not datagram or not data(datagram):
                return
            if datagram[0] in _MEDIA:
                self._decrypt(datagram)
            else:
                received(datagram, component)

        def request_received(message: Any, addr: tuple[str, int], protocol: Any) -> None:
            if request(addr[0], len(connection._remote_candidates)):
                requested(message, addr, protocol)

        connection.data_received, connection.request_received = data_received, request_received

    def _decrypt(self, datagram: bytes) -> None:
        """Hand on an RTP packet, at once: on aiortc's way through a queue and a task it costs half as much again."""
        if len(datagram) < 2 or datagram[1] in _REPORTS:
            return
        self._encrypted.append(datagram)
        if (decryption := self._dtls._rx_srtp) is None:
            return  # it overtook the last words of the handshake
        while self._encrypted:
            try:
                packet = decryption.unprotect(self._encrypted.popleft())
            except pylibsrtp.Error:  # not from the other side, or twice
                continue
            self._packet(packet)

    async def add_candidate(self, candidate: Any) -> None:
        """Add a candidate of the other side."""
        await self._ice.addRemoteCandidate(candidate)


def _drop(packet: bytes) -> None:
    """Do nothing with a packet."""
