"""The limiter: sound that is too loud is turned down, the same in any parts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bot.audio.limiter import limited
from bot.audio.peaks import Pcm, true_peaks
from bot.audio.reach import CONTEXT
from tests.audio.levels import true_peak
from tests.audio.sounds import signal
from tests.audio.test_loudness import tone


def peaky(samples: int = 480_000) -> Pcm:
    """Return sound like speech: syllables of very different height, with pauses."""
    heights = np.random.default_rng(5).lognormal(0, 0.8, samples // 9600 + 1)
    heights[::7] = 0
    return (signal(samples) * 0.02 * np.repeat(heights, 9600)[:samples]).astype(np.float32)[:, None]


@pytest.mark.parametrize("factor", [1, 4, 16])
def test_peaks_stay_below_the_ceiling(factor: float) -> None:
    """No true peak exceeds the ceiling, however loud the sound, and the length stays."""
    sound = peaky() * np.float32(factor)
    heard = limited(sound, -2)
    assert heard.shape == sound.shape
    assert true_peak(heard) <= -2 + 0.1


def test_steep_sound_is_kept_lower() -> None:
    """Wide noise stays away from the ceiling, for an encoder of few bits makes it higher; a low tone reaches it."""
    noise = np.random.default_rng(2).standard_normal((100_000, 1)).astype(np.float32)
    assert true_peak(limited(noise, -3)) < -3.3
    assert true_peak(limited(tone(300, 6), -3)) == pytest.approx(-3, abs=0.1)


def test_untouched_where_nothing_is_too_loud() -> None:
    """Below the ceiling no bit changes, also near sound that is too loud."""
    sound = 0.2 * signal(200_000)[:, None]
    sound[100_000:100_100] *= 20
    heard = limited(sound, -2)
    assert (heard[: 100_000 - CONTEXT] == sound[: 100_000 - CONTEXT]).all()
    assert (heard[100_100 + CONTEXT :] == sound[100_100 + CONTEXT :]).all()
    assert (heard[100_000:100_100] != sound[100_000:100_100]).any()


def test_bends_no_wave() -> None:
    """A loud tone that is turned down stays a tone."""
    heard = limited(tone(440, 6, 1), -2)[9600:-9600, 0]
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    around = int(np.argmax(spectrum))
    rest = np.concatenate([spectrum[: around - 10], spectrum[around + 10 :]])
    assert rest.max() < spectrum[around] / 1000


@pytest.mark.parametrize("kind", ["speech", "noise", "square", "impulses", "nyquist"])
@pytest.mark.parametrize("steep", [0.0, 0.4])
def test_no_peak_escapes_the_bound(kind: str, steep: float) -> None:
    """Parts that are not interpolated have no peak above the level, whatever the sound."""
    count = 96_000
    noise = np.random.default_rng(4).standard_normal(count)
    kinds: dict[str, NDArray[np.floating]] = {
        "speech": peaky(count)[:, 0] * 8,
        "noise": noise,
        "square": np.sign(np.sin(np.arange(count) / 7 + noise / 50)),
        "impulses": np.where(np.abs(noise) > 2.5, noise, 0),
        "nyquist": np.cos(np.pi * np.arange(count) + 0.4) * np.hanning(count),
    }
    sound = kinds[kind].astype(np.float32)[:, None]
    every = true_peaks(sound, 48, -1.0, steep)
    for above in np.quantile(every, [0.2, 0.5, 0.8, 0.99]):
        some = true_peaks(sound, 48, float(above), steep)
        high = every > above
        assert (some[high] == every[high]).all()
        assert (some[~high] <= above).all()


def test_channels_go_together() -> None:
    """The loudest channel decides for both, so that sound does not move from side to side."""
    loud = peaky(60_000) * 16
    heard = limited(np.concatenate([loud, 0.125 * loud], axis=1), -2)
    assert (heard[:, 0] * np.float32(0.125) == heard[:, 1]).all()
    assert (heard[:, :1] == limited(loud, -2)).all()


LONG = np.concatenate([peaky(30_000) * 250, np.repeat(np.float32(0.9), 4000)[:, None], peaky(16_000) * 100])
WIDE = np.concatenate([LONG, LONG[::-1]], axis=1)
WHOLE, WIDE_WHOLE = limited(LONG, -2), limited(WIDE, -2)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(LONG)), st.integers(0, len(LONG)), st.booleans())
def test_any_part_alone(one: int, other: int, wide: bool) -> None:
    """Any part, limited alone with CONTEXT around it, is the same to the bit."""
    first, last = sorted((one, other))
    begin, end = max(0, first - CONTEXT), min(len(LONG), last + CONTEXT)
    sound, whole = (WIDE, WIDE_WHOLE) if wide else (LONG, WHOLE)
    alone = limited(sound[begin:end], -2, first=begin)[first - begin : last - begin]
    assert (alone == whole[first:last]).all()


def test_the_whole_is_limited() -> None:
    """The sound of these tests is limited nearly everywhere."""
    assert 0.3 < np.mean(WHOLE != LONG) < 0.99


def test_nothing() -> None:
    """Nothing in, nothing out."""
    assert limited(np.zeros((0, 2), np.float32), -2).shape == (0, 2)
