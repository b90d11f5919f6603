"""Hostile WebM and Matroska."""

import bz2
import struct
import zlib

from tests.audio.hostile.kit import COVER, Kit, attack
from tests.audio.hostile.ogg import LONG
from tests.audio.test_opus import HEAD


def element(name: str, *content: bytes) -> bytes:
    """Return an element of Matroska; `name` is its id in hex."""
    body = b"".join(content)
    return bytes.fromhex(name) + (1 << 56 | len(body)).to_bytes(8, "big") + body


def matroska(
    *parts: bytes, codec: bytes = b"A_OPUS", private: bytes = HEAD, more: bytes = b"", tracks: int = 1
) -> bytes:
    """Return a file with this many tracks of sound, and the parts behind them."""
    form = element("E1", element("B5", struct.pack(">f", 48_000.0)), element("9F", b"\1"), element("6264", b"\x10"))
    codes = element("83", b"\2"), element("86", codec), element("63A2", private), form, more
    listed = (element("AE", element("D7", struct.pack(">I", number)), *codes) for number in range(1, tracks + 1))
    body = (element("1549A966", element("2AD7B1", b"\x0f\x42\x40")), element("1654AE6B", *listed), *parts)
    return element("1A45DFA3", element("4282", b"matroska")) + element("18538067", *body)


def cluster(time: int, *blocks: bytes, lacing: int = 0) -> bytes:
    simple = (element("A3", b"\x81\0\0" + bytes([0x80 | lacing]) + block) for block in blocks)
    return element("1F43B675", element("E7", time.to_bytes(4, "big")), *simple)


DEFLATED = element("6D80", element("6240", element("5034", element("4254", b"\0"))))


@attack()
def subtitles_and_attachment(kit: Kit) -> bytes:
    words, blob = kit.studio.folder / "words.srt", kit.studio.folder / "blob.ttf"
    words.write_text("1\n00:00:00,000 --> 00:00:01,000\n" + "word " * 1000)
    blob.write_bytes(bytes(20_000_000))
    source = ("-f", "lavfi", "-i", "sine=d=1", "-i", str(words), "-attach", str(blob))
    return kit.ffmpeg("s.mkv", *source, "-metadata:s:t", "mimetype=font/ttf", "-c:a", "libopus", "-c:s", "srt")


@attack("")
def subtitles_with_outside_names(kit: Kit) -> bytes:
    words = kit.studio.folder / "words.ass"
    words.write_text(f"[Script Info]\nAudio File: {kit.canary}\nVideo File: {kit.url}\n[Events]\nFormat: Text\n")
    source = ("-f", "lavfi", "-i", "sine=d=1", "-i", str(words))
    return kit.ffmpeg("a.mkv", *source, "-c:a", "libopus", "-c:s", "ass")


@attack("undecodable")
def pictures_only(kit: Kit) -> bytes:
    return kit.ffmpeg("only.mkv", "-f", "lavfi", "-i", "color=s=640x480:d=1", "-c:v", "mpeg4")


@attack("undecodable")
def attachments(_: Kit) -> bytes:
    """Three attachments of 20 MB, all of which ffmpeg keeps."""
    name, kind = element("466E", b"x.ttf"), element("4660", b"font/ttf")
    file = element("61A7", name, kind, element("46AE", b"\1"), element("465C", bytes(20_000_000)))
    return matroska(element("1941A469", file * 3), cluster(0, LONG))


@attack("undecodable")
def cover_as_private_data(_: Kit) -> bytes:
    return matroska(cluster(0, LONG), codec=b"A_AAC", private=bytes(COVER))


@attack()
def half_a_million_tags(_: Kit) -> bytes:
    tag = element("7373", element("67C8", element("45A3", b"a"), element("4487", b"b")))
    return matroska(element("1254C367", tag * 500_000), cluster(0, LONG))


@attack("")
def seek_heads_in_a_circle(_: Kit) -> bytes:
    """Each entry leads back to where it stands, each cue to the beginning."""
    circle = element("114D9B74", element("4DBB", element("53AB", b"\x11\x4d\x9b\x74"), element("53AC", b"\0")) * 50_000)
    places = element("B7", element("F7", b"\1"), element("F1", b"\0"))
    cues = (element("BB", element("B3", struct.pack(">I", number)), places) for number in range(100_000))
    return matroska(circle, element("1C53BB6B", *cues), cluster(0, LONG))


@attack("too_long")
def laced_blocks(_: Kit) -> bytes:
    """Blocks of 256 packets, one byte each."""
    return matroska(*(cluster(number * 30_000, b"\xff" + LONG * 256, lacing=4) for number in range(200)))


@attack("undecodable")
def blocks_of_compressed_silence(_: Kit) -> bytes:
    """Blocks of 100 MB each, compressed."""
    block = zlib.compress(bytes(100_000_000), 9)
    pages = (cluster(number, block) for number in range(10))
    return matroska(*pages, codec=b"A_PCM/INT/LIT", more=DEFLATED)


@attack("undecodable")
def five_thousand_tracks(_: Kit) -> bytes:
    return matroska(*(cluster(number * 60, LONG) for number in range(1000)), tracks=5000)


@attack("")
def tags_in_tags(_: Kit) -> bytes:
    """Tags in each other, ten thousand deep."""
    nested = b""
    for _level in range(10_000):
        nested = element("67C8", nested)
    return matroska(element("1254C367", element("7373", nested)), cluster(0, LONG))


@attack("undecodable")
def stripped_headers(_: Kit) -> bytes:
    """Blocks of one byte that are to get 200 kB in front."""
    strip = element("6D80", element("6240", element("5034", element("4254", b"\3"), element("4255", LONG * 200_000))))
    return matroska(*(cluster(number * 120, LONG) for number in range(3000)), more=strip)


@attack("undecodable", "")
def blocks_in_bzip2(_: Kit) -> bytes:
    """Blocks of 100 MB each, compressed."""
    packed = element("6D80", element("6240", element("5034", element("4254", b"\1"))))
    block = bz2.compress(bytes(100_000_000))
    return matroska(*(cluster(number, block) for number in range(5)), codec=b"A_PCM/INT/LIT", more=packed)


@attack("undecodable", "")
def matroska_of_unknown_sizes(kit: Kit) -> bytes:
    """Clusters of unknown size within each other."""
    sound = kit.ffmpeg("m.webm", "-f", "lavfi", "-i", "sine=d=1", "-c:a", "libopus", "-f", "webm")
    return sound + b"\x1f\x43\xb6\x75\x01\xff\xff\xff\xff\xff\xff\xff" * 100_000


@attack("undecodable")
def matroska_of_deep_levels(_: Kit) -> bytes:
    return b"\x1aE\xdf\xa3\x80" + b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff" * 100_000


@attack("undecodable")
def matroska_of_a_huge_element(_: Kit) -> bytes:
    """A codec's private data of exabytes."""
    segment = b"\x1aE\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff"
    return segment + b"\x16\x54\xae\x6b\x01\xff\xff\xff\xff\xff\xff\xfe"
