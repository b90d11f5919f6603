"""OpusHead, the first packet of an Opus stream in Ogg (RFC 7845, section 5.1)."""

import struct
from dataclasses import dataclass, replace

from bot.errors import GiveUp
from storage.records import SAMPLE_RATE, Samples

USUAL_PRE_SKIP = Samples(3840)
MOST_PRE_SKIP = 9600  # samples: the 80 ms that RFC 7845 recommends, and the longest packet. More would eat sound
TAGS = b"OpusTags" + struct.pack("<I8sI", 8, b"aircheck", 0)
_LOUDEST = 40 << 8  # of a gain in 1/256 dB: more is a mistake


@dataclass(frozen=True, slots=True)
class Head:
    """An OpusHead packet (RFC 7845, section 5.1)."""

    packet: bytes
    channels: int
    pre_skip: Samples  # 0 where the packet says what can't be
    input_rate: int
    claimed_pre_skip: int  # what it says

    @property
    def one_stream(self) -> bool:
        """Each packet is one of Opus; in other mapping families it may be several in a row (RFC 7845, section 3)."""
        return self.packet[18] == 0

    def with_channels(self, channels: int) -> "Head":
        """For decoders the same, if it is of one stream: packets say themselves whether they are stereo."""
        if not self.one_stream or channels == self.channels:
            return self
        return replace(self, packet=self.packet[:9] + bytes([channels]) + self.packet[10:], channels=channels)

    def with_pre_skip(self, samples: int) -> bytes:
        """The packet with another pre-skip (at most 65,535 samples), and without a gain that can't be meant."""
        (gain,) = struct.unpack_from("<h", self.packet, 16)
        meant = gain if abs(gain) <= _LOUDEST else 0
        return self.packet[:10] + struct.pack("<H4sh", samples, self.packet[12:16], meant) + self.packet[18:]


def read_head(packet: bytes) -> Head:
    """Raises GiveUp (`undecodable`) for a version or a size that nobody can read, and for streams that nobody hears:
    each has to be decoded."""
    if len(packet) < 19 or packet[8] >> 4 != 0 or packet[9] == 0:
        raise GiveUp("the OpusHead of the chunk is not valid", reason="undecodable")
    if packet[18] and (len(packet) < 21 or packet[19] + packet[20] > packet[9]):
        raise GiveUp("the chunk has more streams than channels", reason="undecodable")
    pre_skip, rate = struct.unpack_from("<HI", packet, 10)
    sensible = Samples(pre_skip if pre_skip <= MOST_PRE_SKIP else 0)
    return Head(packet, packet[9], sensible, rate, pre_skip)


def usual_head(channels: int) -> Head:
    """What stands for a head that is not there (1 or 2 channels)."""
    packet = b"OpusHead" + struct.pack("<BBHIhB", 1, channels, USUAL_PRE_SKIP, SAMPLE_RATE, 0, 0)
    return Head(packet, channels, USUAL_PRE_SKIP, SAMPLE_RATE, USUAL_PRE_SKIP)
