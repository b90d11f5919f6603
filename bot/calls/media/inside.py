"""The places inside aiortc and aioice that the media of calls take hold of, all in one file.

aiortc is made for those who want decoded frames: it starts a thread with a decoder for each track, behind a jitter
buffer that loses sound (see `reorder`), and trusts the other side. None of that can be set from outside, so a
connection is taken hold of at these private names, which is why aiortc is pinned, and why `check` says what is missing
in another version.
"""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from aioice import Connection
from aiortc import RTCRtpReceiver
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcicetransport import RTCIceTransport
from aiortc.rtcrtptransceiver import RTCRtpTransceiver

_EXPECTED: tuple[tuple[Any, str, tuple[str, ...]], ...] = (
    (RTCDtlsTransport, "_handle_rtp_data", ("data", "arrival_time_ms")),
    (RTCDtlsTransport, "_handle_rtcp_data", ("data",)),
    (RTCRtpReceiver, "receive", ("parameters",)),
    (RTCIceTransport, "addRemoteCandidate", ("candidate",)),
    (Connection, "data_received", ("data", "component")),
    (Connection, "request_received", ("message", "addr", "protocol")),
)


class Unfit(Exception):
    """An installed aiortc or aioice without a place that is needed."""


def check() -> None:
    """Raise Unfit if a private method that is replaced or called has another shape in the installed version."""
    for owner, name, parameters in _EXPECTED:
        found = tuple(inspect.signature(getattr(owner, name)).parameters)[1:] if hasattr(owner, name) else None
        if found != parameters:
            raise Unfit(f"{owner.__module__}.{owner.__name__}.{name} takes {found}, and {parameters} is needed")


class Hold:
    """The hold on one connection with a single audio line."""

    def __init__(self, transceiver: RTCRtpTransceiver) -> None:
        self._sender, self._receiver = transceiver.sender, transceiver.receiver

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

    def receive(self, packet: Callable[[bytes], Awaitable[None]]) -> None:
        """Have decrypted RTP packets handed on as they come, in place of aiortc's receiver and its thread.

        RTCP is dropped: nothing is sent that reports could be about, and aiortc stumbles over malformed ones.
        """

        async def handle(data: bytes, arrival_time_ms: int) -> None:
            await packet(data)

        async def begin(parameters: Any) -> None:
            self._dtls._handle_rtp_data = handle

        self._dtls._handle_rtp_data = self._dtls._handle_rtcp_data = _nothing
        self._receiver.receive = begin

    def guard(self, data: Callable[[bytes], bool], request: Callable[[str, int], bool]) -> None:
        """Have each datagram judged before anything is done with it. `request`: by the address and the number of
        addresses known, for checks of ICE."""
        connection = self._ice._connection
        received, requested = connection.data_received, connection.request_received

        def data_received(datagram: bytes, component: int) -> None:
            if data(datagram):
                received(datagram, component)

        def request_received(message: Any, addr: tuple[str, int], protocol: Any) -> None:
            if request(addr[0], len(connection._remote_candidates)):
                requested(message, addr, protocol)

        connection.data_received, connection.request_received = data_received, request_received

    async def add_candidate(self, candidate: Any) -> None:
        """Add a candidate of the other side."""
        await self._ice.addRemoteCandidate(candidate)


async def _nothing(data: bytes, arrival_time_ms: int = 0) -> None:
    """Drop a packet."""
