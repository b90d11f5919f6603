"""RTP packets (RFC 3550, section 5.1): their fields, read out of what SRTP has decrypted. Pure."""

import struct
from typing import NamedTuple

from storage.records import Samples

HEADER = struct.Struct("!BBHII")  # version and flags, marker and payload type, sequence number, timestamp, SSRC
_EXTENSION = struct.Struct("!HH")  # profile, length in words
_VERSION = 2
_PADDED, _EXTENDED = 0x20, 0x10


class RtpPacket(NamedTuple):
    """A packet, and the place on the clock of the call at which it arrived."""

    payload_type: int
    sequence: int  # modulo 2**16
    timestamp: int  # modulo 2**32, in samples at 48 kHz for Opus (RFC 7587, section 4.1)
    ssrc: int
    payload: bytes
    arrived: Samples


def parse(data: bytes, arrived: Samples) -> RtpPacket | None:
    """Read a packet; None for bytes that are none."""
    if len(data) < HEADER.size:
        return None
    first, second, sequence, timestamp, ssrc = HEADER.unpack_from(data)
    begin, end = HEADER.size + 4 * (first & 0x0F), len(data)
    if first & _EXTENDED:
        if end < begin + _EXTENSION.size:
            return None
        begin += _EXTENSION.size + 4 * _EXTENSION.unpack_from(data, begin)[1]
    if first & _PADDED:
        if not data[-1]:
            return None
        end -= data[-1]
    if first >> 6 != _VERSION or begin > end:
        return None
    return RtpPacket(second & 0x7F, sequence, timestamp, ssrc, data[begin:end], arrived)
