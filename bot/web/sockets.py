"""A client's socket: how fast it takes what is sent to it, how much may wait in the kernel, and an abrupt close."""

import asyncio
import socket
import struct
from contextlib import suppress

STUCK_S = 30.0
"""Seconds for which a client may take nothing."""
SEND_BUFFER_BYTES = 64 * 1024
"""Most that the kernel holds for a streaming client; by default it would hold megabytes for one that reads nothing."""
_DISCARD = struct.pack("ii", 1, 0)  # SO_LINGER: on close the kernel drops what it still holds
_TCP_INFO_BYTES = 128
_BYTES_ACKED_AT = 120  # tcpi_bytes_acked, since Linux 4.1


class Delivery:
    """The progress of a client in taking what is sent to it, sampled now and then."""

    def __init__(self, now: float) -> None:
        self._progress = (0, 0)
        self._since = now

    def is_stuck(self, transport: asyncio.WriteTransport, now: float) -> bool:
        """Return whether the client took nothing for `STUCK_S`. To be called only while data waits to be sent."""
        progress = (_acknowledged(transport), transport.get_write_buffer_size())
        if progress != self._progress or progress == (0, 0):  # no figures from the kernel: assume progress
            self._progress, self._since = progress, now
        return now - self._since > STUCK_S


def discard(transport: asyncio.WriteTransport) -> None:
    """Close the connection at once and drop all unsent data."""
    with suppress(OSError, AttributeError):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DISCARD)
    transport.abort()


def limit_send_buffer(transport: asyncio.BaseTransport | None) -> None:
    """Bound what the kernel holds for a client, so that one that stops reading is noticed early and costs little."""
    handle = transport.get_extra_info("socket") if transport is not None else None
    if handle is not None:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)


def _acknowledged(transport: asyncio.BaseTransport) -> int:
    """Return how many bytes the other side has acknowledged; 0 where the kernel does not say."""
    handle = transport.get_extra_info("socket")
    try:
        info = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        return int(struct.unpack_from("Q", info, _BYTES_ACKED_AT)[0])
    except (OSError, AttributeError, struct.error):
        return 0
