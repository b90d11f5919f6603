"""The levels of the stems in a window of a call: decided stem by stem, and written down in one cut. Pure.

Each stem has a slow gain of its own, on the hops of the window. Its state goes on over windows, over times in which its
device says nothing, and, when the device comes back, into its next stem. A cut's `gains` holds a block for each stem in
the order of their numbers: int16 gains at the borders of the hops, then a bit for each hop that is speech. Its `level`
holds the states of the stems in the window; a stem that was not in the window before has its state further back.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from bot.audio import leveller
from bot.audio.gate import STEM_PLAIN_LUFS
from bot.audio.leveller import Gains, LevelState, Speech
from bot.audio.loudness import HOP, Meter
from bot.audio.peaks import Pcm
from bot.audio.plan import Mix
from storage.records import BlobKey, Cut, Samples, StemPart

USUAL_LUFS = -16.0  # decides what is speech where the level stays as it is
_UNDECIDED = -32_768  # the first gain of a stem that is not decided

States = Mapping[int, LevelState]
"""The level of each stem at a border of windows."""


@dataclass(frozen=True, slots=True)
class StemLevel:
    """The gains of one stem in a window, and which of its hops are speech."""

    gains: Gains
    speech: Speech


def pack(levels: Mapping[int, StemLevel], stems: Iterable[int], samples: int) -> bytes:
    """Return the levels of these stems as a cut holds them. A stem without a level is marked as not decided."""
    hops = _hops(samples)
    undecided = StemLevel(np.full(hops + 1, _UNDECIDED, np.int16), np.zeros(hops, np.bool_))
    each = (levels.get(stem, undecided) for stem in sorted(stems))
    return b"".join(level.gains.astype("<i2").tobytes() + np.packbits(level.speech).tobytes() for level in each)


def unpack(packed: bytes, stems: Iterable[int], samples: int) -> dict[int, StemLevel]:
    """Return the levels that `pack` wrote, of the stems that are decided."""
    hops = _hops(samples)
    gains, size = 2 * (hops + 1), 2 * (hops + 1) + -(-hops // 8)
    levels: dict[int, StemLevel] = {}
    for number, stem in enumerate(sorted(stems)):
        block = packed[number * size : (number + 1) * size]
        path = np.frombuffer(block[:gains], "<i2").astype(np.int16)
        if path[0] != _UNDECIDED:
            speech = np.unpackbits(np.frombuffer(block[gains:], np.uint8), count=hops).astype(np.bool_)
            levels[stem] = StemLevel(path, speech)
    return levels


def levels_of(cut: Cut) -> dict[int, StemLevel]:
    """Return the levels of the stems in a window, as far as they are decided."""
    packed = cut.kept if cut.gains is None else cut.gains
    if not cut.parts:
        return {}
    return unpack(packed, {part.stem for part in cut.parts}, cut.samples) if packed else {}


def speech_in(cuts: Iterable[Cut], breath: Samples) -> Iterator[tuple[int, Samples, Samples]]:
    """Yield the stretches of speech in a row of cuts: the stem, begin and end. They end with their window. `breath`:
    pauses shorter than this are a part of them."""
    begins = 0
    for cut in cuts:
        if cut.parts and cut.gains is not None:
            stems = sorted({part.stem for part in cut.parts})
            for row, first, last in _runs(_speech(cut.gains, len(stems), cut.samples), breath // HOP):
                yield stems[row], Samples(begins + first * HOP), Samples(begins + min(last * HOP, cut.samples))
        begins += cut.samples


def _speech(packed: bytes, stems: int, samples: int) -> Speech:
    """Return which hops are speech, a row for each stem."""
    hops = _hops(samples)
    bits = np.frombuffer(packed, np.uint8).reshape(stems, -1)[:, 2 * (hops + 1) :]
    return np.unpackbits(bits, axis=1, count=hops).astype(np.bool_)


def _runs(speech: Speech, breath: int) -> list[list[int]]:
    """Return row, begin and end of each run of hops, over pauses of less than `breath` hops."""
    borders = np.diff(speech.astype(np.int8), axis=1, prepend=0, append=0)
    rows, firsts = (borders == 1).nonzero()
    lasts = (borders == -1).nonzero()[1]
    apart = (rows[1:] != rows[:-1]) | (firsts[1:] - lasts[:-1] >= breath)
    begins, ends = np.append(True, apart)[: len(rows)], np.append(apart, True)[: len(rows)]
    return np.stack([rows[begins], firsts[begins], lasts[ends]], axis=1).tolist()  # type: ignore[no-any-return]


def states_of(cut: Cut) -> dict[int, LevelState]:
    """Return the states that a window leaves: of the stems in it."""
    states = json.loads(cut.level) if cut.level else {}
    return {int(stem): LevelState.of(state) for stem, state in states.items()}


def states_before(cut: Cut, earlier: Sequence[Cut]) -> dict[int, LevelState]:
    """Return the states with which the stems in a window begin: those that they had last, else those of the stems that
    their users had before. `earlier`: the cuts before the window."""
    states: dict[int, LevelState] = {}
    for stem, parts in Mix(cut.parts, cut.samples).stems.items():
        for number in (stem, parts[0].follows):
            state = None if number is None else _last_state(number, earlier)
            if state is not None:
                states[stem] = state
                break
    return states


def _last_state(stem: int, cuts: Sequence[Cut]) -> LevelState | None:
    there = (cut for cut in reversed(cuts) if cut.gains is not None and any(part.stem == stem for part in cut.parts))
    return next((state for cut in there if (state := states_of(cut).get(stem)) is not None), None)


class Deciding:
    """The levels of one window while they are decided, stem by stem. `before`: the states with which its stems begin;
    `behind`: the gains, in hundredths of a dB, with which the next window begins, of the stems in it, if that is
    decided already."""

    def __init__(self, cut: Cut, target_lufs: float | None, before: States, behind: Mapping[int, int]) -> None:
        self._cut = cut
        self._target = target_lufs
        self._parts = Mix(cut.parts, cut.samples).stems
        self._before = before
        self._behind = behind
        self._levels = levels_of(cut)
        self._after = {stem: state for stem, state in states_of(cut).items() if stem in self._levels}

    def gains(self, stem: int, sound: Pcm) -> Gains:
        """Decide the gains of a stem, given its sound in the window. Blocking: some 8 ms."""
        if stem not in self._levels:
            self._levels[stem], self._after[stem] = self._decide(stem, sound)
        return self._levels[stem].gains

    def _decide(self, stem: int, sound: Pcm) -> tuple[StemLevel, LevelState]:
        meter = Meter()
        meter.add(sound)
        target = USUAL_LUFS if self._target is None else self._target
        before = self._before.get(stem) or leveller.begin(None)
        gains, counted, after = leveller.decided(meter, len(sound), before, target, STEM_PLAIN_LUFS)
        if self._target is None:
            gains = np.zeros_like(gains)
        elif stem in self._behind:
            gains = leveller.bridge(gains, self._behind[stem] / 100)
        return StemLevel(gains, np.pad(counted, (0, len(gains) - 1 - len(counted)))), after

    def decided(self) -> Cut:
        """Return the cut, once the gains of all stems are decided."""
        return replace(
            self._cut,
            gains=pack(self._levels, self._parts, self._cut.samples),
            level=json.dumps({stem: asdict(state) for stem, state in self._after.items()}, separators=(",", ":")),
            kept=None,
        )


def keep_levels(old: Iterable[Cut], new: Cut) -> Cut:
    """Return a window with the levels of the stems whose slices are in one of the old windows. So a stem that was
    removed, or a slice that came late, changes the level of no other stem."""
    stems = Mix(new.parts, new.samples).stems
    for cut in old:
        earlier, levels = Mix(cut.parts, cut.samples).stems, levels_of(cut)
        same = {
            stem: _fitted(levels[stem], new.samples)
            for stem, parts in stems.items()
            if stem in levels and [*map(slice_of, earlier[stem])] == [*map(slice_of, parts)]
        }
        if same:
            return replace(new, kept=pack(same, stems, new.samples), level=cut.level)
    return new


def slice_of(part: StemPart) -> tuple[int, BlobKey | None, BlobKey | None]:
    """Return what a part has of its stem, wherever the slice before it reaches in."""
    return part.stem, part.blob, part.before if part.blob is None else None


def _fitted(level: StemLevel, samples: int) -> StemLevel:
    """Return the level for a window of another length."""
    hops = _hops(samples)
    gains = np.pad(level.gains, (0, max(0, hops + 1 - len(level.gains))), mode="edge")[: hops + 1]
    return StemLevel(gains, np.pad(level.speech, (0, max(0, hops - len(level.speech))))[:hops])


def _hops(samples: int) -> int:
    return -(-samples // HOP)
