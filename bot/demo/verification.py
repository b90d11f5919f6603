"""Compares a published episode with what was broadcast: by other means than those that made it.

Both are decoded as a player would, and laid over each other: the same number of samples, and in every place the
same sound at the same time. The level may differ, and what MP3 does to the sound.
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
MAX_LAG = SAMPLE_RATE // 10  # more than the 80 ms that wrong joining loses at a seam
LAG_ALLOWED = 1
LIKENESS_NEEDED = 0.85
QUIET = 10 ** (-45 / 20)  # of full scale: below it there is nothing to compare
PLACES_NEEDED = 3
DECODE_S = 120

Signal = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Place:
    """One window: the episode is `lag` samples late there, and like what was broadcast (1: the same shape)."""

    second: float
    lag: int
    likeness: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Lengths in samples at 48 kHz. `problems` are sentences; there are none when all is well."""

    expected: int
    found: int
    places: tuple[Place, ...]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


def verify_episode(episode: Path | bytes, truth: Sequence[bytes], ffmpeg: str) -> Verdict:
    """`truth`: one continuous Ogg file for each run. Takes a second for a minute of sound: call it in a thread."""
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(episode, bytes):
            path = Path(folder) / "episode.mp3"
            path.write_bytes(episode)
        else:
            path = episode
        found = decode(path, ffmpeg)
        runs = []
        for number, data in enumerate(truth):
            run = Path(folder) / f"run{number}.ogg"
            run.write_bytes(data)
            runs.append(decode(run, ffmpeg))
    return compare(found, runs)


def compare(found: Signal, runs: Sequence[Signal]) -> Verdict:
    """The verdict over decoded sound; `runs` follow each other without a pause."""
    truth = np.concatenate(runs) if runs else np.zeros(0, np.float32)
    seams = np.cumsum([len(run) for run in runs])[:-1]
    places = tuple(_places(truth, found, _windows(len(truth), seams)))
    problems = []
    if len(found) != len(truth):
        problems.append(f"it is {len(found)} samples long, {len(truth)} were broadcast ({len(found) - len(truth):+})")
    if len(places) < PLACES_NEEDED:
        problems.append(f"only {len(places)} places are loud enough to compare")
    for place in places:
        if place.likeness < LIKENESS_NEEDED:
            problems.append(f"at {place.second:.1f} s it sounds different (likeness {place.likeness:.2f})")
        elif abs(place.lag) > LAG_ALLOWED:
            problems.append(f"at {place.second:.1f} s it is {place.lag} samples off")
    return Verdict(len(truth), len(found), places, tuple(problems))


def decode(path: Path, ffmpeg: str) -> Signal:
    """All of a file's sound, mono at 48 kHz; empty when there is none."""
    command = [ffmpeg, "-v", "quiet", "-nostdin", "-i", str(path), "-map", "0:a:0"]
    command += ["-f", "f32le", "-ac", "1", "-ar", str(SAMPLE_RATE), "-"]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=DECODE_S, check=False)
    return np.frombuffer(done.stdout, np.float32)


def _windows(length: int, seams: Iterable[int]) -> list[int]:
    """Where windows begin: all over, the very end, and across every seam."""
    starts = {*range(0, length - WINDOW, STEP), length - WINDOW, *(int(seam) - WINDOW // 2 for seam in seams)}
    return sorted(start for start in starts if 0 <= start <= length - WINDOW)


def _places(truth: Signal, found: Signal, starts: Iterable[int]) -> Iterable[Place]:
    for start in starts:
        window = truth[start : start + WINDOW]
        if np.sqrt(np.mean(np.square(window))) >= QUIET:
            yield _place(window, found, start)


def _place(window: Signal, found: Signal, start: int) -> Place:
    """The best lag of a window by normalised cross-correlation."""
    around = np.zeros(len(window) + 2 * MAX_LAG, np.float32)
    first = max(0, start - MAX_LAG)
    there = found[first : start + len(window) + MAX_LAG]
    offset = first - (start - MAX_LAG)
    around[offset : offset + len(there)] = there
    size = 1 << (len(around) + len(window)).bit_length()
    spectrum = np.fft.rfft(around, size) * np.conj(np.fft.rfft(window, size))
    products = np.fft.irfft(spectrum, size)[: 2 * MAX_LAG + 1]
    energy = np.concatenate(([0.0], np.cumsum(np.square(around, dtype=np.float64))))
    energies = energy[len(window) :] - energy[: -len(window)]
    likeness = products / np.sqrt(np.maximum(energies * np.sum(np.square(window, dtype=np.float64)), 1e-12))
    best = int(np.argmax(likeness))
    return Place(start / SAMPLE_RATE, best - MAX_LAG, float(likeness[best]))
