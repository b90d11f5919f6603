"""Every container that a client may send: its facts, and that its chunks join."""

import io
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.audio.containers import read_length
from bot.audio.decode import decode_pieces
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.inspect import inspect_chunk
from bot.audio.plan import Mismatch, Piece, Silence, Sound, length
from bot.audio.repair import StatedLength
from bot.errors import GiveUp
from storage.records import SAMPLE_RATE, ChunkFacts, Container, Samples, Timing
from tests.audio.sounds import (
    ADTS,
    AMR,
    CAF,
    FLAC,
    M4A,
    MP3,
    OPUS,
    THREEGP,
    WAV,
    WEBM,
    Pcm,
    Studio,
    as_key,
    lag,
    local,
    signal,
)

VORBIS = ("-c:a", "libvorbis", "-f", "ogg")
OGG_FLAC = ("-c:a", "flac", "-f", "ogg")
RF64 = (*WAV, "-rf64", "always")
NO_EDIT_LIST = (*M4A, "-use_editlist", "0")
FRAGMENTED = (*M4A, "-movflags", "frag_keyframe+empty_moov")
NO_TAG = (*MP3, "-write_xing", "0")
COPIED = ("-c:a", "copy", "-f", "ipod")

ALL = (8000, 16_000, 22_050, 44_100, 48_000, 96_000)
OF_OPUS = (8000, 16_000, 48_000)
OF_MP3 = ALL[:-1]

LENGTH = 96_000  # samples: whole ones at each rate
PADDED = 12_000  # samples: more than any encoder's delay and padding at 8 kHz


async def look(path: Path, ffmpeg: Ffmpeg) -> ChunkFacts:
    return await inspect_chunk(path, ffmpeg, max_seconds=60)


def recorded(studio: Studio, name: str, sound: Pcm, form: tuple[str, ...], rate: int, channels: int) -> Path:
    """Return a file at this rate; two channels are the same."""
    return studio.record(name, sound, form, "-ar", str(rate), "-ac", str(channels))


def copied(studio: Studio, name: str, sound: Pcm) -> Path:
    """Return an M4A as Element iOS makes it: a bare AAC stream, copied without encoding it again."""
    bare = studio.record(f"{name}.aac", sound, ADTS)
    return studio.record(name, sound, ("-i", str(bare), "-map", "1:a", *COPIED))


@pytest.mark.parametrize(
    ("form", "rates", "container"),
    [
        (OPUS, OF_OPUS, Container.OGG_OPUS),
        (WEBM, OF_OPUS, Container.WEBM),
        (VORBIS, ALL, Container.OGG_VORBIS),
        (OGG_FLAC, ALL, Container.OGG_FLAC),
        (M4A, ALL, Container.MP4_AAC),
        (MP3, OF_MP3, Container.MP3),
        (WAV, ALL, Container.WAV),
        (CAF, ALL, Container.CAF),
        (FLAC, ALL, Container.FLAC),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
async def test_exact(
    form: tuple[str, ...], rates: Sequence[int], container: Container, channels: int, studio: Studio, ffmpeg: Ffmpeg
) -> None:
    """A file that states its padding is as long as the recording, to the sample, at any rate."""
    for rate in rates:
        facts = await look(recorded(studio, "a", signal(LENGTH), form, rate, channels), ffmpeg)
        assert (facts.container, facts.timing, facts.samples) == (container, Timing.EXACT, LENGTH)
        assert facts.channels == channels
        assert facts.sample_rate in (rate, SAMPLE_RATE)  # WebM names the decoder's


@pytest.mark.parametrize("form", [NO_EDIT_LIST, FRAGMENTED, NO_TAG, ADTS, COPIED])
@pytest.mark.parametrize("rate", [8000, 44_100, 48_000])
async def test_estimated(form: tuple[str, ...], rate: int, studio: Studio, ffmpeg: Ffmpeg) -> None:
    """A file that doesn't state its padding is some frames too long and counts as estimated; no sound is lost."""
    sound = signal(LENGTH)
    path = copied(studio, "a", sound) if form == COPIED else recorded(studio, "a", sound, form, rate, 1)
    facts = await look(path, ffmpeg)
    assert facts.timing is Timing.ESTIMATED
    assert 0 < facts.samples - LENGTH < PADDED
    heard = await joined(
        [Sound(as_key(path), facts.container, continues=False, samples=facts.samples)], ffmpeg, studio.folder
    )
    assert {0 <= lag(sound, heard, place, most=PADDED) < PADDED for place in (0, LENGTH - 9600)} == {True}


async def joined(pieces: Sequence[Piece], ffmpeg: Ffmpeg, workdir: Path) -> Pcm:
    wrong: list[Mismatch] = []
    heard = np.concatenate(
        [block async for block in decode_pieces(pieces, local, ffmpeg, workdir, report=wrong.append)]
    )
    assert wrong == []
    return heard[:, 0]


async def test_everything_in_one_broadcast(studio: Studio, ffmpeg: Ffmpeg) -> None:
    """Container, rate and channels change from chunk to chunk: no seam is off by a sample."""
    forms = [
        (WAV, 8000, 1),
        (M4A, 44_100, 2),
        (OPUS, 48_000, 1),
        (FLAC, 96_000, 2),
        (MP3, 22_050, 1),
        (WEBM, 48_000, 2),
        (CAF, 16_000, 1),
        (VORBIS, 44_100, 2),
        (MP3, 48_000, 2),
        (OGG_FLAC, 22_050, 1),
        (M4A, 16_000, 1),
    ]
    sound = signal(LENGTH * len(forms))
    pieces = []
    for number, (form, rate, channels) in enumerate(forms):
        chunk = sound[number * LENGTH : (number + 1) * LENGTH]
        path = recorded(studio, str(number), chunk, form, rate, channels)
        facts = await look(path, ffmpeg)
        pieces.append(Sound(as_key(path), facts.container, continues=False, samples=facts.samples))
    heard = await joined(pieces, ffmpeg, studio.folder)
    assert len(heard) == len(sound)
    for begin, end in pairwise(accumulate([LENGTH] * len(forms), initial=0)):
        assert [lag(sound, heard, place) for place in (begin + 2000, end - 12_000)] == [0, 0]


async def test_each_container_as_a_message(studio: Studio, ffmpeg: Ffmpeg) -> None:
    """Messages of every container that clients send, from 8 kHz on, in one session: each tone is in its place and as
    long as it was recorded, to the sample where the container says how long that was."""
    forms = [
        (OPUS, 48_000, 1),
        (M4A, 44_100, 2),
        (WEBM, 48_000, 1),
        (MP3, 22_050, 1),
        (WAV, 8000, 2),
        (CAF, 16_000, 1),
        (AMR, 8000, 1),
        (THREEGP, 8000, 1),
        (FRAGMENTED, 44_100, 1),
        (ADTS, 16_000, 1),
        (WAV, 48_000, 1),
    ]
    pieces: list[Piece] = []
    spans: list[tuple[int, int, int]] = []
    for number, (form, rate, channels) in enumerate(forms):
        hz = 300 + 230 * number
        tone = np.sin(np.arange(LENGTH) * 2 * np.pi * hz / SAMPLE_RATE).astype(np.float32) * np.float32(0.3)
        path = recorded(studio, str(number), tone, form, rate, channels)
        facts = await look(path, ffmpeg)
        assert (facts.timing is Timing.EXACT) is (form not in (AMR, THREEGP, FRAGMENTED, ADTS))
        assert facts.samples == LENGTH or (facts.timing is Timing.ESTIMATED and 0 < facts.samples - LENGTH < PADDED)
        pieces += [Silence(Samples(SAMPLE_RATE), pause=True)] if pieces else []
        spans.append((hz, length(pieces), facts.samples))
        pieces.append(Sound(as_key(path), facts.container, continues=False, samples=facts.samples))
    heard = await joined(pieces, ffmpeg, studio.folder)
    assert len(heard) == length(pieces)
    for hz, begin, samples in spans:
        message = heard[begin : begin + samples]
        spectrum = np.abs(np.fft.rfft(message * np.hanning(samples)))
        assert spectrum.argmax() * SAMPLE_RATE / samples == pytest.approx(hz, abs=2)
        assert not heard[begin + samples : begin + samples + SAMPLE_RATE].any()


WB_FRAMES = [b"\x44" + np.random.default_rng(3).bytes(60) for _ in range(100)]


@pytest.mark.parametrize("wide", [False, True], ids=["AMR", "AMR-WB"])
async def test_amr(wide: bool, studio: Studio, ffmpeg: Ffmpeg) -> None:
    """Frames are counted, silence of a recorder that stops sending among them. Damage is silence of its length, and a
    frame that is cut off at the end is left out."""
    if wide:
        magic, frames = b"#!AMR-WB\n", WB_FRAMES
    else:
        sound = np.concatenate([signal(48_000), np.zeros(96_000, np.float32)])
        data = studio.record("a", sound, AMR, "-dtx", "1").read_bytes()
        magic, frames = data[:6], []
        at = 6
        while at < len(data):
            size = {7: 32, 8: 6, 15: 1}[data[at] >> 3]
            frames.append(data[at : at + size])
            at += size
        assert {len(frame) for frame in frames} == {32, 6, 1}
    damaged = [*frames[:20], b"\xff" * len(frames[0]), *frames[21:40], b"\xff" + frames[40][1:], *frames[41:]]
    for kept, holes in ((frames, []), (damaged, [20, 40])):
        path = studio.folder / "a"
        path.write_bytes(magic + b"".join(kept) + frames[0][:5])
        facts = await look(path, ffmpeg)
        assert facts.container is (Container.AMR_WB if wide else Container.AMR)
        assert (facts.timing, facts.samples) == (Timing.ESTIMATED, len(frames) * 960)
        assert [(hole.at, hole.samples) for hole in facts.holes] == [(number * 960, 960) for number in holes]
        piece = Sound(as_key(path), facts.container, continues=False, samples=facts.samples)
        assert len(await joined([piece], ffmpeg, studio.folder)) == facts.samples


BOX_NAMES = [b"moov", b"trak", b"edts", b"elst", b"mdia", b"mdhd", b"mvhd"]


@st.composite
def boxes(draw: st.DrawFn) -> bytes:
    """Build a movie with any sizes and contents."""
    content = draw(st.binary(max_size=40))
    for name in draw(st.lists(st.sampled_from(BOX_NAMES), max_size=6)):
        lie = draw(st.sampled_from([0, 0, 0, 1, -9, 10**6]))
        content = (max(0, len(content) + 8 + lie)).to_bytes(4, "big") + name + content
        content += draw(st.sampled_from([b"", content]))
    return content


@given(boxes(), st.sampled_from([Container.MP4_AAC, Container.FLAC, Container.MP3]))
def test_what_a_hostile_header_says(data: bytes, container: Container) -> None:
    """Any header gives a length or none, never a crash."""
    length = read_length(io.BytesIO(data), container)
    assert length is None or length.samples > 0


def test_an_edit_list_of_many_edits_says_nothing(studio: Studio) -> None:
    """An edit list states a length only if it has one edit."""
    data = studio.record("a", signal(LENGTH), M4A).read_bytes()
    assert read_length(io.BytesIO(data), Container.MP4_AAC) == StatedLength(LENGTH, 1)
    at = data.index(b"elst") + 8
    many = data[:at] + (2).to_bytes(4, "big") + data[at + 4 :]
    assert read_length(io.BytesIO(many), Container.MP4_AAC) is None


def damaged(path: Path, begin: float, end: float) -> Path:
    """Return a file with other bytes between two places."""
    data = bytearray(path.read_bytes())
    first, last = int(len(data) * begin), int(len(data) * end)
    data[first:last] = np.random.default_rng(3).bytes(last - first)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("form", [M4A, NO_EDIT_LIST, FLAC, MP3])
async def test_damaged_frames_are_noted(form: tuple[str, ...], studio: Studio, ffmpeg: Ffmpeg) -> None:
    """A chunk with damaged frames keeps its stated length; the loss is a hole where the frames are known, else it is
    noted at joining."""
    path = studio.record("a", signal(480_000), form)
    whole = await look(path, ffmpeg)
    facts = await look(damaged(path, 0.5, 0.51), ffmpeg)
    assert replace(facts, holes=()) == whole
    wrong: list[Mismatch] = []
    piece = Sound(as_key(path), facts.container, continues=False, samples=facts.samples)
    blocks = [block async for block in decode_pieces([piece], local, ffmpeg, studio.folder, report=wrong.append)]
    assert sum(map(len, blocks)) == whole.samples
    lost = sum(hole.samples for hole in facts.holes) + sum(each.expected - each.decoded for each in wrong)
    assert 1000 < lost < 10_000


async def test_an_m4a_that_lacks_much_is_kept(studio: Studio, ffmpeg: Ffmpeg) -> None:
    """An M4A that lacks much keeps the length of its counted frames, with estimated timing."""
    facts = await look(damaged(studio.record("a", signal(480_000), M4A), 0.3, 0.7), ffmpeg)
    assert facts.timing is Timing.ESTIMATED
    assert facts.samples == 480_000


@pytest.mark.parametrize("form", [FLAC, MP3, CAF, VORBIS, OGG_FLAC, WAV, RF64])
async def test_cut_off(form: tuple[str, ...], studio: Studio, ffmpeg: Ffmpeg) -> None:
    """A file whose end is missing is refused as truncated, by its pages, its sizes, or its length."""
    path = studio.record("a", signal(480_000), form)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    assert await reason(path, ffmpeg) == "truncated"


@pytest.mark.parametrize("form", [VORBIS, OGG_FLAC])
async def test_pages_of_any_codec_are_checked(form: tuple[str, ...], studio: Studio, ffmpeg: Ffmpeg) -> None:
    """A page with a wrong checksum is damage, though ffmpeg decodes around it."""
    assert await reason(damaged(studio.record("a", signal(480_000), form), 0.5, 0.51), ffmpeg) == "bad_checksum"


async def reason(path: Path, ffmpeg: Ffmpeg) -> str:
    with pytest.raises(GiveUp) as caught:
        await look(path, ffmpeg)
    return caught.value.reason
