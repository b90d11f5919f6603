"""Stems placed on the clock of their call."""

import io
import subprocess
from collections.abc import AsyncIterator, Iterable, Sequence

import numpy as np
import pytest

from bot.audio.ffmpeg import Ffmpeg
from bot.audio.ogg import read_pages
from bot.audio.placed import blocks, placed, together
from bot.calls.media.door import OpusPacket
from bot.calls.stems.stream import StemStream, begin_of
from storage.records import SAMPLE_RATE, Samples
from tests.calls.stems.opus import encoded

BEEP = 0.5 * np.sin(2 * np.pi * 440 * np.arange(4800) / SAMPLE_RATE) * np.hanning(4800)


def a_stem(ffmpeg: Ffmpeg, begin: int, place: int) -> tuple[bytes, Samples]:
    """Return the file of a stem in which a beep is heard at `place` on the clock of the call, and where it begins."""
    sound = np.zeros(place - begin + 48_000, "<f4")
    sound[place - begin : place - begin + 4800] = BEEP
    packets = [
        OpusPacket(Samples(begin + number * 960), Samples(960), payload)
        for number, payload in enumerate(encoded(ffmpeg, sound, "-application", "voip", "-b:a", "32k"))
    ]
    joined = begin_of(packets[0])
    stream = StemStream(joined, 7)
    for packet in packets:
        stream.put(packet)
    stream.finish(Samples(0))
    return stream.take(), joined


def place_of_the_beep(sound: np.ndarray) -> int:
    return int(np.argmax(np.correlate(sound, BEEP, "valid")))


def decoded(ffmpeg: Ffmpeg, file: bytes, track: int = 0) -> np.ndarray:
    command = [ffmpeg.exe, "-v", "error", "-i", "-", "-map", f"0:{track}", "-f", "f32le", "-"]
    return np.frombuffer(subprocess.run(command, input=file, capture_output=True, check=True).stdout, "<f4")


STEMS = ((20_017, 60_000), (400_000, 450_001), (312, 31_000))


@pytest.mark.parametrize(("begin", "place"), STEMS)
def test_a_placed_stem_begins_with_the_call(ffmpeg: Ffmpeg, begin: int, place: int) -> None:
    """The file is longer by exactly the time before the stem, and its sound lies at its place on the clock."""
    file, joined = a_stem(ffmpeg, begin, place)
    made = b"".join(blocks(placed(io.BytesIO(file), joined, serial=3, title="Ann")))
    sound = decoded(ffmpeg, made)
    assert len(sound) == joined + len(decoded(ffmpeg, file))
    assert abs(place_of_the_beep(sound) - place) <= 24
    pages = list(read_pages(io.BytesIO(made)))
    assert [page.number for page in pages] == list(range(len(pages)))
    assert pages[-1].ends


async def _given(made: Iterable[bytes]) -> AsyncIterator[bytes]:
    for block in made:
        yield block


async def test_all_stems_are_the_named_tracks_of_one_file(ffmpeg: Ffmpeg) -> None:
    """The Matroska file has a track for each stem, with its name, and all lie at their places."""
    stems = [a_stem(ffmpeg, begin, place) for begin, place in STEMS]
    names = ("Ann", "Bob ü", "Cid")
    streams = [
        placed(io.BytesIO(file), joined, serial=number, title=name)
        for number, ((file, joined), name) in enumerate(zip(stems, names, strict=True))
    ]
    made = b"".join([block async for block in ffmpeg.to_matroska(_given(blocks(together(streams))), seconds=40)])
    assert titles(ffmpeg, made) == list(names)
    for track, (_, place) in enumerate(STEMS):
        assert abs(place_of_the_beep(decoded(ffmpeg, made, track)) - place) <= 24


def titles(ffmpeg: Ffmpeg, file: bytes) -> Sequence[str]:
    described = subprocess.run([ffmpeg.exe, "-hide_banner", "-i", "-"], input=file, capture_output=True, check=False)
    lines = described.stderr.decode().splitlines()
    return [line.partition(":")[2].strip() for line in lines if line.strip().startswith("title")]


def test_a_damaged_stem_ends_at_its_damage(ffmpeg: Ffmpeg) -> None:
    """A file that is no stem has no pages; one that is cut has those before the cut."""
    file, joined = a_stem(ffmpeg, 960, 30_000)
    assert list(placed(io.BytesIO(b"no sound"), joined, serial=1, title="")) == []
    assert len(list(placed(io.BytesIO(file[:-10]), joined, serial=1, title=""))) > 2
