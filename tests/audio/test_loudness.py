"""The meter against known values and against ffmpeg."""

import re
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.audio import limiter
from bot.audio.loudness import SLOTS, Meter, predict_limited
from bot.audio.peaks import Pcm
from tests.audio.levels import gated, loudness, metered, true_peak
from tests.audio.sounds import Studio, signal


def tone(frequency: float, level_db: float, seconds: float = 10, phase: float = 0.0) -> Pcm:
    time = np.arange(int(seconds * 48_000)) / 48_000
    return (10 ** (level_db / 20) * np.sin(2 * np.pi * frequency * time + phase)).astype(np.float32)[:, None]


@pytest.mark.parametrize("level", [-3, -23, -33])
def test_calibration(level: float) -> None:
    """A 997 Hz tone on both channels has its level in dBFS as its loudness in LUFS (BS.1770-4, section 2)."""
    measured = loudness(tone(997, level))
    assert measured is not None
    assert measured == pytest.approx(level, abs=0.05)


@pytest.mark.parametrize("channels", [1, 2])
def test_against_ffmpeg(channels: int, studio: Studio) -> None:
    """Integrated loudness with pauses, and true peak, equal those of ffmpeg's ebur128, for one channel and two."""
    sound = np.stack([signal(48_000 * 20), 0.3 * signal(48_000 * 20, 2)], axis=1)[:, :channels]
    sound[48_000 * 5 : 48_000 * 9] *= 0.001
    sound[48_000 * 12 : 48_000 * 15] *= 0.2
    source = ("-f", "f32le", "-ar", "48000", "-ac", str(channels), "-i", "pipe:")
    command = [studio.exe, *source, "-af", "ebur128=peak=true:dualmono=true", "-f", "null", "-"]
    asked = subprocess.run(command, input=sound.tobytes(), capture_output=True, check=True)
    summary = asked.stderr.decode().rpartition("Summary:")[2]
    integrated, peak = (re.search(rf"{name}:\s+(-?[\d.]+)", summary) for name in ("I", "Peak"))
    assert integrated is not None
    assert peak is not None
    assert loudness(sound) == pytest.approx(float(integrated[1]), abs=0.06)
    assert true_peak(sound) == pytest.approx(float(peak[1]), abs=0.15)


@pytest.mark.parametrize("phase", [0.0, np.pi / 4, 1.0])
def test_peak_between_samples(phase: float) -> None:
    """A peak that falls between two samples is found (a quarter of the rate, samples 3 dB below the peak)."""
    swelling = tone(12_000, -6, 1, phase) * np.minimum(1, np.arange(48_000) / 4800).astype(np.float32)[:, None]
    assert true_peak(swelling) == pytest.approx(-6, abs=0.15)


def test_silence() -> None:
    """Silence has no loudness and no peak."""
    silence = np.zeros((100_000, 1), np.float32)
    assert loudness(silence) is None
    assert true_peak(silence) == -np.inf
    assert gated(Meter().hops()[0]) is None


def test_short_sound() -> None:
    """A sound shorter than a gating block is measured as one block."""
    measured = loudness(tone(997, -20, 0.25))
    assert measured is not None
    assert measured == pytest.approx(-20, abs=1)


SOUND = np.concatenate([signal(260_000), np.zeros(9000, np.float32), 0.1 * signal(30_000, 3)])[:, None]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, len(SOUND)), max_size=8))
def test_blocks_do_not_matter(cuts: list[int]) -> None:
    """The same sound in blocks of any length measures the same, to the bit."""
    meter = Meter()
    for part in np.split(SOUND, sorted(cuts)):
        meter.add(part)
        meter.hops()  # a look in between changes nothing
    (energies, slots), whole = meter.hops(), metered(SOUND, len(SOUND)).hops()
    assert np.array_equal(energies, whole[0])
    assert np.array_equal(slots, whole[1])


def test_prediction() -> None:
    """The loudness behind a gain and the limiter is predicted within 0.3 LU."""
    heights = np.repeat(np.random.default_rng(5).lognormal(0, 0.8, 100), 4800)[:, None]
    sound = (signal(480_000)[:, None] * 0.5 * heights).astype(np.float32)
    energies, slots = metered(sound).hops()
    assert slots.shape == (100, SLOTS)
    factors = np.full(100, 2.0)
    predicted, unlimited = gated(predict_limited(energies, slots, factors, -3)), gated(energies * factors**2)
    assert predicted is not None
    assert unlimited is not None
    assert predicted == pytest.approx(loudness(limiter.limited(2 * sound, -3)), abs=0.3)
    assert predicted < unlimited - 1
