"""The level of an episode: its one gain."""

import numpy as np
import pytest

from bot.audio.level import MAX_GAIN_DB, Level, level_for
from bot.audio.leveller import CEILING_DBTP
from bot.audio.limiter import limited
from bot.audio.peaks import Pcm, PeakMeter
from tests.audio.test_limiter import peaky
from tests.audio.test_loudness import metered, tone, true_peak


def level(sound: Pcm, target: float) -> Level:
    peak = PeakMeter()
    peak.add(sound)
    return level_for(metered(sound), peak, target)


@pytest.mark.parametrize("target", [-23.0, -16.0])
def test_level_of_speech(target: float) -> None:
    """Sound with high peaks reaches its level nearly, by one gain and the limiter."""
    sound = peaky()
    found = level(sound, target)
    heard = sound * np.float32(10 ** (found.gain_db / 20))
    if found.limited:
        heard = limited(heard, CEILING_DBTP)
    assert metered(heard).integrated() == pytest.approx(target, abs=0.7)
    assert true_peak(heard) <= CEILING_DBTP + 0.1


def test_level_without_limiting() -> None:
    """Where the peaks allow it there is one gain and nothing else, up or down."""
    for loudness, gain_db in ((-30, 14), (-3, -13)):
        found = level(tone(997, loudness), -16)
        assert found.gain_db == pytest.approx(gain_db, abs=0.05)
        assert not found.limited


def test_level_of_next_to_nothing() -> None:
    """Silence is left alone, and a whisper is not raised without end."""
    assert level(np.zeros((100_000, 1), np.float32), -16) == Level()
    assert level(tone(997, -60), -16).gain_db == MAX_GAIN_DB
