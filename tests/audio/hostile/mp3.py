"""Hostile MP3 and ID3 tags."""

import zlib

from bot.audio.mp3 import read_header
from tests.audio.hostile.kit import COVER, Kit, attack
from tests.audio.sounds import MP3


def id3(kind: bytes, content: bytes) -> bytes:
    return id3_of(kind + _safe(len(content)) + bytes(2) + content)


def id3_of(frames: bytes, flags: int = 0) -> bytes:
    return b"ID3\x04\0" + bytes([flags]) + _safe(len(frames)) + frames


def _safe(size: int) -> bytes:
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))


def frame(text: bytes = b"") -> bytes:
    """Return a frame (32 kbit/s at 48 kHz: 96 bytes) with text where the sound should be."""
    return (b"\xff\xfb\x14\xc0" + text)[:96].ljust(96, b"\0")


def mp3_frame(version: int, rate: int, mode: int) -> bytes:
    """Return a frame of the lowest bit rate, without sound."""
    head = bytes([0xFF, 0xE3 | version << 3, 1 << 4 | rate << 2, mode << 6])
    header = read_header(head)
    assert header is not None
    return head.ljust(header.size, b"\0")


@attack()
def cover_in_mp3(kit: Kit) -> bytes:
    return id3(b"APIC", b"\0image/jpeg\0\3\0" + bytes(COVER)) + kit.sound(MP3, "-id3v2_version", "0")


@attack("undecodable")
def chapters_in_mp3(kit: Kit) -> bytes:
    """More chapters than can be opened in 1 s."""
    chapters = (b"CHAP" + _safe(24) + bytes(2) + b"c%06d\0" % number + bytes(16) for number in range(300_000))
    return id3_of(b"".join(chapters)) + kit.sound(MP3, "-id3v2_version", "0")


@attack("undecodable", "")
def chapters_in_mp3_within_the_limit(kit: Kit) -> bytes:
    """The most chapters that can be opened, at nearly the full limit each time."""
    chapters = (b"CHAP" + _safe(24) + bytes(2) + b"c%06d\0" % number + bytes(16) for number in range(130_000))
    return id3_of(b"".join(chapters)) + kit.sound(MP3, "-id3v2_version", "0")


@attack()
def compressed_tags_in_mp3(kit: Kit) -> bytes:
    """Twenty pictures, each announced as 256 MB."""
    packed = zlib.compress(bytes(100_000_000), 9)
    one = b"APIC" + _safe(4 + len(packed)) + b"\0\x09" + _safe(0x0FFFFFFF) + packed
    return id3_of(one * 20) + kit.sound(MP3, "-id3v2_version", "0")


@attack()
def unsynchronised_cover_in_mp3(kit: Kit) -> bytes:
    """A cover of which every second byte is to be left out."""
    picture = b"APIC" + _safe(COVER // 2) + b"\0\x02" + b"\xff\0" * (COVER // 4)
    return id3_of(picture, flags=0x80) + kit.sound(MP3, "-id3v2_version", "0")


@attack()
def mp3_of_changing_channels(_: Kit) -> bytes:
    """A hundred seconds, mono and stereo by turns: a mixer starts again at each frame."""
    return (mp3_frame(3, 1, 0) + mp3_frame(3, 1, 3)) * 2000


@attack()
def mp3_of_changing_rates(_: Kit) -> bytes:
    return (
        b"".join(mp3_frame(version, rate, mode) for version in (3, 2, 0) for rate in (0, 1, 2) for mode in (0, 3)) * 200
    )


@attack("undecodable", announced_ms=36_000_000)
def a_quarter_of_an_hour_of_changing_channels(_: Kit) -> bytes:
    """Mono and stereo by turns, nearly forty thousand frames."""
    return (mp3_frame(3, 1, 0) + mp3_frame(3, 1, 3)) * 18_500


@attack("undecodable", announced_ms=36_000_000)
def mp3_of_false_headers(_: Kit) -> bytes:
    """Two frames, then two hundred headers that are a byte too long, again and again."""
    return (frame() * 2 + b"\xff\xfb\x14\xc0\xff" * 200) * 20_000


@attack("undecodable", "")
def objects_in_mp3(kit: Kit) -> bytes:
    """A million objects of eight bytes."""
    return id3_of(b"GEOB\0\0\0\x08\0\0\0a\0b\0c\0x" * 1_000_000) + kit.sound(MP3, "-id3v2_version", "0")


@attack("not_audio")
def mp3_behind_256_mb_of_tag(_: Kit) -> bytes:
    return b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + frame() * 1000


@attack("not_audio")
def mp3_of_free_format(_: Kit) -> bytes:
    return b"\xff\xfb\x04\xc0" + bytes(1 << 20)


@attack("undecodable", "too_long", "", announced_ms=36_000_000)
def mp3_of_headers_only(_: Kit) -> bytes:
    """Frames in their places that hold nothing but more headers."""
    return b"\xff\xfb\xe4\xc0" * 2_000_000


@attack(announced_ms=36_000_000)
def mp3_that_announces_years(kit: Kit) -> bytes:
    sound = bytearray(kit.sound(MP3))
    at = sound.index(b"Info")
    sound[at + 8 : at + 12] = b"\xff\xff\xff\xff"
    return bytes(sound)
