"""The lines that ffmpeg writes of a source."""

import timeit
from functools import partial
from time import thread_time

import pytest

from bot.audio.source import read_source


@pytest.mark.parametrize(
    "unit", [b"\n", b"Stream #0:0: Audio: , 1 Hz", b"Stream #0:0: Audio: , ", b": Audio: , ", b" ", b", 1"]
)
def test_what_ffmpeg_says_is_read_in_linear_time(unit: bytes) -> None:
    """Twice the text of ffmpeg, which quotes the file, is at most 2.5 times the work."""
    said = [b"Stream #0:0" + unit * (length // len(unit)) for length in (50_000, 100_000)]
    best = 1e9
    for _ in range(6):  # a machine that does other work meanwhile is no reason
        one, two = (
            min(timeit.repeat(partial(read_source, text), number=1, repeat=5, timer=thread_time)) for text in said
        )
        best = min(best, two / max(one, 1e-4))
        if best <= 2.5:
            break
    assert best <= 2.5
