"""Packets of Opus (RFC 6716, section 3): their lengths, their frames, silence, and several merged into one. Pure."""

from collections.abc import Sequence

from bot.audio.ogg import MAX_PACKET
from bot.errors import GiveUp
from storage.records import Samples

MAX_DURATION = 5760  # samples: 120 ms, RFC 6716, section 3.2.5
_FRAMES = [480, 960, 1920, 2880] * 3 + [480, 960] * 2 + [120, 240, 480, 960] * 4  # RFC 6716, table 2
HYBRID, CELT = 12, 16  # the first configurations with CELT in them, and with CELT alone
_MAX_FRAME = 1275  # bytes
_ONE_BYTE = 252  # sizes below this take one byte (RFC 6716, section 3.2.1)
_TWO_SIZES = 2  # code of a packet of two frames, preceded by the size of the first
_ANY_NUMBER = 3  # code of a packet that states its number of frames
_VARIABLE = 0x80  # flag in the frame count: each frame has its own size
_PADDED = 0x40  # flag in the frame count: padding follows the frames


_LENGTHS = [Samples(_FRAMES[first >> 3] * (1, 2, 2, 0)[first & 3]) for first in range(256)]
"""Length of a packet by its first byte; 0 where the second byte counts too."""


def duration(packet: bytes) -> Samples:
    """Return a packet's length at 48 kHz (RFC 6716, section 3.1). Raises GiveUp (`undecodable`)."""
    if not packet or len(packet) > MAX_PACKET:
        raise GiveUp("an Opus packet has no valid size", reason="undecodable")
    if known := _LENGTHS[packet[0]]:  # an hour has 180,000 packets
        return known
    if len(packet) < 2:
        raise GiveUp("an Opus packet has no frame count", reason="undecodable")
    samples = _FRAMES[packet[0] >> 3] * _count(packet)
    if not 0 < samples <= MAX_DURATION:
        raise GiveUp("an Opus packet has no valid length", reason="undecodable")
    return Samples(samples)


def length_of(packet: bytes) -> Samples | None:
    """Return a packet's length at 48 kHz; None for bytes that are no packet."""
    try:
        return duration(packet)
    except GiveUp:
        return None


def _count(packet: bytes) -> int:
    """Return how many frames the packet states that it holds."""
    return (1, 2, 2)[packet[0] & 3] if packet[0] & 3 != _ANY_NUMBER else packet[1] & 63


def is_stereo(packet: bytes) -> bool:
    """Return whether the packet is coded in stereo (RFC 6716, section 3.1)."""
    return bool(packet[0] & 4)


def well_formed(packet: bytes) -> bool:
    """Return whether the frames fill the packet exactly and none is too long (RFC 6716, section 3.4). The packet must
    have a valid `duration`."""
    if not packet[0] & 3:
        return len(packet) - 1 <= _MAX_FRAME
    count, sized, at, end = _layout(packet)
    for _ in range(count - 1 if sized else 0):
        size, at = _size_at(packet, at)
        end -= size
    each, over = (end - at, 0) if sized else divmod(end - at, count)
    return 0 <= each <= _MAX_FRAME and not over


def _layout(packet: bytes) -> tuple[int, bool, int, int]:
    """Return the number of frames, whether the sizes of all but the last precede them, the offset of these sizes or of
    the frames, and the offset of the padding. If these exceed the packet, the first offset lies after the
    second."""
    code, count, at, end = packet[0] & 3, _count(packet), 2, len(packet)
    if code != _ANY_NUMBER:
        return count, code == _TWO_SIZES, 1, end
    if packet[1] & _PADDED:
        last = packet[2:].lstrip(b"\xff")  # of the bytes that add up to the padding, the others are 255: 254 each
        at = end - len(last) + 1
        end -= 254 * (at - 3) + (last[0] if last else 0)
    return count, bool(packet[1] & _VARIABLE), at, end


def _size_at(packet: bytes, at: int) -> tuple[int, int]:
    """Return a frame's size and the offset after the coded size, which may lie after the packet's end."""
    first, second = (packet[at : at + 2] + bytes(2))[:2]
    return (first, at + 1) if first < _ONE_BYTE else (first + 4 * second, at + 2)


def lost(packet: bytes) -> bytes:
    """Return a packet of the same length whose frames are empty."""
    first, count = packet[0] & ~3, _count(packet)
    return bytes([first]) if count == 1 else bytes([first | _ANY_NUMBER, count])


def silence(like: bytes, samples: int, streams: int = 1) -> list[bytes]:
    """Return packets with empty frames for this many samples, in the mode, bandwidth and channels of another packet.
    `streams`: the streams in each packet (RFC 7845, section 3)."""
    config = like[0] >> 3
    group = range(config & ~1, (config & ~1) + 2) if HYBRID <= config < CELT else range(config & ~3, (config | 3) + 1)
    packets: list[bytes] = []
    for each in (
        *reversed(group),
        *reversed(range(CELT, CELT + 4)),
    ):  # CELT for a shorter rest
        count, samples = divmod(samples, _FRAMES[each])
        first = each << 3 | like[0] & 4
        packets += [bytes([first, 0]) * (streams - 1) + bytes([first])] * count
    return packets


def together(packets: Sequence[bytes]) -> bytes:
    """Merge packets of one frame each that begin with the same byte into one packet."""
    if len(packets) == 1:
        return packets[0]
    frames = [packet[1:] for packet in packets]
    sizes = b"".join(_size(len(frame)) for frame in frames[:-1])
    return bytes([packets[0][0] | _ANY_NUMBER, _VARIABLE | len(frames)]) + sizes + b"".join(frames)


def _size(count: int) -> bytes:
    if count < _ONE_BYTE:
        return bytes([count])
    first = _ONE_BYTE + count % 4
    return bytes([first, (count - first) // 4])


SILENT_UNIT = 120  # samples: the shortest frame
SILENT_FRAME = b"\xff\xfe"  # of CELT: its silence flag and nothing else; every packet of `digital_silence` has one
_SILENT_CELT = 28  # the first configuration of CELT in full band


def digital_silence(samples: int, mark: int) -> list[bytes]:
    """Return packets of mono silence, for a multiple of SILENT_UNIT samples. `mark` is the length of their padding
    (1 to 254 bytes), which `mark_of` finds again.

    They decode to zeros everywhere. Packets with empty frames do not: libopus conceals them, for seconds where the
    coding is SILK, and ffmpeg's own decoder clicks when SILK goes on behind them.
    """
    packets: list[bytes] = []
    for config in reversed(range(_SILENT_CELT, _SILENT_CELT + 4)):
        most = MAX_DURATION // _FRAMES[config]
        count, samples = divmod(samples, _FRAMES[config])
        packets += [_silent(config, most, mark)] * (count // most)
        packets += [_silent(config, count % most, mark)] if count % most else []
    return packets


def _silent(config: int, count: int, mark: int) -> bytes:
    return bytes([config << 3 | _ANY_NUMBER, _PADDED | count, mark]) + SILENT_FRAME * count + bytes(mark)


NOT_RECORDED = 3
"""The mark of silence that a studio's page puts in for what its microphone did not give (`studio-sound-opus.js`)."""


def mark_of(packet: bytes) -> int | None:
    """Return the mark of a packet of `digital_silence`; None for any other packet."""
    if len(packet) < 3 or packet[0] >> 3 < _SILENT_CELT or packet[0] & 7 != _ANY_NUMBER:
        return None
    mark = packet[2]
    return mark if packet == _silent(packet[0] >> 3, packet[1] & 63, mark) else None
