"""Hostile AAC in ADTS."""

import random

from tests.audio.hostile.kit import Kit, attack, split_frames
from tests.audio.sounds import ADTS


def adts(text: bytes, channels: int = 1) -> bytes:
    size = 7 + len(text[:500])
    head = [0xFF, 0xF1, 0x4C | channels >> 2, (channels & 3) << 6 | size >> 11, size >> 3 & 0xFF]
    return bytes([*head, (size & 7) << 5 | 0x1F, 0xFC]) + text[:500]


@attack("undecodable", announced_ms=36_000_000)
def adts_of_changing_channels(kit: Kit) -> bytes:
    """Twenty thousand changes in half a megabyte."""
    kinds = [("mono", b"\xff\xf1\x4c\x40"), ("stereo", b"\xff\xf1\x4c\x80")]
    turns = [
        split_frames(
            kit.ffmpeg("t.aac", "-f", "lavfi", "-i", f"anullsrc=r=48000:cl={layout}:d=1", "-c:a", "aac"), magic
        )[5]
        for layout, magic in kinds
    ]
    return b"".join(turns) * 20_000


@attack("undecodable", "too_long", "")
def adts_of_empty_frames(_: Kit) -> bytes:
    return adts(b"") * 300_000


@attack()
def adts_before_nothing_but_ones(kit: Kit) -> bytes:
    """Each byte might begin a frame."""
    return kit.sound(ADTS) + b"\xff" * 60_000_000


@attack("undecodable")
def adts_of_ones(_: Kit) -> bytes:
    return adts(b"") + adts(b"\xff" * 400) * 100_000


@attack("undecodable")
def adts_of_random_channels(_: Kit) -> bytes:
    """Each frame says anew how many, and where they stand."""
    chance = random.Random(7)
    return b"".join(adts(b"\xa0" + chance.randbytes(60), channels=0) for _ in range(40_000))
