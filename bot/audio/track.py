"""The frames of a track that no later sound can change, and those that a changed track can reuse. Pure.

A constant-rate encoder without a bit reservoir has a short memory: frame n is the same, byte for byte, if the encoder
began ENCODER_PRE_ROLL frames before it and heard AHEAD frames after it (measured on speech, noise and music, mono and
stereo). So any stretch of a track can be made alone, and its frames are reused as long as the sound around them stays
the same and lies on the same frame grid.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from bot.audio.grid import FRAME, Span, frames_for, whole_frames
from bot.audio.reach import CONTEXT as LIMITER_REACH
from storage.records import Cut, Samples

ENCODER_PRE_ROLL = 40  # frames; 2 give the same sound, 40 the same bytes
AHEAD = 2  # frames


@dataclass(frozen=True, slots=True)
class PlacedPiece:
    """A piece in its place on the track. `identity` is None while its gain is not decided."""

    identity: str | None
    start: Samples
    end: Samples


@dataclass(frozen=True, slots=True)
class Reused(Span):
    """Frames of the new track that are the frames of the old one from `origin` on."""

    origin: int


def identity(cut: Cut) -> str:
    """Return the identity of a decided piece: two pieces that share it have the same samples, gain included."""
    assert cut.gains is not None
    return hashlib.sha256(cut.key.encode() + cut.gains).hexdigest()


def settled_frames(samples: int) -> int:
    """Return how many frames of a track, `samples` long so far, no later sound can change."""
    return max(0, whole_frames(samples - LIMITER_REACH) - AHEAD)


def message_ends(pieces: Iterable[tuple[Samples, bool]]) -> tuple[int, ...]:
    """Return at which numbers of settled frames the messages of a track end, given the length of each piece and whether
    it is sound."""
    ends: list[int] = []
    samples = 0
    for length, sounds in pieces:
        samples += length
        if sounds and (frames := settled_frames(samples)) > (ends[-1] if ends else 0):
            ends.append(frames)
    return tuple(ends)


def place_pieces(cuts: Sequence[Cut]) -> tuple[PlacedPiece, ...]:
    """Place pieces in a row. A piece that is not decided yet equals no other."""
    ends = accumulate(cut.samples for cut in cuts)
    return tuple(
        PlacedPiece(identity(cut) if cut.gains is not None else None, Samples(end - cut.samples), Samples(end))
        for cut, end in zip(cuts, ends, strict=True)
    )


def reusable(old: Sequence[PlacedPiece], made: Sequence[Span], new: Sequence[PlacedPiece]) -> tuple[Reused, ...]:
    """Return which frames of the new track exist already, given the frames of the old one that were `made`."""
    spans = []
    reached = 0
    for stretch in _common_stretches(old, new):
        shift = whole_frames(stretch.shift)
        for span in made:
            first = max(reached, stretch.first_frame, span.first + shift)
            end = min(stretch.last_frame, span.end + shift)
            if first < end:
                spans.append(Reused(first, end - first, first - shift))
                reached = end
    return tuple(spans)


def missing_spans(made: Sequence[Span], wanted: int) -> tuple[Span, ...]:
    """Return the spans of the first `wanted` frames that were not made yet."""
    spans = []
    reached = 0
    for span in sorted(made, key=lambda span: span.first):
        if reached < min(span.first, wanted):
            spans.append(Span(reached, min(span.first, wanted) - reached))
        reached = max(reached, span.end)
    if reached < wanted:
        spans.append(Span(reached, wanted - reached))
    return tuple(spans)


@dataclass(slots=True)
class _CommonStretch:
    """A row of pieces that both tracks share, `shift` samples later in the new one."""

    start: int
    end: int
    shift: int

    @property
    def first_frame(self) -> int:
        """The first frame that depends on no sound before the stretch."""
        if self.start == 0 and self.shift == 0:
            return 0
        return frames_for(self.start + LIMITER_REACH) + ENCODER_PRE_ROLL

    @property
    def last_frame(self) -> int:
        """The frame after the last one that depends on no sound after the stretch."""
        return settled_frames(self.end)


def _common_stretches(old: Sequence[PlacedPiece], new: Sequence[PlacedPiece]) -> list[_CommonStretch]:
    """Find the shared stretches, in the order of the new track. A piece is matched with the old one after the match of
    the piece before it, else with the first equal one."""
    places: dict[str | None, list[int]] = {}
    for index, piece in enumerate(old):
        if piece.identity is not None:
            places.setdefault(piece.identity, []).append(index)
    spans: list[_CommonStretch] = []
    expected = 0
    for piece in new:
        where = places.get(piece.identity)
        if where is None:
            expected = len(old)
            continue
        index = expected if expected < len(old) and old[expected].identity == piece.identity else where[0]
        shift = piece.start - old[index].start
        expected = index + 1
        if spans and spans[-1].end == piece.start and spans[-1].shift == shift:
            spans[-1].end = piece.end
        elif shift % FRAME == 0:
            spans.append(_CommonStretch(piece.start, piece.end, shift))
    return spans
