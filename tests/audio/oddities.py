"""Files that are complete but for a change that recorders, uploaders and tools make to them; all containers but Ogg."""

import struct
from collections.abc import Iterator

import numpy as np

from tests.audio.sounds import ADTS, CAF, FLAC, M4A, MP3, WAV, WEBM

MOV = ("-c:a", "aac", "-f", "mov")
FIRST_MOOV = (*M4A, "-movflags", "faststart")
NO_EDIT_LIST = (*M4A, "-use_editlist", "0")
FRAGMENTS = (*M4A, "-movflags", "empty_moov+default_base_moof", "-frag_duration", "1000000")
NO_TAG = (*MP3, "-write_xing", "0", "-id3v2_version", "0")
RF64 = (*WAV, "-rf64", "always")
LIVE_WEBM = (*WEBM, "-live", "1", "-cluster_time_limit", "1000")
AAC_MATROSKA = ("-c:a", "aac", "-f", "matroska")
FORMS = {
    "m4a": M4A,
    "first_moov": FIRST_MOOV,
    "no_edit_list": NO_EDIT_LIST,
    "fragments": FRAGMENTS,
    "mov": MOV,
    "mp3": MP3,
    "mp3_without_tag": NO_TAG,
    "adts": ADTS,
    "wav": WAV,
    "rf64": RF64,
    "caf": CAF,
    "flac": FLAC,
    "webm": WEBM,
    "live_webm": LIVE_WEBM,
    "matroska": AAC_MATROSKA,
}
NOISE = np.random.default_rng(5).bytes(1000)


def _safe(size: int) -> bytes:
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))


ID3V1 = b"TAG" + b"title".ljust(30, b"\0") + b"artist".ljust(30, b"\0") + bytes(65)
ID3V2 = b"ID3\4\0\0" + _safe(40) + b"TIT2" + _safe(6) + bytes(2) + b"\0title" + bytes(24)
_APE = b"APETAGEX" + struct.pack("<III", 2000, 51, 1)
_ITEM = struct.pack("<II", 5, 0) + b"Title\0Hello"
APE = _APE + struct.pack("<I8x", 0xA0000000) + _ITEM + _APE + struct.pack("<I8x", 0x80000000)
STRANGERS = {
    "nul": b"\0",
    "nuls": bytes(7),
    "many_nuls": bytes(4096),
    "crlf": b"\r\n",
    "newline": b"\n",
    "noise": NOISE[:333],
    "id3v1": ID3V1,
    "id3v2": ID3V2,
    "ape": APE,
    "boundary": b"\r\n--boundary--\r\n",
}
"""Bytes in front of a file or behind it."""


def surrounded(data: bytes) -> Iterator[tuple[str, bytes]]:
    for name, other in STRANGERS.items():
        yield f"{name} behind", data + other
        yield f"{name} in front", other + data
    yield "id3v2 in front and id3v1 behind", ID3V2 + data + ID3V1


def damaged(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Damage some frames in the middle of the sound."""
    middle = len(data) // 2
    yield "noise between", data[:middle] + NOISE[:333] + data[middle:]
    yield "zeros between", data[:middle] + bytes(700) + data[middle:]
    yield "noise instead", data[:middle] + NOISE[:500] + data[middle + 500 :]
    yield "zeros instead", data[:middle] + bytes(500) + data[middle + 500 :]
    yield "bytes missing", data[:middle] + data[middle + 400 :]


def _le(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + struct.pack("<I", value & 0xFFFFFFFF) + data[at + 4 :]


def _be(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + struct.pack(">I", value & 0xFFFFFFFF) + data[at + 4 :]


def wav_numbers(data: bytes) -> Iterator[tuple[str, bytes]]:
    at = data.index(b"data") + 4
    there = len(data) - at - 4
    for size in (
        *(there + 44, there + 78, there + 1, there // 2, 0, 0x7FFFFFFF, 0x7FFFF000, 0x80000000, 0xFFFFFFFF, 0xFFFFFFDB),
    ):
        yield f"data {size:#x}", _le(data, at, size)
    for size in (0, 100, 2 * len(data), 0xFFFFFFFF):
        yield f"RIFF {size:#x}", _le(data, 4, size)
    yield "both 0", _le(_le(data, at, 0), 4, 0)
    yield "a list that goes on", _le(data, data.index(b"LIST") + 4, 0x7FFFFFFF)
    yield "streamed, with a tag", _le(data, at, 0xFFFFFFFF) + ID3V1


def rf64_numbers(data: bytes) -> Iterator[tuple[str, bytes]]:
    at = data.index(b"ds64") + 16
    for size in (0, 1, 1 << 40, (1 << 64) - 1, 1 << 63, len(data)):
        yield f"data {size:#x}", data[:at] + struct.pack("<Q", size) + data[at + 8 :]
    yield "RIFF 0", data[: at - 8] + bytes(8) + data[at:]


def caf_numbers(data: bytes) -> Iterator[tuple[str, bytes]]:
    at = data.index(b"data") + 4
    there = len(data) - at - 8
    for size in (-1, -5, 0, 4, there + 1, there + 44, there // 2, 1 << 40):
        yield f"data {size}", data[:at] + struct.pack(">q", size) + data[at + 8 :]


def mp4_numbers(data: bytes) -> Iterator[tuple[str, bytes]]:
    for kind, off in ((b"mvhd", 20), (b"mdhd", 20), (b"tkhd", 24)):
        at = data.index(kind) + off
        said = int.from_bytes(data[at : at + 4], "big")
        for duration in (0, 6, said // 2, 2 * said, 0xFFFFFFFF):
            yield f"{kind!r} {duration}", _be(data, at, duration)
    if b"elst" in data:
        at = data.index(b"elst") + 12
        said = int.from_bytes(data[at : at + 4], "big")
        for duration in (0, 6, said // 2, 2 * said, 0xFFFFFFFF):
            yield f"edit of {duration}", _be(data, at, duration)
        for begin in (0, 10**7, -1):
            yield f"edit from {begin}", _be(data, at + 4, begin)
    at = data.index(b"stts") + 12
    for lasts in (0, 1, 512, 2048, 1_024_000):
        yield f"frames of {lasts}", _be(data, at + 4, lasts)
    for count in (0, 10, 1000):
        yield f"{count} times", _be(data, at, count)
    at = data.index(b"mdat") - 4
    for size in (0, 100, 2 * len(data)):
        yield f"mdat of {size}", _be(data, at, size)
    yield "free behind", data + struct.pack(">I4s", 16, b"free") + bytes(8)
    yield "skip to the end behind", data + struct.pack(">I4s", 0, b"skip") + bytes(8)
    yield "mdat without an end behind", data + struct.pack(">I4s", 0, b"mdat")
    yield "half a box behind", data + struct.pack(">I4s", 1000, b"free") + bytes(8)


def fragment_numbers(data: bytes) -> Iterator[tuple[str, bytes]]:
    first = data.index(b"mdat") - 4
    second = data.index(b"mdat", first + 8) - 4
    for at in (first, second):
        for size in (0, 100, 2 * len(data)):
            yield f"mdat of {size}", _be(data, at, size)
    moof = data.index(b"moof", second) - 4
    yield "noise between fragments", data[:moof] + NOISE[:333] + data[moof:]
    yield "a byte between fragments", data[:moof] + b"\0" + data[moof:]
    yield "duration in the movie", _be(data, data.index(b"mdhd") + 20, 6)


def mp3_numbers(data: bytes) -> Iterator[tuple[str, bytes]]:
    at = data.index(b"Info") + 8
    frames = int.from_bytes(data[at : at + 4], "big")
    for count in (0, 1, frames - 10, frames // 2, frames + 1, frames + 10, 2 * frames, 0xFFFFFFFF):
        yield f"{count} frames", _be(data, at, count)
    at += 129
    for padding in (0, 0xFFFFFF, 0x000FFF, 0xFFF000):
        yield f"padding {padding:#x}", data[:at] + padding.to_bytes(3, "big") + data[at + 3 :]


def flac_numbers(data: bytes) -> Iterator[tuple[str, bytes]]:
    packed = int.from_bytes(data[18:26], "big")
    total = packed & (1 << 36) - 1
    for count in (0, 1, total // 2, total - 100, total + 100, 2 * total, (1 << 36) - 1):
        yield f"{count} samples", data[:18] + (packed - total + count).to_bytes(8, "big") + data[26:]


def webm_numbers(data: bytes) -> Iterator[tuple[str, bytes]]:
    at = data.index(b"\x44\x89") + 3
    for duration in (0.0, 1.0, 1e9, float("nan"), -5.0):
        yield f"duration {duration}", data[:at] + struct.pack(">d", duration) + data[at + 8 :]
    at = data.index(b"\x2a\xd7\xb1") + 4
    for scale in (1, 1000, 10_000_000):
        yield f"scale {scale}", data[:at] + scale.to_bytes(3, "big") + data[at + 3 :]


NUMBERS = {
    "wav": wav_numbers,
    "rf64": rf64_numbers,
    "caf": caf_numbers,
    "m4a": mp4_numbers,
    "first_moov": mp4_numbers,
    "no_edit_list": mp4_numbers,
    "mov": mp4_numbers,
    "fragments": fragment_numbers,
    "mp3": mp3_numbers,
    "flac": flac_numbers,
    "webm": webm_numbers,
}
