"""The verification of an episode."""

import functools
import subprocess
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from bot.demo.slicing import Slicer, speech
from bot.demo.verification import Signal, Verdict, compare, verify_episode
from tests.lab import decode


@functools.cache
def truth() -> tuple[bytes, ...]:
    """Two runs, some 10 s each."""
    runs = []
    for part in (1, 2):
        run = Slicer(part, chunk_seconds=5)
        run.feed(speech(part)[:500])
        run.end()
        runs.append(run.ogg())
    return tuple(runs)


@functools.cache
def signals() -> tuple[Signal, ...]:
    return tuple(decode(run) for run in truth())


def mp3(sound: Signal, path: Path) -> Path:
    """Encode the sound with an independent encoder, which adds its own LAME tag."""
    source = ["-f", "f32le", "-ar", "48000", "-ac", "1", "-i", "-"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *source, "-b:a", "64k", str(path)]
    subprocess.run(command, input=sound.astype(np.float32).tobytes(), check=True)
    return path


def verdict(parts: Sequence[Signal], tmp_path: Path) -> Verdict:
    episode = mp3(np.concatenate(parts), tmp_path / "episode.mp3")
    return verify_episode(episode, truth(), imageio_ffmpeg.get_ffmpeg_exe())


def test_a_right_episode_has_no_problems(tmp_path: Path) -> None:
    """The same sound as MP3 passes, in step to the sample, also when it is louder."""
    found = verdict([1.7 * run for run in signals()], tmp_path)
    assert found.problems == ()
    assert found.ok
    assert found.actual == found.expected == 2 * (500 * 960 - 3840)
    assert len(found.comparisons) > 8
    assert {abs(comparison.lag) for comparison in found.comparisons} <= {0, 1}


def test_the_bytes_do_as_well_as_the_file(tmp_path: Path) -> None:
    """An episode that was downloaded is compared without a file of its own."""
    episode = mp3(np.concatenate(signals()), tmp_path / "episode.mp3").read_bytes()
    assert verify_episode(episode, truth(), imageio_ffmpeg.get_ffmpeg_exe()).ok


def test_a_seam_that_loses_80_ms(tmp_path: Path) -> None:
    """Sound missing at a seam is reported as a shorter length and an early rest."""
    first, second = signals()
    found = verdict([first, second[3840:]], tmp_path)
    assert found.problems[0] == "it is 948480 samples long, 952320 were broadcast (-3840)"
    assert any("-3840 samples off" in problem for problem in found.problems)
    assert not any(problem.startswith("at 2.0 s") for problem in found.problems)


def test_a_shift_of_some_samples(tmp_path: Path) -> None:
    """A delay is reported although the length is right."""
    first, second = signals()
    found = verdict([np.zeros(20, np.float32), first, second[:-20]], tmp_path)
    assert found.actual == found.expected
    assert any("20 samples off" in problem for problem in found.problems)


def test_runs_in_the_wrong_order(tmp_path: Path) -> None:
    """Parts in the wrong order are reported as different."""
    found = verdict(signals()[::-1], tmp_path)
    assert any("sounds different" in problem for problem in found.problems)


def test_a_gap(tmp_path: Path) -> None:
    """Silence in place of sound is reported as different."""
    first, second = signals()
    silent = first.copy()
    silent[180_000:320_000] = 0
    assert any("sounds different" in problem for problem in verdict([silent, second], tmp_path).problems)


@pytest.mark.parametrize("episode", [b"", b"<html>not found</html>", b"\xff\xfb" * 300])
def test_no_audio_at_all(episode: bytes) -> None:
    """A file without audio gives a verdict, not an exception."""
    found = verify_episode(episode, truth(), imageio_ffmpeg.get_ffmpeg_exe())
    assert "it is 0 samples long, 952320 were broadcast (-952320)" in found.problems


def test_nothing_to_compare_is_not_right() -> None:
    """An empty broadcast does not pass."""
    nothing = np.zeros(0, np.float32)
    assert not compare(nothing, []).ok
    assert not compare(np.zeros(96_000, np.float32), [np.zeros(96_000, np.float32)]).ok
