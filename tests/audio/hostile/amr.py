"""Hostile AMR."""

import random

from tests.audio.hostile.kit import Kit, attack

NARROW, WIDE = b"#!AMR\n", b"#!AMR-WB\n"
NO_DATA = b"\x7c"


def amr(frame: bytes, count: int = 20, magic: bytes = NARROW) -> bytes:
    return magic + frame * count


@attack("too_long")
def amr_of_nothing(_: Kit) -> bytes:
    """Four million frames of a byte each: almost a day."""
    return amr(NO_DATA, 4_000_000)


@attack("too_long")
def amr_of_little(_: Kit) -> bytes:
    """An hour in 180 kB."""
    return amr(NO_DATA, 180_000)


@attack()
def amr_that_nearly_begins_again(_: Kit) -> bytes:
    """A frame, and then bytes each of which might begin one, but never two in a row."""
    return amr(b"\x3c\xff", 2_000_000, magic=WIDE)


@attack("")
def amr_of_random_bytes(_: Kit) -> bytes:
    return WIDE + random.Random(7).randbytes(1_000_000)


@attack("")
def amr_of_random_sound(_: Kit) -> bytes:
    """Each frame is well formed; what is in them was never a voice."""
    chance = random.Random(8)
    return NARROW + b"".join(b"\x3c" + chance.randbytes(31) for _ in range(10_000))


@attack("undecodable", "not_audio", "")
def amr_that_is_a_playlist(kit: Kit) -> bytes:
    return NARROW + f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{kit.canary}\n{kit.url}\n".encode()
