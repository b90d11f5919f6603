"""A recording as one track of MP3 frames: which of them are settled, which can be taken over. Pure.

One constant-rate encoder without a bit reservoir forgets: frame n is the same, byte for byte, if the encoder began
PRE_ROLL frames before it and heard AHEAD frames after it (measured on speech, noise and music, mono and stereo). So any
stretch can be made alone, and what was made once is taken over for as long as the sound around it stays the same and
lies on the same frame grid.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from bot.audio.limiter import CONTEXT as LIMITER_REACH
from bot.audio.mp3 import FRAME
from storage.records import Cut, Samples

PRE_ROLL = 40  # frames; 2 give the same sound, 40 the same bytes
AHEAD = 2  # frames


@dataclass(frozen=True, slots=True)
class Placed:
    """One piece on the grid."""

    identity: str | None
    start: Samples
    end: Samples


@dataclass(frozen=True, slots=True)
class Span:
    """Some frames of a track."""

    first: int
    frames: int

    @property
    def end(self) -> int:
        """One behind the last."""
        return self.first + self.frames


@dataclass(frozen=True, slots=True)
class Taken(Span):
    """Frames of the new track that are those of the old one from `origin` on."""

    origin: int


def identity(cut: Cut) -> str:
    """Of a decided piece: two with the same one are the same samples, gain included."""
    assert cut.gains is not None
    return hashlib.sha256(cut.key.encode() + cut.gains).hexdigest()


def settled(samples: int) -> int:
    """How many frames no later sound can change, of a track that is `samples` long so far."""
    return max(0, (samples - LIMITER_REACH) // FRAME - AHEAD)


def placed(cuts: Sequence[Cut]) -> tuple[Placed, ...]:
    """Pieces in a row. One that is not decided yet is like no other."""
    ends = accumulate(cut.samples for cut in cuts)
    return tuple(
        Placed(identity(cut) if cut.gains is not None else None, Samples(end - cut.samples), Samples(end))
        for cut, end in zip(cuts, ends, strict=True)
    )


def taken(old: Sequence[Placed], made: Sequence[Span], new: Sequence[Placed]) -> tuple[Taken, ...]:
    """Which frames of the new track are there already, given those that were `made` of the old one."""
    found = []
    reached = 0
    for stretch in _stretches(old, new):
        shift = stretch.shift // FRAME
        for span in made:
            first = max(reached, stretch.first_frame, span.first + shift)
            end = min(stretch.last_frame, span.end + shift)
            if first < end:
                found.append(Taken(first, end - first, first - shift))
                reached = end
    return tuple(found)


def holes(made: Sequence[Span], wanted: int) -> tuple[Span, ...]:
    """Which of the first `wanted` frames are not among those that were made."""
    found = []
    reached = 0
    for span in sorted(made, key=lambda span: span.first):
        if reached < min(span.first, wanted):
            found.append(Span(reached, min(span.first, wanted) - reached))
        reached = max(reached, span.end)
    if reached < wanted:
        found.append(Span(reached, wanted - reached))
    return tuple(found)


@dataclass(slots=True)
class _Stretch:
    """Pieces that follow one another in both tracks, `shift` samples later in the new one."""

    start: int
    end: int
    shift: int

    @property
    def first_frame(self) -> int:
        """The first that hears nothing from before the stretch."""
        if self.start == 0 and self.shift == 0:
            return 0
        return -(-(self.start + LIMITER_REACH) // FRAME) + PRE_ROLL

    @property
    def last_frame(self) -> int:
        """One behind the last that hears nothing from after it."""
        return settled(self.end)


def _stretches(old: Sequence[Placed], new: Sequence[Placed]) -> list[_Stretch]:
    """In the order of the new track. A piece is looked for behind its predecessor first, then in its first place."""
    places: dict[str | None, list[int]] = {}
    for index, piece in enumerate(old):
        if piece.identity is not None:
            places.setdefault(piece.identity, []).append(index)
    found: list[_Stretch] = []
    expected = 0
    for piece in new:
        where = places.get(piece.identity)
        if where is None:
            expected = len(old)
            continue
        index = expected if expected < len(old) and old[expected].identity == piece.identity else where[0]
        shift = piece.start - old[index].start
        expected = index + 1
        if found and found[-1].end == piece.start and found[-1].shift == shift:
            found[-1].end = piece.end
        elif shift % FRAME == 0:
            found.append(_Stretch(piece.start, piece.end, shift))
    return found
