"""The level of an episode: its gain, and what happens to the peaks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.audio.level import CEILING_DBTP, MAX_GAIN_DB, Level, level_for
from bot.audio.limiter import CONTEXT, Limiter
from tests.audio.sounds import Pcm, signal
from tests.audio.test_loudness import metered, tone


def limited(sound: Pcm, gain_db: float, cuts: list[int] | None = None, ceiling_db: float = -2) -> Pcm:
    limiter = Limiter(gain_db=gain_db, ceiling_db=ceiling_db)
    parts = [limiter.push(part) for part in np.split(sound, sorted(cuts or []))]
    return np.concatenate([*parts, limiter.flush()])


def peaky(samples: int = 480_000) -> Pcm:
    """Like speech: syllables of very different height, with pauses."""
    heights = np.random.default_rng(5).lognormal(0, 0.8, samples // 9600)
    heights[::7] = 0
    return (signal(samples) * 0.02 * np.repeat(heights, 9600)).astype(np.float32)


def test_peaks_stay_below_the_ceiling() -> None:
    """However much is asked for, no true peak goes over the ceiling, and the length stays the same."""
    sound = peaky()
    for gain_db in (0, 12, 24):
        heard = limited(sound, gain_db)
        assert len(heard) == len(sound)
        assert metered(heard).true_peak() <= -2 + 0.1


def test_untouched_where_nothing_is_too_loud() -> None:
    """Below the ceiling there is just the gain, also a little aside of what is too loud."""
    sound = signal(200_000) * 0.1
    sound[100_000:100_100] *= 20
    heard = limited(sound, 6)
    factor = np.float32(10 ** (6 / 20))
    assert np.allclose(heard[: 100_000 - CONTEXT], sound[: 100_000 - CONTEXT] * factor, atol=1e-6)
    assert np.allclose(heard[100_100 + CONTEXT :], sound[100_100 + CONTEXT :] * factor, atol=1e-6)


def test_bends_no_wave() -> None:
    """What is turned down keeps its form: a loud tone stays a tone."""
    heard = limited(tone(440, 0, 1), 6)[9600:-9600]
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    around = int(np.argmax(spectrum))
    rest = np.concatenate([spectrum[: around - 10], spectrum[around + 10 :]])
    assert rest.max() < spectrum[around] / 1000


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 20_000), st.lists(st.integers(0, 20_000), max_size=6))
def test_blocks_do_not_matter(samples: int, cuts: list[int]) -> None:
    """However the sound is cut into blocks, each sample comes out once and the same."""
    sound = signal(20_000)[:samples]
    heard = limited(sound, 12, [min(cut, samples) for cut in cuts])
    assert len(heard) == samples
    assert (heard == limited(sound, 12)).all()


@pytest.mark.parametrize("target", [-23.0, -16.0])
def test_level_of_speech(target: float) -> None:
    """Sound with high peaks reaches its level nearly, by one gain and the limiter."""
    sound = peaky()
    level = level_for(metered(sound), target)
    heard = metered(
        limited(sound, level.gain_db, ceiling_db=CEILING_DBTP) if level.limited else sound * 10 ** (level.gain_db / 20)
    )
    assert heard.integrated() == pytest.approx(target, abs=0.7)
    assert heard.true_peak() <= CEILING_DBTP + 0.1


def test_level_without_limiting() -> None:
    """Where the peaks allow it there is one gain and nothing else, up or down."""
    for loudness, gain_db in ((-30, 14), (-3, -13)):
        level = level_for(metered(tone(997, loudness)), -16)
        assert level.gain_db == pytest.approx(gain_db, abs=0.05)
        assert not level.limited


def test_level_of_next_to_nothing() -> None:
    """Silence is left alone, and a whisper is not raised without end."""
    assert level_for(metered(np.zeros(100_000, np.float32)), -16) == Level()
    assert level_for(metered(tone(997, -60)), -16).gain_db == MAX_GAIN_DB
