"""The wheel's ffmpeg, and sounds made with it."""

from pathlib import Path

import pytest

from bot.audio.ffmpeg import Ffmpeg
from tests.audio.remembering import Remembering
from tests.audio.sounds import Studio
from tests.world import find_ffmpeg


@pytest.fixture
def ffmpeg() -> Ffmpeg:
    """An ffmpeg with slots of its own, which runs once for each content. It is found once: to ask the program again for
    each test takes as long as to decode. Tests of the runs themselves have another one."""
    found = find_ffmpeg()
    return Remembering(found.exe, found.version)


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(find_ffmpeg().exe, tmp_path)
