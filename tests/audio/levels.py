"""The loudness and the true peak of a whole sound, measured with the parts that the product measures with."""

import math

import numpy as np

from bot.audio.loudness import REFERENCE_DB, Energies, Meter, lufs
from bot.audio.peaks import SPAN, Pcm, true_peaks

WIDTH = 240  # samples
ABSOLUTE_GATE = 10 ** ((-70 + REFERENCE_DB) / 10)


def metered(sound: Pcm, block: int = 50_000) -> Meter:
    """Feed a sound to a meter, in blocks of this many samples."""
    meter = Meter()
    for start in range(0, len(sound), block):
        meter.add(sound[start : start + block])
    return meter


def gated(hops: Energies) -> float | None:
    """Return the integrated loudness in LUFS; None where nothing is above the gate (BS.1770-4, section 2.5: an absolute
    gate at -70 LUFS, then a relative one 10 LU below the rest)."""
    if len(hops) < 4:  # shorter than one gating block: it counts as one
        powers = hops.mean(keepdims=True) if len(hops) else hops
    else:
        powers = (hops[:-3] + hops[1:-2] + hops[2:-1] + hops[3:]) / 4
    powers = powers[powers > ABSOLUTE_GATE]
    if not len(powers):
        return None
    powers = powers[powers > powers.mean() / 10]
    return lufs(float(powers.mean()))


def loudness(sound: Pcm) -> float | None:
    """Return the integrated loudness in LUFS; None where nothing is above the gate."""
    return gated(metered(sound).hops()[0])


def true_peak(sound: Pcm) -> float:
    """Return the true peak in dBTP, minus infinity for silence."""
    behind = -len(sound) % WIDTH + WIDTH + SPAN  # with the places between the last sample and the silence behind it
    peak = float(true_peaks(np.pad(sound, ((SPAN, behind), (0, 0))), WIDTH, 0.0).max())
    return 20 * math.log10(peak) if peak else -math.inf
