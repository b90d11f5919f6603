"""How much louder or softer an episode becomes: one gain for the whole, so that it is heard as it was said."""

from dataclasses import dataclass

import numpy as np

from bot.audio.leveller import CEILING_DBTP
from bot.audio.loudness import Meter, gated, limited
from bot.audio.peaks import PeakMeter

MAX_GAIN_DB = 30.0  # what is further down is noise for the most part
MAX_MAKE_UP_DB = 6.0  # for what the limiter takes; more would only bend the sound
_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Level:
    gain_db: float = 0.0
    limited: bool = False  # there are peaks that go over the ceiling with it


def level_for(meter: Meter, peak: PeakMeter, target: float) -> Level:
    """What brings the measured sound to `target` LUFS. Sound without loudness is left alone."""
    energies, slots = meter.hops()
    loudness = gated(energies)
    if loudness is None:
        return Level()
    plain = min(target - loudness, MAX_GAIN_DB)
    gain_db = plain
    if peak.dbtp() + plain <= CEILING_DBTP:
        return Level(plain)
    for _ in range(_ROUNDS):
        heard = gated(limited(energies, slots, np.full(len(energies), 10 ** (gain_db / 20)), CEILING_DBTP))
        if heard is None:
            break
        gain_db = min(max(gain_db + target - heard, plain), plain + MAX_MAKE_UP_DB, MAX_GAIN_DB)
    return Level(gain_db, limited=True)
