"""A track as it is stored, and the changes that new pieces make to it: which cuts and frames stay, which are new."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from bot.audio.grid import Form, Span, clip, frames_for, unbroken
from bot.audio.layout import layout
from bot.audio.mix import keep_levels, slice_of
from bot.audio.plan import DECODER_PRE_ROLL, Piece
from bot.audio.track import Reused, settled_frames
from storage.cache import Edition
from storage.records import SAMPLE_RATE, Cut, Extent, Track

BATCH = 240 * SAMPLE_RATE  # samples that are made before the progress is written down


@dataclass(frozen=True, slots=True)
class StoredTrack:
    """A track with its layout, its pieces, and the places of its frames."""

    track: Track
    cuts: tuple[Cut, ...] = ()
    pieces: tuple[Piece, ...] = ()
    extents: tuple[Extent, ...] = ()
    edition: Edition | None = None  # the edition that was read or written; None: not written yet

    @property
    def form(self) -> Form:
        return Form.of(self.track)

    @property
    def spans(self) -> list[Span]:
        return [Span(extent.first, extent.frames) for extent in self.extents]

    @property
    def frames(self) -> int:
        """The number of frames from the beginning to the first missing one."""
        return unbroken(self.extents)

    def with_frames(self, extent: Extent, decided: Mapping[int, Cut]) -> "StoredTrack":
        """Return the track with frames that were made, and with the cuts that were decided meanwhile, by index."""
        cuts = tuple(decided.get(index, cut) for index, cut in enumerate(self.cuts))
        extents = sorted([*self.extents, extent], key=lambda extent: extent.first)
        return replace(self, cuts=cuts, extents=tuple(extents))


def appended_cuts(old: StoredTrack, pieces: Sequence[Piece]) -> list[Cut] | None:
    """Return the cuts of the pieces after those of the track; None if other pieces changed too."""
    there = len(old.cuts)
    if tuple(pieces[:there]) != old.pieces:
        new = layout(pieces, old.form)
        return new[there:] if [cut.key for cut in new[:there]] == [cut.key for cut in old.cuts] else None
    first = there  # keys depend only on as many earlier pieces as a decoder remembers
    while first and sum(piece.samples for piece in pieces[first:there]) < DECODER_PRE_ROLL:
        first -= 1
    new = layout(pieces[first:], old.form)[there - first :]
    return [replace(cut, ordinal=there + number) for number, cut in enumerate(new)]


def match_cuts(old: Sequence[Cut], new: Sequence[Cut]) -> dict[int, int]:
    """Return the new ordinals of cuts that existed before, each with its old one. Of several old cuts with the same
    key, the one after the previous match is taken, else the first."""
    ordinals: dict[str, list[int]] = {}
    for cut in old:
        ordinals.setdefault(cut.key, []).append(cut.ordinal)
    matches: dict[int, int] = {}
    next_old = 0
    for cut in new:
        same = ordinals.get(cut.key)
        if same:
            matches[cut.ordinal] = next_old if next_old in same else same[0]
            next_old = matches[cut.ordinal] + 1
    return matches


def decided_as(old: Cut, new: Cut) -> Cut:
    """Return the new cut with everything that was decided for the same piece in its old place."""
    return replace(new, gains=old.gains, level=old.level, off_by=old.off_by, kept=old.kept)


def with_kept_levels(old: Sequence[Cut], new: Sequence[Cut], matches: Mapping[int, int]) -> list[Cut]:
    """Return the new cuts with everything that was decided, for the same pieces or for the same stems in a window that
    has changed."""
    windows = {slice_of(part): cut for cut in old for part in cut.parts}
    cuts: list[Cut] = []
    for cut in new:
        if cut.ordinal in matches:
            cuts.append(decided_as(old[matches[cut.ordinal]], cut))
        else:
            earlier = {there.ordinal: there for part in cut.parts if (there := windows.get(slice_of(part)))}
            cuts.append(keep_levels(earlier.values(), cut))
    return cuts


def moved_extents(old: StoredTrack, reused: Reused) -> list[Extent]:
    """Return the places of frames that are reused, with their new numbers."""
    shift = reused.first - reused.origin
    parts = clip(old.extents, Span(reused.origin, reused.frames), old.form)
    return [replace(part, first=part.first + shift) for part in parts]


def batch_size(cuts: Sequence[Cut], first: int, end: int) -> int:
    """Return how many frames from `first` on are made at once: whole pieces of BATCH samples together or a little more,
    up to `end`."""
    borders = [*accumulate(cut.samples for cut in cuts)]
    enough = bisect_left(borders, first + frames_for(BATCH), key=settled_frames)
    return min(settled_frames(borders[enough]) if enough < len(borders) else end, end) - first
