"""The loudness and the true peak of a whole sound, measured with the parts that the product measures with."""

import math

import numpy as np

from bot.audio.loudness import Meter, gated
from bot.audio.peaks import SPAN, Pcm, true_peaks

WIDTH = 240  # samples


def metered(sound: Pcm, block: int = 50_000) -> Meter:
    """Feed a sound to a meter, in blocks of this many samples."""
    meter = Meter()
    for start in range(0, len(sound), block):
        meter.add(sound[start : start + block])
    return meter


def loudness(sound: Pcm) -> float | None:
    """Return the integrated loudness in LUFS; None where nothing is above the gate."""
    return gated(metered(sound).hops()[0])


def true_peak(sound: Pcm) -> float:
    """Return the true peak in dBTP, minus infinity for silence."""
    behind = -len(sound) % WIDTH + WIDTH + SPAN  # with the places between the last sample and the silence behind it
    peak = float(true_peaks(np.pad(sound, ((SPAN, behind), (0, 0))), WIDTH, 0.0).max())
    return 20 * math.log10(peak) if peak else -math.inf
