"""The microphones of callers, and the search for their sound in what was recorded."""

import wave
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bot.demo.slicing import Slicer, speech
from storage.records import SAMPLE_RATE
from tests.lab import decode

HOP = SAMPLE_RATE // 100
SECONDS = 12
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


def _loudness(sound: Pcm) -> NDArray[np.float64]:
    hops = sound[: len(sound) // HOP * HOP].astype(np.float64).reshape(-1, HOP)
    levels: NDArray[np.float64] = np.log10(np.sqrt((hops**2).mean(axis=1)) + 1e-3)
    return levels
