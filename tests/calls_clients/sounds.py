"""The microphones of callers, and the search for their sound in what was recorded."""

import wave
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bot.demo.slicing import Slicer, speech
from storage.records import SAMPLE_RATE
from tests.lab import decode

HOP = SAMPLE_RATE // 100
SECONDS = 12
WINDOW = 3 * SAMPLE_RATE
QUIET = 0.003  # root mean square below which a window is none of speech
SURE = 0.5
"""The least correlation of loudness by which a source is found. Browsers change the sound (noise suppression, gain);
another source is below 0.4."""

Pcm = NDArray[np.float32]


@cache
def source(part: int) -> Pcm:
    """Return 12 s of the shipped speech: part 1 or 2."""
    slicer = Slicer(part, 3600)
    slicer.feed(speech(part)[: 50 * SECONDS + 1])
    slicer.end()
    return decode(slicer.ogg())[: SECONDS * SAMPLE_RATE]


def microphone(part: int, path: Path) -> Path:
    """Write a source as a WAV file that Chromium plays as a microphone."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.clip(source(part), -1, 1) * 32767).astype("<i2").tobytes())
    return path


def likeness(sound: Pcm, part: int) -> float:
    """Return how much the loudness of a recording follows that of a source which is played again and again: the highest
    correlation over all shifts."""
    heard, played = _loudness(sound), _loudness(source(part))
    heard = heard[: len(heard) // len(played) * len(played)] if len(heard) >= len(played) else heard
    pattern = np.resize(played, len(heard) + len(played))
    return max(float(np.corrcoef(heard, pattern[shift : shift + len(heard)])[0, 1]) for shift in range(len(played)))


@dataclass(frozen=True, slots=True)
class Alignment:
    """Places at which a recording has a source that is played again and again, by windows of 3 s."""

    errors_ms: tuple[float, ...]
    """Distance of each window with speech from the place that most have."""
    sure: tuple[float, ...]
    """Correlation of each with the source at its place: 1 is the same wave."""


def alignment(sound: Pcm, part: int) -> Alignment:
    """Find each window of 3 s in a source. Windows in which the source pauses are left out."""
    played = source(part).astype(np.float64)
    spectrum = np.conj(np.fft.rfft(played))
    energy = np.concatenate(([0.0], np.cumsum(np.concatenate((played, played)) ** 2)))
    places, sure = [], []
    for start in range(0, len(sound) - WINDOW + 1, WINDOW):
        heard = np.zeros(len(played))
        heard[:WINDOW] = sound[start : start + WINDOW]
        level = float((heard**2).sum())
        if level / WINDOW < QUIET**2:
            continue
        matches = np.fft.irfft(np.conj(np.fft.rfft(heard) * spectrum), len(played))
        at = int(matches.argmax())
        sure.append(float(matches[at] / np.sqrt(level * (energy[at + WINDOW] - energy[at]))))
        places.append((at - start) % len(played))
    middle = _middle(places, len(played))
    errors = ((place - middle + len(played) // 2) % len(played) - len(played) // 2 for place in places)
    return Alignment(tuple(abs(error) * 1000 / SAMPLE_RATE for error in errors), tuple(sure))


def _middle(places: list[int], period: int) -> int:
    """Return the place nearest to which most are, on a circle."""
    return min(places, key=lambda place: sum(min((place - each) % period, (each - place) % period) for each in places))


def _loudness(sound: Pcm) -> NDArray[np.float64]:
    hops = sound[: len(sound) // HOP * HOP].astype(np.float64).reshape(-1, HOP)
    levels: NDArray[np.float64] = np.log10(np.sqrt((hops**2).mean(axis=1)) + 1e-3)
    return levels
