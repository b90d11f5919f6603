"""The wheel's ffmpeg, and sounds made with it."""

from pathlib import Path

import pytest

from bot.audio.ffmpeg import Ffmpeg
from tests.audio.sounds import Studio


@pytest.fixture
def ffmpeg() -> Ffmpeg:
    return Ffmpeg.find()


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(Ffmpeg.find().exe, tmp_path)
