"""Sound in which every sample is another one: whoever hears it can say what it is, and a decoder costs nothing.

The n-th sample ever spoken has the value n / 2^23, which 32-bit floats hold exactly. A packet of Opus is its table of
contents and the number of its first sample; a WAV file holds its numbers as they are. A frame is its samples as they
are, and a mark of all that a real encoder would have heard when it made it. All that joins, cuts and places is the real
code; only the codec is not.
"""

import asyncio
import io
import struct
import wave
import zlib
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bot.audio.ffmpeg import Ffmpeg
from bot.audio.grid import FRAME
from bot.audio.mp3 import DELAY, after_id3, read_header
from bot.audio.opus_packets import duration
from bot.audio.opus_reader import OpusReader
from bot.audio.source import Source
from bot.audio.track import AHEAD, ENCODER_PRE_ROLL
from bot.demo.slicing import PACKET
from storage.records import SAMPLE_RATE, Container

Pcm = NDArray[np.float32]

SCALE = 1 << 23
_CONTENTS = bytes([1 << 3])  # SILK, 20 ms, mono, one frame (RFC 6716, section 3.1)
_FIRST = struct.Struct(">I")
HEAD_PAGE = 100  # bytes, with OpusHead among them


def packets(first: int, count: int) -> list[bytes]:
    """Packets of 20 ms, whose first sample is number `first`."""
    return [_CONTENTS + _FIRST.pack(first + index * PACKET) for index in range(count)]


def wav(first: int, samples: int) -> bytes:
    return _file(np.arange(first, first + samples, dtype="<i4"))


def tone(first: int, samples: int) -> bytes:
    """Something that can be heard."""
    return _file((np.sin(np.arange(first, first + samples) / 20) * (1 << 29)).astype("<i4"))


def _file(numbers: NDArray[np.int32]) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(4)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(numbers.tobytes())
    return out.getvalue()


def heard(first: int, samples: int) -> Pcm:
    """Return the sound of these samples."""
    return (np.arange(first, first + samples) / SCALE).astype(np.float32)


MARK = 8
RAW_FRAME = 4 * FRAME + MARK
"""Bytes of a frame that holds its samples as they are."""


def encoded(pcm: Pcm) -> bytes:
    """All frames of a sound, as many as LAME makes. Each hangs on its samples, ENCODER_PRE_ROLL frames before and AHEAD
    after it, and its mark tells all of them."""
    frames = -(-(len(pcm) + DELAY) // FRAME)
    samples = np.pad(pcm, (0, frames * FRAME - len(pcm))).reshape(frames, FRAME)
    sums = [zlib.crc32(frame.tobytes()).to_bytes(4, "big") for frame in samples]
    heard = (b"".join(sums[max(0, n - ENCODER_PRE_ROLL) : n + AHEAD + 1]) for n in range(frames))
    marks = (zlib.crc32(sound).to_bytes(MARK, "big") for sound in heard)
    return b"".join(frame.tobytes() + mark for frame, mark in zip(samples, marks, strict=True))


def decoded(frames: bytes) -> Pcm:
    """Return the samples of frames."""
    raw = np.frombuffer(frames, np.uint8).reshape(-1, RAW_FRAME)
    return np.ascontiguousarray(raw[:, :-MARK]).view(np.float32).reshape(-1)


class Codec(Ffmpeg):
    """Decodes what is made here, and encodes it as it is; `meanwhile` happens in the middle of that."""

    def __init__(self, meanwhile: Callable[[], Awaitable[None]]) -> None:
        super().__init__("codec")
        object.__setattr__(self, "_meanwhile", meanwhile)

    async def decode(
        self, path: Path, container: Container, *, max_seconds: float, **_: Any
    ) -> AsyncGenerator[bytes, None]:
        decoded = _opus(path) if container is Container.OGG_OPUS else _wav(path)
        yield decoded[: round(max_seconds * SAMPLE_RATE)].tobytes()

    async def describe(self, path: Path, container: Container, **_: Any) -> Source:
        return Source(SAMPLE_RATE, 1)

    async def encode_mp3(
        self, blocks: AsyncIterable[bytes], out: Path, *, kbps: int, seconds: float, channels: int = 1
    ) -> None:
        data = b"".join([block async for block in blocks])
        await asyncio.to_thread(out.write_bytes, encoded(np.frombuffer(data, np.float32)))
        await self._meanwhile()  # type: ignore[attr-defined]


def _wav(path: Path) -> Pcm:
    with wave.open(str(path)) as file:
        numbers = np.frombuffer(file.readframes(file.getnframes()), "<i4")
    return (numbers / SCALE).astype(np.float32)


def _opus(path: Path) -> Pcm:
    """Decode as RFC 7845 says: the pre-skip of the head is dropped, however long it is."""
    with path.open("rb") as file:
        found = [packet for page in OpusReader(file) for packet in page.packets]
        file.seek(0)
        head = file.read(HEAD_PAGE)
    (pre_skip,) = struct.unpack_from("<H", head, head.index(b"OpusHead") + 10)
    sounds = [heard(_FIRST.unpack(packet[1:])[0], duration(packet)) for packet in found]
    return np.concatenate([*sounds, heard(0, 0)])[pre_skip:]


def read(episode: BinaryIO) -> bytes:
    """Return the frames of an episode."""
    with episode as file:
        start = after_id3(file)
        file.seek(start)
        header = read_header(file.read(4))
        assert header is not None
        file.seek(start + header.size)
        return file.read()


def silences(sound: Pcm) -> Iterable[tuple[int, int]]:
    """Position and length of each stretch of silence: no sample that was spoken is 0."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], sound == 0, [False]]).astype(np.int8)))
    return [(int(begin), int(end - begin)) for begin, end in zip(edges[::2], edges[1::2], strict=True)]
