"""Comparison of a published episode with its broadcast, by other means than those that made the episode.

Both are decoded as a player would decode them. They must have the same number of samples, and the same sound at the
same time. The level may differ, and so may what MP3 takes away.
"""

import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storage.records import SAMPLE_RATE

WINDOW = SAMPLE_RATE  # 1 s
STEP = 2 * SAMPLE_RATE
MAX_LAG = SAMPLE_RATE // 10  # more than the 80 ms that a wrong join loses at a seam
LAG_ALLOWED = 1
LIKENESS_NEEDED = 0.85
QUIET = 10 ** (-45 / 20)  # of full scale; quieter windows are not compared
COMPARISONS_NEEDED = 3
DECODE_S = 120

Signal = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The window at `second`: the episode is `lag` samples late there; `likeness` is 1 for the same waveform."""

    second: float
    lag: int
    likeness: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a comparison: lengths in samples at 48 kHz, and a sentence for each problem."""

    expected: int
    actual: int
    comparisons: tuple[Comparison, ...]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


def verify_episode(episode: Path | bytes, truth: Sequence[bytes], ffmpeg: str, *, pause: int = 0) -> Verdict:
    """Compare an episode with `truth`, one continuous Ogg file for each run; `pause` samples of silence lie between.

    Takes about a second for each minute of sound: call it in a thread.
    """
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(episode, bytes):
            path = Path(folder) / "episode"
            path.write_bytes(episode)
        else:
            path = episode
        episode_sound = decode(path, ffmpeg)
        runs = []
        for number, data in enumerate(truth):
            run = Path(folder) / f"run{number}.ogg"
            run.write_bytes(data)
            runs.append(decode(run, ffmpeg))
    silence = np.zeros(pause, np.float32)
    return compare(episode_sound, [part for run in runs for part in (silence, run)][1:] if pause else runs)


def compare(episode: Signal, runs: Sequence[Signal]) -> Verdict:
    """Compare decoded sound; `runs` continue each other without a pause."""
    truth = np.concatenate(runs) if runs else np.zeros(0, np.float32)
    seams = np.cumsum([len(run) for run in runs])[:-1]
    comparisons = tuple(_comparisons(truth, episode, _windows(len(truth), seams)))
    problems = []
    if (excess := len(episode) - len(truth)) != 0:
        problems.append(f"it is {len(episode)} samples long, {len(truth)} were broadcast ({excess:+})")
    if len(comparisons) < COMPARISONS_NEEDED:
        problems.append(f"only {len(comparisons)} windows are loud enough to compare")
    for comparison in comparisons:
        if comparison.likeness < LIKENESS_NEEDED:
            problems.append(f"at {comparison.second:.1f} s it sounds different (likeness {comparison.likeness:.2f})")
        elif abs(comparison.lag) > LAG_ALLOWED:
            problems.append(f"at {comparison.second:.1f} s it is {comparison.lag} samples off")
    return Verdict(len(truth), len(episode), comparisons, tuple(problems))


def decode(path: Path, ffmpeg: str) -> Signal:
    """Decode all of a file, mono at 48 kHz; empty when it holds no sound."""
    command = [ffmpeg, "-v", "quiet", "-nostdin", "-i", str(path), "-map", "0:a:0"]
    command += ["-f", "f32le", "-ac", "1", "-ar", str(SAMPLE_RATE), "-"]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=DECODE_S, check=False)
    return np.frombuffer(done.stdout, np.float32)


def _windows(length: int, seams: Iterable[int]) -> list[int]:
    """List where windows begin: every two seconds, at the very end, and across every seam."""
    starts = {*range(0, length - WINDOW, STEP), length - WINDOW, *(int(seam) - WINDOW // 2 for seam in seams)}
    return sorted(start for start in starts if 0 <= start <= length - WINDOW)


def _comparisons(truth: Signal, episode: Signal, starts: Iterable[int]) -> Iterable[Comparison]:
    for start in starts:
        window = truth[start : start + WINDOW]
        if np.sqrt(np.mean(np.square(window))) >= QUIET:
            yield _compare_window(window, episode, start)


def _compare_window(window: Signal, episode: Signal, start: int) -> Comparison:
    """Find the lag at which a window is most like the episode, by normalised cross-correlation."""
    around = np.zeros(len(window) + 2 * MAX_LAG, np.float32)
    first = max(0, start - MAX_LAG)
    there = episode[first : start + len(window) + MAX_LAG]
    offset = first - (start - MAX_LAG)
    around[offset : offset + len(there)] = there
    size = 1 << (len(around) + len(window)).bit_length()
    spectrum = np.fft.rfft(around, size) * np.conj(np.fft.rfft(window, size))
    products = np.fft.irfft(spectrum, size)[: 2 * MAX_LAG + 1]
    energy = np.concatenate(([0.0], np.cumsum(np.square(around, dtype=np.float64))))
    energies = energy[len(window) :] - energy[: -len(window)]
    likeness = products / np.sqrt(np.maximum(energies * np.sum(np.square(window, dtype=np.float64)), 1e-12))
    best = int(np.argmax(likeness))
    return Comparison(start / SAMPLE_RATE, best - MAX_LAG, float(likeness[best]))
