"""Hostile WAV, RF64 and CAF."""

import struct

from tests.audio.hostile.kit import COVER, SECOND, Kit, attack


def wav(bits: int, channels: int, rate: int, data: bytes, *, align: int | None = None) -> bytes:
    align = channels * bits // 8 if align is None else align
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * align & 0xFFFFFFFF, align & 0xFFFF, bits)
    return (
        struct.pack("<4sI4s", b"RIFF", len(data) + 36, b"WAVE") + form + struct.pack("<4sI", b"data", len(data)) + data
    )


def riff(*chunks: tuple[bytes, bytes], form: bytes = b"RIFF") -> bytes:
    """Return a second of PCM behind these chunks."""
    sound = wav(16, 1, SECOND, bytes(2 * SECOND))[12:]
    written = (name + struct.pack("<I", len(content)) + content for name, content in chunks)
    return form + b"\xff\xff\xff\xffWAVE" + b"".join(written) + sound


def caf(codec: bytes, rate: float, *chunks: tuple[bytes, bytes], packet: int = 2, frames: int = 1) -> bytes:
    form = struct.pack(">d4sIIIII", rate, codec, 0, packet, frames, 1, 16)
    return b"caff\0\1\0\0" + b"".join(
        name + struct.pack(">q", len(content)) + content for name, content in ((b"desc", form), *chunks)
    )


@attack()
def words_in_wav(_: Kit) -> bytes:
    """A million words, and a history of 50 MB."""
    words = b"INFO" + (b"IART" + struct.pack("<I", 2) + b"a\0") * 1_000_000
    return riff((b"LIST", words), (b"bext", bytes(602) + b"x" * COVER))


@attack("undecodable")
def wav_of_24_channels(_: Kit) -> bytes:
    """24 channels in a layout that has a name: 22.2."""
    form = struct.pack("<HHIIHHHHI", 0xFFFE, 24, SECOND, 48 * SECOND, 48, 16, 22, 16, 0x2FF7F)
    form += b"\1\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
    parts = b"WAVEfmt " + struct.pack("<I", len(form)) + form + struct.pack("<4sI", b"data", 48 * SECOND)
    return b"RIFF" + struct.pack("<I", len(parts) + 48 * SECOND) + parts + bytes(48 * SECOND)


@attack("undecodable")
def rf64_of_exabytes(_: Kit) -> bytes:
    return riff((b"ds64", struct.pack("<QQQI", 1 << 63, 1 << 63, 1 << 63, 0)), form=b"RF64")


@attack("too_long", "undecodable", announced_ms=36_000_000)
def wav_at_1_hz(_: Kit) -> bytes:
    return wav(8, 1, 1, bytes(1 << 20))


@attack("undecodable")
def wav_at_4_ghz(_: Kit) -> bytes:
    return wav(8, 1, 0xFFFFFFFF, bytes(1 << 20))


@attack("undecodable", "")
def wav_at_2_ghz(_: Kit) -> bytes:
    return wav(8, 1, 0x7FFFFFFF, bytes(1 << 20))


@attack("undecodable")
def wav_at_0_hz(_: Kit) -> bytes:
    return wav(8, 1, 0, bytes(1 << 20))


@attack("undecodable", "")
def wav_of_many_channels(_: Kit) -> bytes:
    return wav(8, 65_535, 8000, bytes(1 << 22))


@attack("undecodable", "too_long", "")
def wav_without_block_size(_: Kit) -> bytes:
    return wav(16, 1, 8000, bytes(1 << 20), align=0)


@attack("truncated")
def wav_of_a_million_chunks(_: Kit) -> bytes:
    return b"RIFF\xff\xff\xff\xffWAVE" + b"junk\0\0\0\0" * 1_000_000


@attack("undecodable")
def caf_of_a_packet_table(_: Kit) -> bytes:
    """A table that lists eight million packets."""
    table = struct.pack(">qqii", 8_000_000, 8_000_000 * 1024, 0, 0) + b"\1" * 8_000_000
    return caf(b"aac ", 48_000.0, (b"pakt", table), (b"data", bytes(8_000_004)), packet=0, frames=1024)


@attack("undecodable")
def caf_at_no_number_of_hz(_: Kit) -> bytes:
    return caf(b"lpcm", float("nan"), (b"data", bytes(1 << 16)))


@attack("undecodable", "truncated", "")
def caf_of_negative_sizes(_: Kit) -> bytes:
    form = b"desc" + struct.pack(">qd4sIIIII", 32, 48_000.0, b"lpcm", 0, 2, 1, 1, 16)
    return b"caff\0\1\0\0" + form + b"data" + struct.pack(">qI", -(1 << 63), 0) + b"free" + struct.pack(">q", -2)


@attack("undecodable", "too_long", announced_ms=36_000_000)
def caf_of_a_billion_packets(_: Kit) -> bytes:
    form = b"desc" + struct.pack(">qd4sIIIII", 32, 1e-300, b"lpcm", 0, 0, 0, 0, 0)
    table = b"pakt" + struct.pack(">qqqii", 24, 1 << 62, 1 << 62, 0, 0)
    return b"caff\0\1\0\0" + form + table + b"data" + struct.pack(">qI", -1, 0) + bytes(1 << 16)
