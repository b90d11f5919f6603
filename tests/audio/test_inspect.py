"""The facts that are found in a chunk's bytes."""

import struct
from pathlib import Path

import numpy as np
import pytest

from bot.audio.ffmpeg import Ffmpeg
from bot.audio.inspect import inspect_chunk
from bot.errors import GiveUp
from storage.records import ChunkFacts, Container, Timing
from tests.audio.sounds import ADTS, CAF, FLAC, M4A, MP3, OPUS, WAV, WEBM, Studio, captured, signal
from tests.audio.test_opus import MS20, headers, page

LENGTH = 100_003  # samples; no multiple of any frame
EXACT, ESTIMATED = Timing.EXACT, Timing.ESTIMATED
SLACK = {ESTIMATED: 3000, EXACT: 0}


async def look(path: Path, ffmpeg: Ffmpeg, max_seconds: float = 3600) -> ChunkFacts:
    return await inspect_chunk(path, ffmpeg, max_seconds=max_seconds)


async def reason(path: Path, ffmpeg: Ffmpeg, max_seconds: float = 3600) -> str:
    with pytest.raises(GiveUp) as caught:
        await look(path, ffmpeg, max_seconds)
    return caught.value.reason


@pytest.mark.parametrize(
    ("form", "container", "timing"),
    [
        (OPUS, Container.OGG_OPUS, EXACT),
        (("-c:a", "libvorbis", "-f", "ogg"), Container.OGG_VORBIS, EXACT),
        (("-c:a", "flac", "-f", "ogg"), Container.OGG_FLAC, EXACT),
        (M4A, Container.MP4_AAC, EXACT),
        ((*M4A, "-use_editlist", "0"), Container.MP4_AAC, ESTIMATED),
        ((*M4A, "-movflags", "frag_keyframe+empty_moov"), Container.MP4_AAC, ESTIMATED),
        (ADTS, Container.ADTS_AAC, ESTIMATED),
        ((*MP3, "-write_xing", "0"), Container.MP3, ESTIMATED),
        ((*MP3, "-write_xing", "0", "-id3v2_version", "0"), Container.MP3, ESTIMATED),
        (WAV, Container.WAV, EXACT),
        (FLAC, Container.FLAC, EXACT),
        (CAF, Container.CAF, EXACT),
        (WEBM, Container.WEBM, EXACT),
    ],
)
async def test_containers(
    studio: Studio, ffmpeg: Ffmpeg, form: tuple[str, ...], container: Container, timing: Timing
) -> None:
    """Each container is recognised by its bytes, whatever its name, and its length is as exact as it allows."""
    facts = await look(studio.record("video.txt", signal(LENGTH), form), ffmpeg)
    assert (facts.container, facts.timing) == (container, timing)
    assert abs(facts.samples - LENGTH) <= SLACK[timing]
    assert (facts.sample_rate, facts.channels) == (48_000, 1)


HE_AAC = Path(__file__).parents[1] / "data" / "he_aac"
HE_LENGTH = 4 * 48_000 + 12_345  # samples


@pytest.mark.parametrize(
    ("name", "timing", "channels", "early", "late"),
    [
        ("mono.mp4", EXACT, 1, 10, 0),
        ("parametric_stereo.m4a", EXACT, 2, 10, 0),
        ("without_edit_list.mp4", ESTIMATED, 1, 0, 5100),
        ("mono.aac", ESTIMATED, 1, 0, 6700),
    ],
)
async def test_he_aac(name: str, timing: Timing, channels: int, early: int, late: int, ffmpeg: Ffmpeg) -> None:
    """HE-AAC counts as AAC: an edit list is exact to a millisecond, else twice the padding of AAC stays; one channel
    stays one."""
    facts = await look(HE_AAC / name, ffmpeg)
    assert (facts.timing, facts.sample_rate, facts.channels) == (timing, 48_000, channels)
    assert -early <= facts.samples - HE_LENGTH <= late


async def test_two_silent_channels_are_two(studio: Studio, ffmpeg: Ffmpeg) -> None:
    """A microphone that is muted for a chunk doesn't end a stereo recording."""
    silent = studio.record("silent", np.zeros(2 * LENGTH, np.float32), M4A, channels=2)
    assert (await look(silent, ffmpeg)).channels == 2


@pytest.mark.parametrize("samples", [1000, 30_000, LENGTH, 150_001])
async def test_mp3_with_a_tag(samples: int, studio: Studio, ffmpeg: Ffmpeg) -> None:
    """An MP3 with a stated padding is exact, though decoders leave some of it in."""
    facts = await look(studio.record("a.mp3", signal(samples), MP3), ffmpeg)
    assert (facts.timing, facts.samples) == (EXACT, samples)


async def test_other_rate(studio: Studio, ffmpeg: Ffmpeg) -> None:
    """Rate and channels are the source's; the length is counted at 48 kHz."""
    path = studio.record("a.wav", signal(LENGTH), WAV, "-ar", "22050", "-ac", "2")
    facts = await look(path, ffmpeg)
    assert (facts.sample_rate, facts.channels) == (22_050, 2)
    assert abs(facts.samples - LENGTH) <= 4


async def test_real_chunk(ffmpeg: Ffmpeg) -> None:
    """A chunk of a real Element Web gives the facts of its pages."""
    chunk = captured("plain")[0]
    assert await look(chunk.path, ffmpeg) == chunk.facts


async def test_empty_tail(tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    """Element Web's tail without sound is no damage."""
    path = tmp_path / "tail"
    path.write_bytes(headers() + page([], 9, -1, flags=4))
    assert (await look(path, ffmpeg)).samples == 0


async def test_whole_files_chained(tmp_path: Path, studio: Studio, ffmpeg: Ffmpeg) -> None:
    """Several whole Ogg files in one are no slice of a run, and their timing is estimated."""
    one, two = (studio.record(f"{seed}.ogg", signal(LENGTH, seed), OPUS).read_bytes() for seed in (1, 2))
    path = tmp_path / "chained"
    path.write_bytes(one + two)
    facts = await look(path, ffmpeg)
    assert (facts.container, facts.timing, facts.ogg) == (Container.OGG_OPUS, ESTIMATED, None)
    assert facts.samples > LENGTH


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty"),
        (bytes(5000), "not_audio"),
        (b"<!doctype html><title>502 Bad Gateway</title>", "not_audio"),
        (b'{"errcode":"M_NOT_FOUND"}', "not_audio"),
        (np.random.default_rng(1).bytes(20_000), "not_audio"),
        (headers(), "empty"),
        (page([MS20], 2, 961), "headers_missing"),
        (headers() + page([MS20], 2, 960)[:-1], "truncated"),
        (headers() + bytes(4096), "bad_checksum"),
        (page([b"Speex   1.2"], 0, 0, flags=2), "not_audio"),
        (b"OggS" + bytes(3), "truncated"),
        (b"\0\0\0\x18ftypM4A " + bytes(12) + b"\0\0\x10\0mdat" + bytes(4088), "truncated"),
        (b"\0\0\0\x18ftypM4A " + bytes(12) + b"\0\0\0\x10moov\0\0\0\x08trak", "undecodable"),
        (b"fLaC" + bytes(400), "undecodable"),
        (b"RIFF\xff\xff\xff\xffWAVEfmt ", "truncated"),
        (b"ID3\x04\0\0\0\0\0\0", "not_audio"),
    ],
)
async def test_refused(tmp_path: Path, ffmpeg: Ffmpeg, data: bytes, expected: str) -> None:
    """Files without sound, or with a part of it, are refused by name."""
    path = tmp_path / "chunk.ogg"
    path.write_bytes(data)
    assert await reason(path, ffmpeg) == expected


@pytest.mark.parametrize("form", [M4A, WAV])
async def test_cut_off(studio: Studio, ffmpeg: Ffmpeg, form: tuple[str, ...]) -> None:
    """A file whose end is missing is truncated, though ffmpeg decodes some of it."""
    path = studio.record("a", signal(LENGTH), form)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    assert await reason(path, ffmpeg) == "truncated"


async def test_longer_than_a_broadcast(studio: Studio, ffmpeg: Ffmpeg) -> None:
    """No chunk may be longer than a broadcast, whatever its container."""
    for form in (WAV, OPUS):
        path = studio.record("a", signal(LENGTH), form)
        assert await reason(path, ffmpeg, max_seconds=2) == "too_long"


async def test_a_wave_file_of_a_million_seconds(tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    """A megabyte at one sample per second is refused with little work."""
    data = bytes(1 << 20)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 1, 1, 1, 8)
    path = tmp_path / "bomb"
    path.write_bytes(
        struct.pack("<4sI4s", b"RIFF", len(data) + 36, b"WAVE") + form + struct.pack("<4sI", b"data", len(data)) + data
    )
    assert await reason(path, ffmpeg) in {"too_long", "undecodable"}
