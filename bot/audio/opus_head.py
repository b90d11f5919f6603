"""OpusHead, the first packet of an Opus stream in Ogg (RFC 7845, section 5.1). Pure."""

import struct
from dataclasses import dataclass, replace

from bot.errors import GiveUp
from storage.records import SAMPLE_RATE, Samples

USUAL_PRE_SKIP = Samples(3840)
MOST_PRE_SKIP = 9600  # samples: the 80 ms of RFC 7845 and the longest packet; more would drop sound
TAGS = b"OpusTags" + struct.pack("<I8sI", 8, b"aircheck", 0)
_LOUDEST = 40 << 8  # largest gain, in 1/256 dB; a larger one is an error of the writer


@dataclass(frozen=True, slots=True)
class Head:
    """An OpusHead packet (RFC 7845, section 5.1)."""

    packet: bytes
    channels: int
    pre_skip: Samples  # 0 where the packet states an impossible one
    input_rate: int
    claimed_pre_skip: int  # as the packet states it

    @property
    def one_stream(self) -> bool:
        """Whether each Ogg packet is one Opus packet; in other mapping families it may be several (RFC 7845, section
        3)."""
        return self.packet[18] == 0

    def with_channels(self, channels: int) -> "Head":
        """Return the head with another number of channels, if it has one stream. For decoders it is the same head,
        because packets themselves state whether they are stereo."""
        if not self.one_stream or channels == self.channels:
            return self
        return replace(self, packet=self.packet[:9] + bytes([channels]) + self.packet[10:], channels=channels)

    def with_pre_skip(self, samples: int) -> bytes:
        """Return the packet with another pre-skip (at most 65,535 samples), and without an impossible gain."""
        (gain,) = struct.unpack_from("<h", self.packet, 16)
        meant = gain if abs(gain) <= _LOUDEST else 0
        return self.packet[:10] + struct.pack("<H4sh", samples, self.packet[12:16], meant) + self.packet[18:]


def read_head(packet: bytes) -> Head:
    """Read an OpusHead packet. Raises GiveUp (`undecodable`) for an unknown version or size, and for more streams than
    channels: each stream costs decoding and would not be heard."""
    if len(packet) < 19 or packet[8] >> 4 != 0 or packet[9] == 0:
        raise GiveUp("the OpusHead of the chunk is not valid", reason="undecodable")
    if packet[18] and (len(packet) < 21 or packet[19] + packet[20] > packet[9]):
        raise GiveUp("the chunk has more streams than channels", reason="undecodable")
    pre_skip, rate = struct.unpack_from("<HI", packet, 10)
    sensible = Samples(pre_skip if pre_skip <= MOST_PRE_SKIP else 0)
    return Head(packet, packet[9], sensible, rate, pre_skip)


def head_of(*, channels: int, pre_skip: Samples) -> Head:
    """Return the head of a stream that is written (1 or 2 channels)."""
    packet = b"OpusHead" + struct.pack("<BBHIhB", 1, channels, pre_skip, SAMPLE_RATE, 0, 0)
    return Head(packet, channels, pre_skip, SAMPLE_RATE, pre_skip)


def usual_head(channels: int) -> Head:
    """Return the head for a stream without one (1 or 2 channels)."""
    return head_of(channels=channels, pre_skip=USUAL_PRE_SKIP)
