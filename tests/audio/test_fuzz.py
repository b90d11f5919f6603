"""Our readers of strangers' bytes: any bytes end in one of the named outcomes, after bounded work.

`AIRCHECK_FUZZ=20000` tries that many examples of each instead of a few.
"""

import io
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.audio.command_lines import DEMUXERS
from bot.audio.containers import find_repair, read_length, refuse_crafted, timing
from bot.audio.mp3 import after_id3, info_frame, read_info
from bot.audio.ogg import read_pages
from bot.audio.ogg_search import walk_pages
from bot.audio.opus import facts_of, opus_streams
from bot.audio.opus_reader import OpusReader
from bot.audio.packet_clock import MAX_PAUSES
from bot.audio.repair import from_offset, write_parts
from bot.audio.sniff import find
from bot.errors import GiveUp
from storage.records import Container
from tests.audio.hostile.adts import adts
from tests.audio.hostile.amr import WIDE, amr
from tests.audio.hostile.mp3 import frame, id3
from tests.audio.hostile.mp4 import Movie
from tests.audio.hostile.ogg import opus
from tests.audio.hostile.riff import wav
from tests.audio.sounds import captured

EXAMPLES = settings(max_examples=int(os.environ.get("AIRCHECK_FUZZ", "100")))
CALLS = 70_000  # of read and seek, for a file of a few kB: boxes and pages are counted
HELD = 16  # times the size of a file may be read

FLAC_HEAD = b"fLaC\x80\0\0\x22" + bytes(34)
CAF_HEAD = b"caff\0\1\0\0desc" + struct.pack(">qd4sIIIII", 32, 48_000.0, b"lpcm", 0, 2, 1, 1, 16)
SEEDS = (
    captured("plain")[0].path.read_bytes()[:6000],
    opus([bytes([9 << 3, 1, 2])] * 30, per_page=7),
    bytes(Movie(data=bytes(400))),
    bytes(Movie(data=b"", edits=struct.pack(">I4sI4sIIIiI", 36, b"edts", 28, b"elst", 0, 1, 1000, 7, 1 << 16))),
    id3(b"TIT2", b"\0title") + info_frame(frames=10, kbps=64, samples=10_000) + frame() * 10,
    adts(b"sound") * 5,
    wav(16, 1, 8000, bytes(300)),
    CAF_HEAD + b"data" + struct.pack(">qI", -1, 0) + bytes(100),
    FLAC_HEAD + bytes(100),
    b"\x1aE\xdf\xa3" + bytes(100) + b"A_OPUS",
    amr(b"\x3c" + bytes(31)),
    amr(b"\x44" + bytes(60), magic=WIDE),
)


class Counting(io.BytesIO):
    """A file that counts how much of it is read."""

    calls = 0
    given = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.calls += 1
        data = super().read(size)
        self.given += len(data)
        return data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self.calls += 1
        if offset >= 1 << 63:
            raise ValueError("no real file can do that")
        return super().seek(offset, whence)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Draw a valid small file with some of its bytes flipped, cut, repeated, moved, or put into another."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(data)))
        other = draw(st.integers(0, len(data)))
        low, high = min(at, other), min(max(at, other), min(at, other) + 2000)
        match draw(st.sampled_from(("set", "number", "cut", "end", "repeat", "splice"))):
            case "set":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "number":
                data[at : at + 4] = draw(
                    st.sampled_from((bytes(4), b"\0\0\0\1", b"\x7f" * 4, b"\xff" * 4, b"\x80\0\0\0"))
                )
            case "cut":
                del data[low:high]
            case "end":
                del data[at:]
            case "repeat":
                data[at:at] = data[low:high] * draw(st.integers(1, 8))
            case _:
                data[at:at] = draw(st.sampled_from(SEEDS))[low:high]
    return bytes(data[:40_000])


FILES = (
    st.binary(max_size=400)
    | mutated()
    | st.builds(lambda a, b: a[:64] + b, st.sampled_from(SEEDS), st.binary(max_size=400))
)


def pages(file: io.BytesIO) -> None:
    for _ in walk_pages(file):
        pass
    file.seek(0)
    assert all(len(page.body) <= 255 * 255 for page in read_pages(file))


def packets(file: io.BytesIO) -> None:
    for _ in OpusReader(file):
        pass


def facts(file: io.BytesIO) -> None:
    found = facts_of(opus_streams(file, max_samples=1 << 30))
    assert 0 <= found.samples <= 1 << 30


def info(file: io.BytesIO) -> None:
    assert after_id3(file) >= 0
    found = read_info(file)
    assert found is None or (found.samples() or 0) >= 0


def look(file: io.BytesIO) -> None:
    """Inspect a chunk as before ffmpeg gets it."""
    container, start = find(file)
    assert container in DEMUXERS
    walk(from_offset(file, start), container)


def walk(file: BinaryIO, container: Container) -> None:
    with suppress(GiveUp):
        repair = find_repair(file, container)
        out = io.BytesIO()
        write_parts(file, repair.parts, out)
        assert len(out.getvalue()) <= 2 * file.seek(0, 2) + 1000
        assert 0 <= repair.silence <= MAX_PAUSES
        assert not (repair.empty and repair.parts)
    with suppress(GiveUp):
        refuse_crafted(file, container)
    timing(file, container)
    length = read_length(file, container)
    assert length is None or length.samples >= 0


def bounded(read: Callable[[io.BytesIO], Any], data: bytes) -> None:
    """Check that the outcome is a named one, and that the file was not read again and again."""
    file = Counting(data)
    with suppress(GiveUp):
        read(file)
    assert file.calls <= CALLS
    assert file.given <= HELD * len(data) + 1_100_000  # the walks of boxes take 16 bytes at a time


@pytest.mark.parametrize("read", [pages, packets, facts, info, look])
@EXAMPLES
@given(data=FILES)
def test_any_bytes(read: Callable[[io.BytesIO], Any], data: bytes) -> None:
    """Any bytes are read with bounded work, or refused by name."""
    bounded(read, data)


@pytest.mark.parametrize("container", list(DEMUXERS))
@EXAMPLES
@given(data=FILES)
def test_any_bytes_as_any_container(container: Container, data: bytes) -> None:
    """Any bytes are read with bounded work as any container."""
    bounded(lambda file: walk(file, container), data)


@EXAMPLES
@given(data=mutated())
def test_pages_that_pass_are_what_was_sent(data: bytes) -> None:
    """Accepted Ogg consists of all bytes of the file: none are skipped silently."""
    try:
        found = list(read_pages(io.BytesIO(data)))
    except GiveUp:
        return
    assert sum(27 + len(page.lacing) + len(page.body) for page in found) == len(data)
