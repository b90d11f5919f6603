"""How much louder or softer an episode becomes: one gain for the whole, so that it is heard as it was said."""

from dataclasses import dataclass

from bot.audio.loudness import Meter

CEILING_DBTP = -2.0  # directories ask for -1; MP3 at speech rates puts up to 1 dB on top
MAX_GAIN_DB = 30.0  # what is further down is noise for the most part
MAX_MAKE_UP_DB = 6.0  # for what the limiter takes; more would only bend the sound
_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Level:
    gain_db: float = 0.0
    limited: bool = False  # there are peaks that go over the ceiling with it


def level_for(meter: Meter, target: float) -> Level:
    """What brings the measured sound to `target` LUFS. Sound without loudness is left alone."""
    loudness = meter.integrated()
    if loudness is None:
        return Level()
    plain = min(target - loudness, MAX_GAIN_DB)
    gain_db = plain
    if meter.true_peak() + plain <= CEILING_DBTP:
        return Level(plain)
    for _ in range(_ROUNDS):
        heard = meter.limited(gain_db, CEILING_DBTP)
        if heard is None:
            break
        gain_db = min(max(gain_db + target - heard, plain), plain + MAX_MAKE_UP_DB, MAX_GAIN_DB)
    return Level(gain_db, limited=True)
