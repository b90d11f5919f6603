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


@attack("too_long", announced_ms=36_000_000)
def silence_in_flac(kit: Kit) -> bytes:
    """Ten hours of silence: frames of eight seconds, each of the same few bytes."""
    silence = ("-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-t", "36000", "-frame_size", "65535", "-c:a", "flac")
    return kit.ffmpeg("silence.flac", *silence)


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
def silence_of_many_samples(kit: Kit) -> bytes:
    """A quarter of an hour at 192 kHz in eight channels, in 140 kB."""
    silence = ("-f", "lavfi", "-i", "anullsrc=r=192000:cl=7.1:d=890", "-c:a", "flac", "-sample_fmt", "s32")
    return kit.ffmpeg("s.flac", *silence, "-strict", "-2", "-frame_size", "65535", "-compression_level", "0")


@attack("undecodable", announced_ms=36_000_000)
def flac_at_655_khz(kit: Kit) -> bytes:
    """The highest rate of FLAC, in eight channels."""
    silence = ("-f", "lavfi", "-i", "anullsrc=r=655350:cl=7.1", "-t", "60", "-c:a", "flac", "-sample_fmt", "s32")
    return kit.ffmpeg("fine.flac", *silence, "-strict", "-2", "-frame_size", "4608")
