"""The gain of each moment of a broadcast, decided forwards, piece by piece, and never changed. Pure.

A piece is measured as a whole before its gains are decided, and no later piece matters; the state that one piece hands
to the next is small and is stored. So a rebuild gives the same samples, and a late piece changes no other one.

The gain follows the loudness of the sound that counts (bot.audio.gate) and holds in between. Its speed depends on the
distance. It reaches the level of another speaker, 6 dB away or more, within about a second (15 dB/s up), since a turn
of 5 s would otherwise be over first; the swell of one voice or of music hardly moves it (2 dB away: 1.7 dB/s, 1 dB: 0.4
dB/s). Downwards it moves as fast as needed, and begins before the loud sound does if both are in the same piece. The
make-up gain compensates the loss in the limiter, and the difference between median and mean: with it the pieces so far
reach the target.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from bot.audio.gate import PLAIN_LUFS, WINDOW, Levels, listened, settled_levels, smoothed
from bot.audio.loudness import HOP, Energies, Meter, SlotPeaks, lufs, predict_limited
from bot.audio.peaks import Pcm

Gains = NDArray[np.int16]  # hundredths of a dB, at the borders of hops
Speech = NDArray[np.bool_]  # one per whole hop: whether its sound counts

CEILING_DBTP = -3.0  # directories ask for -1; MP3 at speech rates puts up to 1.6 dB on top, most on noise
LOWEST_DB, HIGHEST_DB = -20.0, 30.0  # sound that needs more is mostly noise
_UP_DB, _DOWN_DB = 1.5, 3.0  # per hop, at most
_FAR_DB = 6.0  # distance to the target from which on the gain moves at full speed
_AHEAD_DB = 4.0  # a step down of this much begins ahead
_MAKE_UP_DB = 6.0  # at most; more would only distort the sound
_MAKE_UP_S = 60.0  # of past sound that the make-up is measured on
_MAKE_UP_NEAR = 5  # hops around counting ones that are measured too, as in loudness meters
_ROUNDS = 3
_TOP_DB = 3.0  # of the maximum of a voice above its loudness
_BRIDGE = 10  # hops


@dataclass(frozen=True, slots=True)
class LevelState:
    """The state that one piece hands to the next. Levels and gains are in hundredths of a dB."""

    gain: int | None = None  # at the end of the piece; None before the first piece of a room's first broadcast
    decided: bool = False  # whether a sound, or the room's last episodes, decided the gain
    loudest: int | None = None  # recent maximum, in LUFS
    make_up: int = 0
    heard_ds: int = 0  # tenths of a second of sound that the make-up was measured on
    recent: tuple[int, ...] = ()  # levels of the last hops that counted

    def to_json(self) -> str:
        """Return the state as JSON, some 200 bytes."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the state that `to_json` wrote."""
        return cls.of(json.loads(text))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Read the state from its fields as JSON."""
        return cls(**{**values, "recent": tuple(values["recent"])})


def begin(start_db: float | None) -> LevelState:
    """Return the state before the first piece, by the gain of the room's last episodes; None: the first sound
    decides."""
    if start_db is None:
        return LevelState()
    return LevelState(gain=_hundredths(min(max(start_db, LOWEST_DB), HIGHEST_DB)), decided=True)


def curve(pcm: Pcm, state: LevelState, target_lufs: float | None) -> tuple[Gains, LevelState]:
    """Return the gains of a piece at the borders of its hops, 0 to ceil(samples / HOP), and the state for the next one.
    Without a target all gains are 0. 0.7 ms of work per second of sound and channel."""
    if target_lufs is None:
        return np.zeros(_borders(len(pcm)), np.int16), state
    meter = Meter()
    meter.add(pcm)
    gains, _, after = decided(meter, len(pcm), state, target_lufs)
    return gains, after


def decided(
    meter: Meter, samples: int, state: LevelState, target_lufs: float, plain_lufs: float = PLAIN_LUFS
) -> tuple[Gains, Speech, LevelState]:
    """Return the gains and the state as `curve` does, for a piece that was measured in blocks, and which of its hops
    count."""
    energies, slots = meter.hops()
    levels, loudest = listened(energies, slots, _loudest(state, target_lufs), plain_lufs)
    counted = ~np.isnan(levels)
    settled = settled_levels(levels, np.array(state.recent, np.float64) / 100)
    make_up, path = _made_up(energies, slots, counted, target_lufs - settled, state, target_lufs)
    gains = np.rint(np.pad(path, (0, _borders(samples) - len(path)), mode="edge") * 100).astype(np.int16)
    recent = (*state.recent, *(_hundredths(level) for level in levels[counted][-WINDOW:]))
    heard_ds = min(state.heard_ds + int(counted.sum()), int(_MAKE_UP_S * 10))
    after = LevelState(
        int(gains[-1]),
        state.decided or bool(counted.any()),
        None if loudest is None else _hundredths(loudest),
        _hundredths(make_up),
        heard_ds,
        recent[-WINDOW:],
    )
    return gains, counted, after


def _borders(samples: int) -> int:
    return -(-samples // HOP) + 1


def _hundredths(db: float) -> int:
    return round(float(db) * 100)


def _loudest(state: LevelState, target: float) -> float | None:
    """Return the recent maximum in LUFS. After earlier episodes it follows from their gain."""
    if state.loudest is not None:
        return state.loudest / 100
    return target - (state.gain or 0) / 100 + _TOP_DB if state.decided else None


def _made_up(
    energies: Energies, slots: SlotPeaks, counted: NDArray[np.bool_], needed: Levels, state: LevelState, target: float
) -> tuple[float, Levels]:
    """Return the make-up gain in dB after this piece, and the piece's gains, which include it."""
    make_up, own = state.make_up / 100, int(counted.sum())
    path = _path(needed + make_up, state)
    if not own:
        return make_up, path
    share = own / (state.heard_ds + own)
    near = sliding_window_view(np.pad(counted, _MAKE_UP_NEAR), 2 * _MAKE_UP_NEAR + 1).any(axis=1)
    for _ in range(_ROUNDS):
        factors = 10 ** ((path[:-1] + path[1:]) / 40)
        heard = smoothed(predict_limited(energies, slots, factors, CEILING_DBTP))[near]
        missing = target - lufs(float(heard[heard > heard.mean() / 10].mean()))  # with BS.1770's relative gate
        make_up = min(max(make_up + share * missing, -_MAKE_UP_DB), _MAKE_UP_DB)
        path = _path(needed + make_up, state)
    return make_up, path


def _path(needed: Levels, state: LevelState) -> Levels:
    """Return the gain in dB at the borders of the whole hops of a piece. It stays constant where no level counts."""
    wanted = np.clip(needed, LOWEST_DB, HIGHEST_DB).tolist()
    gain = (state.gain or 0) / 100
    path = [gain]
    if not state.decided:
        gain = next((want for want in wanted if not math.isnan(want)), gain)
        if state.gain is None:
            path = [gain]
    for want, most in zip(wanted, _descents(wanted), strict=True):
        if not math.isnan(want):
            gain += _step(want - gain)
        if most < gain - _AHEAD_DB:
            gain = max(most, gain - _DOWN_DB)
        path.append(gain)
    return np.array(path)


def _step(away: float) -> float:
    """Return how far the gain moves in one hop towards a gain that is `away` dB from it."""
    haste = min(1.0, (away / _FAR_DB) ** 2)
    return min(away, _UP_DB * haste) if away > 0 else max(away, -_DOWN_DB * haste)


def _descents(wanted: Sequence[float]) -> list[float]:
    """Return the highest gain at the end of each hop from which all later gains can still be reached in time."""
    most, bounds = math.inf, []
    for want in reversed(wanted):
        bounds.append(most)
        most = min(most + _DOWN_DB, math.inf if math.isnan(want) else want)
    return bounds[::-1]


def bridge(gains: Gains, to_db: float) -> Gains:
    """Return the gains with their last second adjusted, so that they end at the gain where the next piece begins."""
    hops = min(_BRIDGE, len(gains) - 1)
    if not hops:
        return np.array([_hundredths(to_db)], np.int16)
    bend = np.linspace(0, _hundredths(to_db) - int(gains[-1]), hops + 1)
    bent = gains.astype(np.float64)
    bent[-hops - 1 :] += bend
    return np.rint(bent).astype(np.int16)


def apply(pcm: Pcm, gains: Gains, first: int) -> Pcm:
    """Apply the gains of a piece to its part that begins at the piece's sample `first`. Between two borders the gain is
    linear in dB. The result is the same to the bit however the piece is cut into parts."""
    start = first // HOP
    if not gains[start : -(-(first + len(pcm)) // HOP) + 1].any():
        return pcm
    result = np.empty_like(pcm)
    done = 0
    while done < len(pcm):
        hop, begins = divmod(first + done, HOP)
        hops = min(_AT_ONCE, len(gains) - 1 - hop)
        part = pcm[done : done + hops * HOP - begins]
        factors = _factors(gains[hop : hop + hops + 1])[begins : begins + len(part)]
        np.multiply(part, factors[:, None], out=result[done : done + len(part)])
        done += len(part)
    return result


_AT_ONCE = 20  # hops
_COARSE, _FINE = np.arange(0, HOP, 60) / HOP, np.arange(60) / HOP
_NEPER = math.log(10) / 2000  # of a hundredth of a dB


def _factors(gains: Gains) -> NDArray[np.float32]:
    """Return a factor for each sample between the first and the last border: products of two short rows of powers."""
    begins = gains[:-1, None] * _NEPER
    rises = np.diff(gains.astype(np.float64))[:, None] * _NEPER
    coarse = np.exp(begins + rises * _COARSE).astype(np.float32)
    fine = np.exp(rises * _FINE).astype(np.float32)
    factors: NDArray[np.float32] = (coarse[:, :, None] * fine[:, None, :]).ravel()
    return factors
