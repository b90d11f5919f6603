"""How loud each moment of a broadcast becomes: a gain that is decided forwards, piece by piece, and then stands.

Each piece is heard as a whole before its gains are decided, and nothing that comes after it matters; what one piece
hands to the next is small and is kept. So a rebuild gives the same samples, and a piece that turns up late changes
nothing but itself.

The gain follows the loudness of what is listened to (bot.audio.gate) and holds in between. How fast it moves depends
on how far it has to go. Another speaker, 6 dB away or more, is met within a second or so (15 dB/s up), else turns of
5 s would be over before; the swell of one voice or of music hardly moves it (2 dB away: 1.7 dB/s, 1 dB: 0.4 dB/s).
Down it goes as fast as needed, and begins before the loud one does where the piece shows him coming.
What the limiter behind takes off, and what a median misses of a mean, is made up for: the make-up is what brings the
pieces so far to the target.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from bot.audio.gate import WINDOW, Levels, listened, settled_levels, smoothed
from bot.audio.loudness import HOP, Energies, Meter, Slots, limited, lufs
from bot.audio.peaks import Pcm

Gains = NDArray[np.int16]  # hundredths of a dB, at the borders of hops

CEILING_DBTP = -3.0  # directories ask for -1; MP3 at speech rates puts up to 1.6 dB on top, most on noise
LOWEST_DB, HIGHEST_DB = -20.0, 30.0  # what needs more is noise for the most part
_UP_DB, _DOWN_DB = 1.5, 3.0  # per hop, at most
_FAR_DB = 6.0  # from where on it moves at most
_AHEAD_DB = 4.0  # a step down of so much is begun before it
_MAKE_UP_DB = 6.0  # more would only bend the sound
_MAKE_UP_S = 60.0  # of sound that is remembered for it
_MAKE_UP_NEAR = 5  # hops from what counts that it is measured on too: a meter hears them
_ROUNDS = 3
_TOP_DB = 3.0  # by how much the loudest of a voice stands above its loudness
_BRIDGE = 10  # hops


@dataclass(frozen=True, slots=True)
class LevelState:
    """What one piece hands to the next. Levels and gains in hundredths."""

    gain: int | None = None  # where it ended; None before the first piece of a room's first broadcast
    decided: bool = False  # by a sound, or by the room's last episodes
    loudest: int | None = None
    make_up: int = 0
    heard_ds: int = 0  # tenths of a second that the make-up was measured on
    recent: tuple[int, ...] = ()  # the last levels that counted

    def to_json(self) -> str:
        """Some 200 bytes."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` gave."""
        values = json.loads(text)
        return cls(**{**values, "recent": tuple(values["recent"])})


def begin(start_db: float | None) -> LevelState:
    """Before the first piece: the gain of the room's last episodes, or None to take it from the first sound."""
    if start_db is None:
        return LevelState()
    return LevelState(gain=_hundredths(min(max(start_db, LOWEST_DB), HIGHEST_DB)), decided=True)


def curve(pcm: Pcm, state: LevelState, target_lufs: float | None) -> tuple[Gains, LevelState]:
    """The gains of a piece at the borders of its hops, 0 to ceil(samples / HOP), and what the next one needs.
    Without a target: no gain. 0.7 ms of work per second of sound and channel."""
    if target_lufs is None:
        return np.zeros(_borders(len(pcm)), np.int16), state
    meter = Meter()
    meter.add(pcm)
    return decided(meter, len(pcm), state, target_lufs)


def decided(meter: Meter, samples: int, state: LevelState, target_lufs: float) -> tuple[Gains, LevelState]:
    """The same of a piece that was measured in blocks."""
    energies, slots = meter.hops()
    levels, loudest = listened(energies, slots, _loudest(state, target_lufs))
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
    return gains, after


def _borders(samples: int) -> int:
    return -(-samples // HOP) + 1


def _hundredths(db: float) -> int:
    return round(float(db) * 100)


def _loudest(state: LevelState, target: float) -> float | None:
    """In LUFS; a gain that was given says how loud the room was."""
    if state.loudest is not None:
        return state.loudest / 100
    return target - (state.gain or 0) / 100 + _TOP_DB if state.decided else None


def _made_up(
    energies: Energies, slots: Slots, counted: NDArray[np.bool_], needed: Levels, state: LevelState, target: float
) -> tuple[float, Levels]:
    """The make-up after this piece, in dB, and its gains with it."""
    make_up, own = state.make_up / 100, int(counted.sum())
    path = _path(needed + make_up, state)
    if not own:
        return make_up, path
    share = own / (state.heard_ds + own)
    near = sliding_window_view(np.pad(counted, _MAKE_UP_NEAR), 2 * _MAKE_UP_NEAR + 1).any(axis=1)
    for _ in range(_ROUNDS):
        factors = 10 ** ((path[:-1] + path[1:]) / 40)
        heard = smoothed(limited(energies, slots, factors, CEILING_DBTP))[near]
        missing = target - lufs(float(heard[heard > heard.mean() / 10].mean()))  # with BS.1770's relative gate
        make_up = min(max(make_up + share * missing, -_MAKE_UP_DB), _MAKE_UP_DB)
        path = _path(needed + make_up, state)
    return make_up, path


def _path(needed: Levels, state: LevelState) -> Levels:
    """The way of the gain through a piece in dB, at the borders of its whole hops. Where nothing is needed it holds."""
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
    """How far the gain moves in one hop."""
    haste = min(1.0, (away / _FAR_DB) ** 2)
    return min(away, _UP_DB * haste) if away > 0 else max(away, -_DOWN_DB * haste)


def _descents(wanted: Sequence[float]) -> list[float]:
    """The highest gain at the end of each hop from where all that comes can still be met in time."""
    most, bounds = math.inf, []
    for want in reversed(wanted):
        bounds.append(most)
        most = min(most + _DOWN_DB, math.inf if math.isnan(want) else want)
    return bounds[::-1]


def bridge(gains: Gains, to_db: float) -> Gains:
    """The same gains, their last second bent so that they end where the piece behind begins already."""
    hops = min(_BRIDGE, len(gains) - 1)
    if not hops:
        return np.array([_hundredths(to_db)], np.int16)
    bend = np.linspace(0, _hundredths(to_db) - int(gains[-1]), hops + 1)
    bent = gains.astype(np.float64)
    bent[-hops - 1 :] += bend
    return np.rint(bent).astype(np.int16)


def apply(pcm: Pcm, gains: Gains, first: int) -> Pcm:
    """The part of a piece that begins at its sample `first`, with its gains (of the whole piece), which run evenly in
    dB from one border to the next. The same samples to the bit however the piece is cut into parts."""
    start = first // HOP
    if not gains[start : -(-(first + len(pcm)) // HOP) + 1].any():
        return pcm
    result = np.empty_like(pcm)
    done = 0
    while done < len(pcm):
        hop, begins = divmod(first + done, HOP)
        some = min(_AT_ONCE, len(gains) - 1 - hop)
        part = pcm[done : done + some * HOP - begins]
        factors = _factors(gains[hop : hop + some + 1])[begins : begins + len(part)]
        np.multiply(part, factors[:, None], out=result[done : done + len(part)])
        done += len(part)
    return result


_AT_ONCE = 20  # hops
_COARSE, _FINE = np.arange(0, HOP, 60) / HOP, np.arange(60) / HOP
_NEPER = math.log(10) / 2000  # of a hundredth of a dB


def _factors(gains: Gains) -> NDArray[np.float32]:
    """One per sample between the first and the last border. Two short rows of powers, multiplied, make a long one."""
    begins = gains[:-1, None] * _NEPER
    rises = np.diff(gains.astype(np.float64))[:, None] * _NEPER
    coarse = np.exp(begins + rises * _COARSE).astype(np.float32)
    fine = np.exp(rises * _FINE).astype(np.float32)
    factors: NDArray[np.float32] = (coarse[:, :, None] * fine[:, None, :]).ravel()
    return factors
