"""The receiving end of a leg."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from bot.calls.media.bounds import Bucket
from bot.calls.media.incoming import Incoming
from bot.calls.media.rtp import HEADER, parse
from storage.records import Samples

NOW = Samples(48_000)
OPUS = b"\x78\x07\xc9\x72"  # 20 ms


def rtp(number: int, payload: bytes = OPUS, kind: int = 111, first: int = 0x80, between: bytes = b"") -> bytes:
    return HEADER.pack(first, kind, number, number * 960, 1) + between + payload


def incoming() -> Incoming:
    end = Incoming()
    end.payload_types = (111,)
    return end


def test_the_payload_is_found() -> None:
    """Contributing sources, extensions and padding are not part of the payload."""
    between = b"csrc" + struct.pack("!HH", 0xBEDE, 1) + b"more"
    packet = parse(rtp(5, OPUS + b"\0\0\3", first=0x80 | 0x30 | 1, between=between), NOW)
    assert packet is not None
    assert (packet.payload, packet.sequence, packet.payload_type) == (OPUS, 5, 111)


@given(st.binary(max_size=60) | st.binary(min_size=12, max_size=60).map(lambda data: bytes([0xB1]) + data[1:]))
def test_any_bytes_are_survived(data: bytes) -> None:
    """Whatever comes over the line is a packet or dropped."""
    end = incoming()
    end.push(data, NOW)
    end.flush()


def test_only_negotiated_opus_counts() -> None:
    """Packets of other payload types, malformed, over-long and empty ones are dropped; they are not sound, and neither
    end nor change the stream."""
    end = incoming()
    hostile = [
        rtp(1, kind=63),
        rtp(1, b""),
        rtp(1, bytes([0x7B, 0])),  # no frames
        rtp(1, bytes([0x7B, 49]) + bytes(49)),  # longer than 120 ms
        rtp(1, bytes([0x79]) + bytes(3)),  # two frames that don't fill the packet
        rtp(1, bytes([0x78]) + bytes(1276)),  # a frame larger than any
        rtp(1, bytes([0x7B, 0x81]) + bytes(1499)),
    ]
    sounds = [sound for data in [rtp(0), *hostile, rtp(1)] for sound in end.push(data, NOW)] + end.flush()
    assert [(sound.at, sound.samples) for sound in sounds] == [(NOW - 960, 960), (NOW, 960)]


def test_the_longest_packets_count() -> None:
    """Packets of 120 ms are sound."""
    end = incoming()
    end.push(rtp(0, bytes([0x7B, 6]) + bytes(6)), NOW)
    assert [sound.samples for sound in end.flush()] == [5760]


def test_what_waits_comes_by_time() -> None:
    """The end says when to ask again, until nothing waits."""
    end, sounds = incoming(), 0
    for number in (0, 1, 3, 4):
        sounds += len(end.push(rtp(number), Samples(NOW + number * 960)))
    while (due := end.due) is not None:
        sounds += len(end.expire(due))
    assert sounds == 4
    assert due is None


def test_rates_are_bounded() -> None:
    """A bucket gives its burst at once, and its rate on."""
    bucket = Bucket(10, 20)
    assert sum(bucket.take(1, 100.0) for _ in range(100)) == 20
    assert sum(bucket.take(1, 100 + step / 100) for step in range(200)) in (19, 20)
