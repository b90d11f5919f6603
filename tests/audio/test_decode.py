"""Joining: the joined sound is the recorded one, to the sample."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bot.audio.decode import decode_pieces
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.inspect import inspect_chunk
from bot.audio.plan import Mismatch, Piece, Silence, Sound, head_skip, length, pre_roll
from storage.records import Container, Samples
from tests.audio.sounds import (
    FLAC,
    M4A,
    MP3,
    OPUS,
    WAV,
    Captured,
    Pcm,
    Studio,
    as_key,
    captured,
    lag,
    local,
    signal,
    without_headers,
)

STEP = 1 / 32_768  # of 16-bit sound


async def joined(pieces: Sequence[Piece], ffmpeg: Ffmpeg, workdir: Path) -> tuple[Pcm, list[Mismatch]]:
    mismatches: list[Mismatch] = []
    blocks = [block async for block in decode_pieces(pieces, local, ffmpeg, workdir, report=mismatches.append)]
    return np.concatenate(blocks)[:, 0], mismatches


def sounds(chunks: Sequence[Captured]) -> list[Sound]:
    """Return the plan of captured chunks: the first of a run has the pre-skip, the others continue it."""
    pieces = []
    for before, chunk in zip([None, *chunks], chunks, strict=False):
        continues = before is not None and before.serial == chunk.serial
        assert chunk.facts.ogg is not None
        samples = chunk.facts.ogg.packet_samples if continues else chunk.facts.samples
        pieces.append(Sound(as_key(chunk.path), chunk.facts.container, continues, samples))
    return pieces


def as_recorded(chunks: Sequence[Captured], studio: Studio) -> Pcm:
    """Decode each run in one piece, as its encoder wrote it, with plain ffmpeg."""
    runs: dict[int, bytes] = {}
    for chunk in chunks:
        data = chunk.path.read_bytes()
        runs[chunk.serial] = runs[chunk.serial] + without_headers(data) if chunk.serial in runs else data
    heard = []
    for serial, data in runs.items():
        path = studio.folder / f"{serial}.ogg"
        path.write_bytes(data)
        heard.append(studio.hear(path))
    return np.concatenate(heard)


@pytest.mark.parametrize("name", ["plain", "pauses", "slowstop", "encrypted", "kill"])
async def test_captures(name: str, ffmpeg: Ffmpeg, studio: Studio, tmp_path: Path) -> None:
    """The chunks of a real Element Web join to the sound of each run decoded in one piece."""
    chunks = captured(name)
    wanted = as_recorded(chunks, studio)
    heard, mismatches = await joined(sounds(chunks), ffmpeg, tmp_path)
    assert mismatches == []
    assert len(heard) == len(wanted)
    assert np.abs(heard - wanted).max() < STEP


@pytest.mark.parametrize("form", [OPUS, M4A, WAV, FLAC, MP3])
async def test_seams(form: tuple[str, ...], ffmpeg: Ffmpeg, studio: Studio, tmp_path: Path) -> None:
    """Separate files join without losing or adding a sample at any seam."""
    sound = signal(300_011)
    cuts = [0, 100_003, 177_777, 300_011]
    pieces: list[Piece] = []
    for number, (start, end) in enumerate(pairwise(cuts)):
        path = studio.record(f"{number}.bin", sound[start:end], form)
        facts = await inspect_chunk(path, ffmpeg, max_seconds=60)
        assert facts.samples == end - start
        pieces.append(Sound(as_key(path), facts.container, False, facts.samples))
    heard, mismatches = await joined(pieces, ffmpeg, tmp_path)
    assert mismatches == []
    assert len(heard) == len(sound)
    for place in [10_000, *(cut + side for cut in cuts[1:-1] for side in (-12_000, 2000)), 285_000]:
        assert lag(sound, heard, place) == 0


async def test_seams_of_an_older_decoder(ffmpeg: Ffmpeg, studio: Studio, tmp_path: Path) -> None:
    """A build that leaves in the end that the edit list of an M4A cuts off makes no seam longer."""
    older = tmp_path / "older"
    rest = 'case "$*" in *pipe:1*) /usr/bin/env head -c 2000 /dev/urandom;; esac'
    older.write_text(f'#!/bin/sh\n{ffmpeg.exe} "$@"; code=$?\n{rest}\nexit $code\n')
    older.chmod(0o700)
    sound = signal(90_002)
    parts = [sound[:40_001], sound[40_001:]]
    pieces = []
    for number, part in enumerate(parts):
        path = studio.record(f"{number}.m4a", part, M4A)
        facts = await inspect_chunk(path, Ffmpeg(str(older)), max_seconds=60)
        assert facts.samples == len(part)
        pieces.append(Sound(as_key(path), facts.container, False, facts.samples))
    heard, mismatches = await joined(pieces, Ffmpeg(str(older)), tmp_path)
    wanted = np.concatenate([studio.hear(Path(piece.blob)) for piece in pieces])
    assert mismatches == []
    assert np.array_equal(heard, wanted)


@pytest.mark.parametrize(("name", "late"), [("mono.mp4", -1), ("without_edit_list.mp4", 4792)])
async def test_he_aac(name: str, late: int, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """HE-AAC joins to the right sound; without a stated padding, a tenth of a second of it is heard."""
    sound = signal(4 * 48_000 + 12_345)
    path = Path(__file__).parents[1] / "data" / "he_aac" / name
    facts = await inspect_chunk(path, ffmpeg, max_seconds=60)
    heard, mismatches = await joined([Sound(as_key(path), facts.container, False, facts.samples)], ffmpeg, tmp_path)
    assert mismatches == []
    for place in (5000, 60_000, 150_000):
        assert abs(lag(sound, heard, place) - late) <= 20


async def test_stereo_into_mono(ffmpeg: Ffmpeg, studio: Studio, tmp_path: Path) -> None:
    """Mono is the mean of two channels: equal ones are as loud as one, sound on one side is half as high."""
    sound = signal(48_000)
    pieces = []
    for name, other in (("same", sound), ("left", 0 * sound)):
        path = studio.record(name, np.stack([sound, other], axis=1), WAV, channels=2)
        pieces.append(Sound(as_key(path), Container.WAV, False, Samples(48_000)))
    heard, _ = await joined(pieces, ffmpeg, tmp_path)
    assert np.abs(heard - np.concatenate([sound, sound / 2])).max() < STEP


async def test_mixed(ffmpeg: Ffmpeg, studio: Studio, tmp_path: Path) -> None:
    """Chunks of any container, rate and channels, and silence, are where the plan places them."""
    sound = signal(240_000)
    first = studio.record("a.ogg", sound[:96_000], OPUS)
    last = studio.record("b.m4a", sound[144_000:], M4A, "-ar", "44100", "-ac", "2")
    pieces: list[Piece] = [
        Sound(as_key(first), Container.OGG_OPUS, False, Samples(96_000)),
        Silence(Samples(48_000)),
        Sound(as_key(last), Container.MP4_AAC, False, Samples(96_000)),
    ]
    heard, _ = await joined(pieces, ffmpeg, tmp_path)
    assert len(heard) == length(pieces) == 240_000
    assert not heard[96_000:144_000].any()
    assert abs(lag(sound, heard, 80_000)) == 0
    assert abs(lag(sound, heard, 146_000)) <= 1
    assert abs(lag(sound, heard, 225_000)) <= 1


async def test_lost_chunk(ffmpeg: Ffmpeg, studio: Studio, tmp_path: Path) -> None:
    """With a chunk lost from the middle of a run all other sound stays in its place."""
    first, lost, third = sounds(captured("plain")[:3])
    wanted = as_recorded(captured("plain")[:3], studio)
    heard, mismatches = await joined([first, Silence(lost.samples), third], ffmpeg, tmp_path)
    assert (len(heard), mismatches) == (len(wanted), [])
    end = first.samples + lost.samples
    assert np.abs(heard[: first.samples] - wanted[: first.samples]).max() < STEP
    assert not heard[first.samples : end].any()
    assert np.abs(heard[end + 24_000 :] - wanted[end + 24_000 :]).max() < 0.01  # a fresh decoder has settled


@pytest.mark.parametrize("whole", [True, False])
async def test_lost_head(whole: bool, ffmpeg: Ffmpeg, studio: Studio, tmp_path: Path) -> None:
    """With the first chunk of a run lost the next one is in its place, whether or not it has the pre-skip."""
    head, second, _ = captured("plain")[:3]
    assert second.facts.ogg is not None
    wanted = as_recorded([head, second], studio)
    samples = second.facts.ogg.packet_samples if whole else second.facts.samples
    gap = Silence(Samples(len(wanted) - samples))
    heard, mismatches = await joined(
        [gap, Sound(as_key(second.path), Container.OGG_OPUS, False, samples)], ffmpeg, tmp_path
    )
    assert (len(heard), mismatches) == (len(wanted), [])
    assert not heard[: gap.samples].any()
    assert np.abs(heard - wanted)[gap.samples + 24_000 :].max() < 0.01  # a fresh decoder has settled


async def test_tail_without_sound(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """An empty tail adds nothing and breaks nothing."""
    pieces = sounds(captured("kill"))
    data = await asyncio.to_thread(Path(pieces[0].blob).read_bytes)
    second = data.index(b"OggS", 4)
    tail = tmp_path / "tail"
    tail.write_bytes(data[: data.index(b"OggS", second + 4)])
    empty = Sound(as_key(tail), Container.OGG_OPUS, False, Samples(0))
    heard, _ = await joined(pieces, ffmpeg, tmp_path)
    again, mismatches = await joined([*pieces, empty], ffmpeg, tmp_path)
    assert (heard == again).all()
    assert mismatches == []


async def test_short_chunks(ffmpeg: Ffmpeg, studio: Studio, tmp_path: Path) -> None:
    """A chunk behind one shorter than the pre-roll uses earlier ones too."""
    chunk = captured("plain")[0]
    data = chunk.path.read_bytes()
    starts = [at for at in range(len(data)) if data.startswith(b"OggS", at)]
    headers, ends = data[: starts[2]], [*starts[3:], len(data)]
    pieces: list[Piece] = []
    for number, (start, end) in enumerate(zip(starts[2:], ends, strict=True)):
        path = tmp_path / f"{number}.ogg"
        path.write_bytes(headers + data[start:end])
        pieces.append(Sound(as_key(path), Container.OGG_OPUS, number > 0, Samples(38_400 - (0 if number else 3840))))
    heard, mismatches = await joined(pieces, ffmpeg, tmp_path)
    assert mismatches == []
    assert np.abs(heard - studio.hear(chunk.path)).max() < STEP


@pytest.mark.parametrize("surplus", [-5000, 5000])
async def test_other_length(surplus: int, ffmpeg: Ffmpeg, studio: Studio, tmp_path: Path) -> None:
    """A chunk of another length than planned is cut or filled, and reported."""
    path = studio.record("a.wav", signal(50_000 + surplus), WAV)
    heard, mismatches = await joined([Sound(as_key(path), Container.WAV, False, Samples(50_000))], ffmpeg, tmp_path)
    assert len(heard) == 50_000
    assert mismatches == [Mismatch(0, Samples(50_000), Samples(50_000 + surplus))]


async def test_damaged(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """A chunk that can no longer be decoded is silence of its length, and reported with the reason."""
    broken = tmp_path / "broken"
    broken.write_bytes(captured("kill")[0].path.read_bytes()[:100])
    for container, reason in ((Container.OGG_OPUS, "truncated"), (Container.FLAC, "undecodable")):
        heard, mismatches = await joined([Sound(as_key(broken), container, False, Samples(9000))], ffmpeg, tmp_path)
        assert len(heard) == 9000
        assert not heard.any()
        assert mismatches == [Mismatch(0, Samples(9000), Samples(0), reason)]


async def test_missing_file(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """A missing file is an error of the disk, not silence."""
    for container in (Container.WAV, Container.OGG_OPUS):
        with pytest.raises(FileNotFoundError):
            await joined([Sound(as_key(tmp_path / "gone"), container, False, Samples(9000))], ffmpeg, tmp_path)


async def test_numbers_that_are_none(ffmpeg: Ffmpeg, studio: Studio, tmp_path: Path) -> None:
    """NaN and infinite samples of a float file come out finite."""
    wild = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 0.5] * 1000, np.float32)
    path = studio.record("wild.wav", wild, ("-c:a", "pcm_f32le", "-f", "wav"))
    heard, _ = await joined([Sound(as_key(path), Container.WAV, False, Samples(6000))], ffmpeg, tmp_path)
    assert np.isfinite(heard).all()
    assert np.abs(heard).max() <= 8


async def test_other_run(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """A chunk that is planned to continue gets nothing of a run that is not its own."""
    first, second = captured("pauses")[:2]
    alone, _ = await joined(sounds([second]), ffmpeg, tmp_path)
    wrong = Sound(as_key(second.path), Container.OGG_OPUS, True, second.facts.samples)
    heard, mismatches = await joined([*sounds([first]), wrong], ffmpeg, tmp_path)
    assert mismatches == []
    assert (heard[first.facts.samples :] == alone).all()


def left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_leaves_nothing_behind(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """Decoding that is left early leaves nothing in the work folder."""
    blocks = decode_pieces(sounds(captured("plain")), local, ffmpeg, tmp_path)
    await anext(blocks)
    await blocks.aclose()
    assert left_in(tmp_path) == []


def test_planning() -> None:
    """The pre-roll takes as many packets as it needs and no more; the first chunk of a run has its pre-skip."""
    assert pre_roll([960] * 100) == 20
    assert pre_roll([960] * 5) == 5
    assert pre_roll([]) == 0
    assert head_skip(begins=True, decoded=9600, wanted=9600, pre_skip=312) == 312
    assert head_skip(begins=False, decoded=9600, wanted=9600, pre_skip=312) == 0
    assert head_skip(begins=False, decoded=9600, wanted=9288, pre_skip=312) == 312
    assert head_skip(begins=False, decoded=9600, wanted=1000, pre_skip=312) == 312
