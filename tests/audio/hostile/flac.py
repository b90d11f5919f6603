"""Hostile FLAC."""

import struct

from tests.audio.hostile.kit import COVER, Kit, attack, split_frames
from tests.audio.sounds import FLAC


@attack()
def covers_in_flac(kit: Kit) -> bytes:
    """Four covers, as large as a block may be."""
    picture = (
        struct.pack(">II", 3, 10) + b"image/jpeg" + struct.pack(">6I", 0, 1, 1, 1, 0, COVER // 4) + bytes(COVER // 4)
    )
    sound = kit.sound(FLAC)
    return sound[:42] + 4 * (b"\x06" + len(picture).to_bytes(3, "big") + picture) + sound[42:]


@attack("")
def seek_tables_in_flac(kit: Kit) -> bytes:
    """Seek tables with millions of entries, all the same."""
    table = struct.pack(">QQH", 1, 1, 4096) * 900_000
    sound = kit.sound(FLAC)
    return sound[:42] + 3 * (b"\x03" + len(table).to_bytes(3, "big") + table) + sound[42:]


def silent_frames(seconds: int, *, rate: int, channels: int, bits: int) -> bytes:
    """Return silence in the largest frames that FLAC has (RFC 9639, sections 8 and 9), a few bytes for each.

    ffmpeg writes the same sound, but takes as long as for any other sound of that length.
    """
    block, total = 65_535, seconds * rate
    form = rate << 44 | (channels - 1) << 41 | (bits - 1) << 36 | total
    head = b"fLaC\x80\0\0\x22" + struct.pack(">HH6xQ16x", block, block, form)
    rate_code = {8_000: 4, 192_000: 3}[rate]
    constants = bytes(1 + bits // 8) * channels  # a subframe: its type, and the one value of all its samples
    frames = []
    for number in range(total // block):
        coded = chr(number).encode("utf-8", "surrogatepass")
        start = b"\xff\xf8" + bytes((7 << 4 | rate_code, (channels - 1) << 4)) + coded + struct.pack(">H", block - 1)
        frame = start + bytes((crc(start, 8, 0x07),)) + constants
        frames.append(frame + struct.pack(">H", crc(frame, 16, 0x8005)))
    return head + b"".join(frames)


def crc(data: bytes, width: int, polynomial: int) -> int:
    """Return the check sum that FLAC has behind a frame's header (8 bits) and behind a frame (16 bits)."""
    value, top, mask = 0, 1 << width - 1, (1 << width) - 1
    for byte in data:
        value ^= byte << width - 8
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
    return value


@attack("too_long", announced_ms=36_000_000)
def silence_in_flac(_: Kit) -> bytes:
    """Ten hours of silence: frames of eight seconds, each of the same few bytes."""
    return silent_frames(36_000, rate=8_000, channels=1, bits=16)


@attack("undecodable", announced_ms=36_000_000)
def flac_of_changing_channels(kit: Kit) -> bytes:
    """Half an hour in frames of 12 ms, mono and stereo by turns, in two megabytes."""
    form = ("-c:a", "flac", "-frame_size", "576")
    mono, stereo = (
        kit.ffmpeg("t.flac", "-f", "lavfi", "-i", f"anullsrc=r=48000:cl={layout}:d=2", *form)
        for layout in ("mono", "stereo")
    )
    turns = zip(split_frames(mono, b"\xff\xf8"), split_frames(stereo, b"\xff\xf8"), strict=True)
    return mono[: mono.index(b"\xff\xf8")] + b"".join(one + other for one, other in turns) * 450


@attack("too_long", announced_ms=36_000_000)
def silence_of_many_samples(_: Kit) -> bytes:
    """A quarter of an hour at 192 kHz in eight channels, in 113 kB."""
    return silent_frames(890, rate=192_000, channels=8, bits=24)


@attack("undecodable", announced_ms=36_000_000)
def flac_at_655_khz(kit: Kit) -> bytes:
    """The highest rate of FLAC, in eight channels."""
    silence = ("-f", "lavfi", "-i", "anullsrc=r=655350:cl=7.1", "-t", "60", "-c:a", "flac", "-sample_fmt", "s32")
    return kit.ffmpeg("fine.flac", *silence, "-strict", "-2", "-frame_size", "4608")
