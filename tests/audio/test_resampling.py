"""Sound at other rates: no audible seam where it was cut, and no length that changes."""

import subprocess
import tracemalloc
from collections.abc import AsyncGenerator, Callable, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

from bot.audio.decode import decode_pieces
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.inspect import inspect_chunk
from bot.audio.plan import Mismatch, Sound
from bot.audio.resampling import Resampler, at_48_khz
from bot.audio.source import Source
from bot.errors import GiveUp
from storage.records import SAMPLE_RATE, Container, Samples
from tests.audio.sounds import ADTS, FLAC, M4A, Pcm, as_key, lag, local
from tests.audio.voices import voice
from tests.world import find_ffmpeg

RATES = (8000, 16_000, 22_050, 24_000, 32_000, 44_100, 96_000)
WAV = ("-c:a", "pcm_f32le", "-f", "wav")
NEAR = 48  # samples to each side of a seam

Time = NDArray[np.float64]  # seconds


def tone(time: Time) -> Time:
    return 0.5 * np.sin(2 * np.pi * 440 * time)


def chord(time: Time) -> Time:
    sound: Time = np.sin(2 * np.pi * np.outer(time, (220, 277.2, 1318.5))) @ np.full(3, 0.2)
    return sound


def unlike(time: Time) -> Time:
    """Return sound without two places alike, so that a lag can be found anywhere."""
    sound: Time = 0.3 * np.sin(2 * np.pi * (300 * time + 45 * time * time)) + 0.2 * np.sin(300 * np.sin(3.3 * time))
    return sound


def sampled(sound: Callable[[Time], Time], samples: int, rate: int) -> Pcm:
    return sound(np.arange(samples) / rate).astype(np.float32)


def cuts(rate: int, seconds: float, count: int) -> list[int]:
    """Draw cuts anywhere: at odd rates hardly one is on a sample at 48 kHz."""
    lengths = np.random.default_rng(rate).uniform(0.5 * seconds, 1.5 * seconds, count)
    return [0, *accumulate(int(length * rate) for length in lengths)]


def recorded(sound: Pcm, rate: int, form: tuple[str, ...], path: Path) -> Path:
    channels = sound.shape[1] if sound.ndim == 2 else 1
    source = ["-f", "f32le", "-ar", str(rate), "-ac", str(channels), "-i", "pipe:"]
    command = [find_ffmpeg().exe, "-v", "error", *source, *form, "-y", str(path)]
    subprocess.run(command, input=np.ascontiguousarray(sound).tobytes(), check=True)
    return path


async def sliced(
    sound: Pcm, places: Sequence[int], rate: int, form: tuple[str, ...], ffmpeg: Ffmpeg, folder: Path
) -> list[Sound]:
    """Return a file for each slice, of the length that an inspection finds."""
    pieces = []
    for number, (start, end) in enumerate(pairwise(places)):
        path = recorded(sound[start:end], rate, form, folder / f"{number}.bin")
        facts = await inspect_chunk(path, ffmpeg, max_seconds=60)
        assert facts.samples == at_48_khz(end - start, rate)
        pieces.append(Sound(as_key(path), facts.container, False, facts.samples))
    return pieces


async def joined(pieces: Sequence[Sound], ffmpeg: Ffmpeg, folder: Path, channels: int = 1) -> Pcm:
    mismatches: list[Mismatch] = []
    blocks = [
        block
        async for block in decode_pieces(pieces, local, ffmpeg, folder, channels=channels, report=mismatches.append)
    ]
    assert mismatches == []
    heard = np.concatenate(blocks)
    assert len(heard) == sum(piece.samples for piece in pieces)
    return heard


def off_at_seams(heard: Pcm, places: Sequence[int], rate: int, sound: Callable[[Time], Time]) -> float:
    """Return the greatest error around the seams, in dB of full scale. A cut is where its piece begins."""
    near = np.arange(-NEAR, NEAR) / SAMPLE_RATE
    ends = accumulate(at_48_khz(end - start, rate) for start, end in pairwise(places[:-1]))
    errors = [
        np.abs(heard[end - NEAR : end + NEAR] - sound(place / rate + near)).max()
        for end, place in zip(ends, places[1:-1], strict=True)
    ]
    return float(20 * np.log10(max(errors)))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(("sound", "form"), [(tone, FLAC), (chord, WAV)])
async def test_tones(
    rate: int, sound: Callable[[Time], Time], form: tuple[str, ...], ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    """Tones go on over seams, wherever between two samples at 48 kHz these are."""
    places = cuts(rate, 0.4, 5)
    pieces = await sliced(sampled(sound, places[-1], rate), places, rate, form, ffmpeg, tmp_path)
    heard = await joined(pieces, ffmpeg, tmp_path)
    assert off_at_seams(heard[:, 0], places, rate, sound) < -70


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100])
async def test_aac(rate: int, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """At the seams of lossy slices the error is no greater than in the same slices at their own rate."""
    places = cuts(rate, 0.4, 5)
    pieces = await sliced(sampled(tone, places[-1], rate), places, rate, M4A, ffmpeg, tmp_path)
    heard = await joined(pieces, ffmpeg, tmp_path)
    own = []
    for piece, start in zip(pieces, places, strict=False):
        blocks = [block async for block in ffmpeg.decode(Path(piece.blob), piece.container, max_seconds=9, rate=rate)]
        decoded = np.frombuffer(b"".join(blocks), np.float32)
        wrong = np.abs(decoded - tone((start + np.arange(len(decoded))) / rate))
        own += [wrong[:NEAR].max(), wrong[-NEAR:].max()]
    assert off_at_seams(heard[:, 0], places, rate, tone) < 20 * np.log10(max(own)) + 3


@pytest.mark.parametrize(("rate", "bound"), [(8000, -24), (16_000, -40), (24_000, -60), (32_000, -75), (96_000, -100)])
def test_speech(rate: int, bound: float) -> None:
    """Speech is less predictable than tones, the less the lower the rate: the error at its seams is bounded."""
    sound = soxr.resample(np.ascontiguousarray(voice(1).reshape(-1)[: 20 * SAMPLE_RATE]), SAMPLE_RATE, rate)
    whole = soxr.resample(sound, rate, SAMPLE_RATE)
    second = rate + rate // 1000 * 37
    slices = [sound[start : start + second] for start in range(0, len(sound), second)]
    heard = np.concatenate([alone(part, rate) for part in slices])
    seams = [number * second * SAMPLE_RATE // rate for number in range(1, len(slices))]
    near = np.concatenate([np.arange(seam - NEAR, seam + NEAR) for seam in seams])
    assert 20 * np.log10(np.std((heard - whole)[near]) / np.std(whole[near])) < bound
    assert abs(20 * np.log10(np.std(heard) / np.std(whole))) < 0.01


def alone(sound: Pcm, rate: int, wanted: int | None = None, *blocks: int) -> Pcm:
    """Resample one piece in blocks of these sizes, in turn; mono or several channels."""
    line = sound.reshape(len(sound), -1)
    resampler = Resampler(rate, line.shape[1], at_48_khz(len(line), rate) if wanted is None else wanted)
    parts: list[Pcm] = []
    at = 0
    while at < len(line):
        size = blocks[len(parts) % len(blocks)] if blocks else 1 << 16
        parts.append(resampler.put(line[at : at + size]))
        at += size
    heard: Pcm = np.concatenate([*parts, resampler.end()])
    return heard[:, 0] if sound.ndim == 1 else heard


@pytest.mark.parametrize("rate", [4000, *RATES, 11_025, 37_123, 192_000])
def test_any_blocks(rate: int) -> None:
    """The result is the same to the bit in any blocks."""
    sound = np.random.default_rng(rate).uniform(-1, 1, (rate // 3 + 7, 2)).astype(np.float32)
    whole = alone(sound, rate)
    assert len(whole) == at_48_khz(len(sound), rate)
    for blocks in ((97,), (1, 5000), (3, 1, 999)):
        assert np.array_equal(alone(sound, rate, None, *blocks), whole)


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 96_000])
async def test_many(rate: int, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """After 40 slices the sound is late by no more than the rounding of their lengths."""
    places = cuts(rate, 0.3, 40)
    pieces = await sliced(sampled(unlike, places[-1], rate), places, rate, WAV, ffmpeg, tmp_path)
    heard = await joined(pieces, ffmpeg, tmp_path)
    rounded = sum(piece.samples for piece in pieces) - places[-1] * SAMPLE_RATE / rate
    assert abs(rounded) <= 20
    wanted = sampled(unlike, len(heard), SAMPLE_RATE)
    late = lag(wanted, heard[:, 0], len(heard) - 12_000, 9600, 100)
    assert abs(late - rounded) <= (1 if rounded else 0)


def test_lengths() -> None:
    """A length is the nearest whole sample, of two the even one, so that many halves don't add up."""
    assert [at_48_khz(samples, 44_100) for samples in (0, 1, 2, 44_099, 44_100)] == [0, 1, 2, 47_999, 48_000]
    assert [at_48_khz(samples, 96_000) for samples in (1, 2, 3, 4, 5)] == [0, 1, 2, 2, 2]
    assert at_48_khz(7, 8000) == 42


@pytest.mark.parametrize("rate", [4000, 8000, 44_100, 96_000, 192_000])
def test_tiny(rate: int) -> None:
    """A few samples have their length, and none is louder than before."""
    sound = sampled(tone, 100, rate) + np.float32(0.25)
    for samples in range(1, 101):
        heard = alone(sound[:samples], rate)
        assert len(heard) == at_48_khz(samples, rate)
        assert np.isfinite(heard).all()
        assert np.abs(heard).max(initial=0) < 1.5 * np.abs(sound[:samples]).max()


async def test_tiny_slices(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """Slices of a millisecond and less are joined like others."""
    places = [*range(0, 120, 8), *range(121, 400, 40)]
    pieces = await sliced(sampled(tone, places[-1], 8000), places, 8000, WAV, ffmpeg, tmp_path)
    assert len(await joined(pieces, ffmpeg, tmp_path)) == places[-1] * 6


async def test_stereo(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """Two channels stay two, each with its own sound over the seams."""
    places = cuts(22_050, 0.4, 4)
    sound = np.stack([sampled(tone, places[-1], 22_050), sampled(chord, places[-1], 22_050)], axis=1)
    heard = await joined(await sliced(sound, places, 22_050, WAV, ffmpeg, tmp_path), ffmpeg, tmp_path, channels=2)
    for channel, wanted in enumerate((tone, chord)):
        assert off_at_seams(heard[:, channel], places, 22_050, wanted) < -70


@pytest.mark.parametrize("off", [-1, 1])
async def test_rounded_elsewhere(off: int, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """A length that is a sample off by rounding elsewhere is no damage, and no click."""
    path = recorded(sampled(tone, 12_345, 22_050), 22_050, WAV, tmp_path / "a.wav")
    wanted = Samples(at_48_khz(12_345, 22_050) + off)
    heard = await joined([Sound(as_key(path), Container.WAV, False, wanted)], ffmpeg, tmp_path)
    end = 12_345 / 22_050 - np.arange(NEAR, 0, -1) / SAMPLE_RATE
    assert np.abs(heard[-NEAR:, 0] - tone(end)).max() < 0.001


@pytest.mark.parametrize("value", [0.0, 0.5, -1.0])
def test_still(value: float) -> None:
    """Silence stays silence, and a constant stays constant, to the very ends."""
    assert np.abs(alone(np.full(9000, value, np.float32), 8000) - value).max() < 1e-5


def test_at_the_ceiling() -> None:
    """The ends of the loudest noise are bounded as the noise is."""
    noise = np.sign(np.random.default_rng(1).standard_normal(5000)).astype(np.float32)
    assert np.abs(alone(noise, 16_000)).max() < 3


class Breaking(Ffmpeg):
    """An ffmpeg that fails after a second of sound."""

    async def describe(self, path: Path, container: Container, **_: Any) -> Source:
        return Source(16_000, 1)

    async def decode(self, path: Path, container: Container, **_: Any) -> AsyncGenerator[bytes, None]:
        yield sampled(tone, 16_000, 16_000).tobytes()
        raise GiveUp("it broke", reason="undecodable")


async def test_breaks_off(tmp_path: Path) -> None:
    """A damaged file is heard to its last sample, and the rest is silence."""
    path = tmp_path / "a.flac"
    path.touch()
    told: list[Mismatch] = []
    piece = Sound(as_key(path), Container.FLAC, False, Samples(60_000))
    blocks = [block async for block in decode_pieces([piece], local, Breaking("broken"), tmp_path, report=told.append)]
    heard = np.concatenate(blocks)[:, 0]
    assert told == [Mismatch(0, Samples(60_000), Samples(48_000), "undecodable")]
    assert np.abs(heard[:48_000] - sampled(tone, 48_000, SAMPLE_RATE)).max() < 0.001
    assert not heard[48_000:].any()


async def test_changes_within(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """A file whose rate changes to and fro has the inspected length or is given up; it is never longer."""
    low, high = (
        recorded(sampled(tone, rate // 4, rate), rate, ADTS, tmp_path / str(rate)).read_bytes()
        for rate in (8000, 48_000)
    )
    path = tmp_path / "mixed"
    path.write_bytes((low + high) * 10)
    facts = await inspect_chunk(path, ffmpeg, max_seconds=60)
    assert 4 * SAMPLE_RATE < facts.samples < 8 * SAMPLE_RATE
    heard = await joined([Sound(as_key(path), facts.container, False, facts.samples)], ffmpeg, tmp_path)
    assert np.abs(heard).max() < 1


def test_memory() -> None:
    """Hours take no more memory than a minute."""
    resampler = Resampler(44_100, 2, 0)
    block = np.zeros((1 << 15, 2), np.float32)
    tracemalloc.start()
    try:
        for _ in range(200):
            resampler.put(block)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
