"""MPEG audio layer III frames, and the Info/LAME frame that states an encoder's padding. Pure.

The layout of the Info frame: http://gabriel.mp3-tech.org/mp3infotag.html
"""

import struct
from dataclasses import dataclass, field
from typing import BinaryIO

from bot.audio.grid import FRAME, frame_bytes

_BITRATES = {  # kbit/s by index; MPEG 1 and MPEG 2/2.5
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}  # by version
_LAYER_3 = 1
MAX_ID3_TAGS = 4

DELAY = 576  # samples that libmp3lame adds at the beginning; decoders subtract the 529 that they add themselves
_SIDE_INFO = {1: 17, 2: 32}  # bytes, MPEG 1, by channels
_MODE = {1: 3 << 6, 2: 1 << 6}  # mono, joint stereo
_MAX_DELAY = 3 * FRAME  # samples; encoders' delay is about one frame
_MAX_PADDING = 3 * FRAME
_INFO_BYTES = 120  # Info, flags, frames, bytes, seek table, quality
_LAME_BYTES = 36


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """The header of a frame."""

    size: int  # bytes with the header
    samples: int
    sample_rate: int
    mono: bool
    side_info: int  # bytes between the header and the data of an Info frame


def read_header(data: bytes) -> FrameHeader | None:
    """Read a frame's header from its first four bytes; None if they are no header. Free format is not accepted."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return None
    version, layer = data[1] >> 3 & 3, data[1] >> 1 & 3
    bitrate, rate, padding = data[2] >> 4, data[2] >> 2 & 3, data[2] >> 1 & 1
    if version == 1 or layer != _LAYER_3 or bitrate in (0, 15) or rate == 3:
        return None
    first = version == 3
    mono = data[3] >> 6 == 3
    samples, sample_rate = (1152 if first else 576), _RATES[version][rate]
    size = samples // 8 * _BITRATES[first][bitrate] * 1000 // sample_rate + padding
    side_info = (17 if mono else 32) if first else (9 if mono else 17)
    return FrameHeader(size, samples, sample_rate, mono, side_info)


@dataclass(frozen=True, slots=True)
class Info:
    """An Info frame. `delay` and `padding` are samples at the source rate, None if the frame states neither."""

    frames: int | None
    delay: int | None
    padding: int | None
    header: FrameHeader
    frames_at: int = field(default=0, compare=False)  # bytes from the beginning of the frame
    padding_at: int = field(default=0, compare=False)

    @property
    def plausible(self) -> bool:
        """Whether the delay and padding are possible for an encoder."""
        return (self.delay or 0) <= _MAX_DELAY and (self.padding or 0) <= _MAX_PADDING

    def corrected(self, frame: bytes, frames: int | None) -> bytes:
        """Return the frame with another number of frames (None: its own), and without an impossible padding."""
        if frames is not None:
            frame = frame[: self.frames_at] + struct.pack(">I", frames) + frame[self.frames_at + 4 :]
        if not self.plausible:
            frame = frame[: self.padding_at] + bytes(3) + frame[self.padding_at + 3 :]
        return frame

    def samples(self) -> int | None:
        """Return the length of the sound at the source rate; None if the frame does not state it."""
        if self.frames is None or self.delay is None or self.padding is None or not self.plausible:
            return None
        return max(0, self.frames * self.header.samples - self.delay - self.padding)


def after_id3(file: BinaryIO) -> int:
    """Return the offset at which the sound begins, after the ID3v2 tags (ID3v2.4 structure, section 3.1)."""
    offset = 0
    for _ in range(MAX_ID3_TAGS):
        file.seek(offset)
        head = file.read(10)
        if len(head) < 10 or not head.startswith(b"ID3"):
            break
        size = 0
        for byte in head[6:10]:
            size = size << 7 | byte & 0x7F
        offset += 10 + size + (10 if head[5] & 0x10 else 0)
    return offset


def read_info(file: BinaryIO, at: int | None = None) -> Info | None:
    """Read the Info or Xing frame before the sound, or at a given offset; None if there is none."""
    file.seek(after_id3(file) if at is None else at)
    head = file.read(4)
    header = read_header(head)
    if header is None:
        return None
    body = file.read(header.size - 4)[header.side_info :]
    if body[:4] not in (b"Info", b"Xing"):
        return None
    flags = int.from_bytes(body[4:8], "big")
    frames = int.from_bytes(body[8:12], "big") if flags & 1 else None
    tag = 8 + 4 * bool(flags & 1) + 4 * bool(flags & 2) + 100 * bool(flags & 4) + 4 * bool(flags & 8)
    packed = int.from_bytes(body[tag + 21 : tag + 24], "big")
    begin = 4 + header.side_info
    if not packed:  # Xing's own encoder and Fraunhofer's write no LAME part
        return Info(frames, None, None, header, begin + 8)
    return Info(frames, packed >> 12, packed & 0xFFF, header, begin + 8, begin + tag + 21)


def info_frame(*, frames: int, kbps: int, samples: int, channels: int = 1) -> bytes:
    """Return the Info frame for this number of constant-rate frames that hold this many samples of sound.

    ffmpeg writes one too, but with a signature that makes readers such as mutagen ignore the padding. Raises
    ValueError if the frames can't hold exactly that sound.
    """
    padding = frames * FRAME - samples - DELAY
    if not 0 <= padding <= 3 * FRAME:
        raise ValueError(f"{frames} frames are not {samples} samples")
    room = 4 + _SIDE_INFO[channels] + _INFO_BYTES + _LAME_BYTES
    index = next(i for i, rate in enumerate(_BITRATES[True]) if frame_bytes(rate) >= room)
    size = frame_bytes(_BITRATES[True][index])
    header = bytes([0xFF, 0xFB, index << 4 | 1 << 2, _MODE[channels]])
    total = size + frames * frame_bytes(kbps)
    seek_table = bytes(place * 256 // 100 for place in range(100))
    info = b"Info" + struct.pack(">III", 0xF, frames, total) + seek_table + bytes(4)
    lame = (
        b"LAME3.100"
        + bytes([1])  # tag revision 0, constant rate
        + bytes(10)  # low-pass, peak, replay gain, flags: not stated
        + bytes([min(kbps, 255)])
        + (DELAY << 12 | padding).to_bytes(3, "big")
        + bytes(4)  # source, gain, preset: not stated
        + struct.pack(">IH", total, 0)
    )
    frame = header + bytes(_SIDE_INFO[channels]) + info + lame
    return (frame + struct.pack(">H", _crc16(frame))).ljust(size, b"\0")


def _crc16(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return value
