"""Frames that are settled, that are taken over, and that have to be made."""

from hypothesis import given
from hypothesis import strategies as st

from bot.audio.grid import FRAME, Span
from bot.audio.reach import CONTEXT
from bot.audio.track import AHEAD, ENCODER_PRE_ROLL, PlacedPiece, Reused, missing_spans, reusable, settled_frames
from storage.records import Samples


def row(*pieces: tuple[str | None, int]) -> tuple[PlacedPiece, ...]:
    spans, at = [], 0
    for name, samples in pieces:
        spans.append(PlacedPiece(name, Samples(at), Samples(at + samples)))
        at += samples
    return tuple(spans)


def end(track: tuple[PlacedPiece, ...]) -> int:
    return track[-1].end if track else 0


def test_what_grows_at_its_end_keeps_every_frame() -> None:
    """A track that only grows takes over all frames."""
    old = row(("a", 100_000), ("b", 50_000))
    made = settled_frames(150_000)
    new = row(("a", 100_000), ("b", 50_000), ("c", 70_000))
    assert reusable(old, [Span(0, made)], new) == (Reused(0, made, 0),)


def test_a_healed_piece_of_the_same_length_touches_its_own_frames_and_its_neighbours_pre_roll() -> None:
    """When silence of the same length becomes sound, all frames before and behind it stay."""
    old, new = (row(("a", 1_000_000), (name, 500_000), ("c", 1_000_000)) for name in ("gap", "b"))
    made = settled_frames(2_500_000)
    spans = reusable(old, [Span(0, made)], new)
    missing = missing_spans(spans, made)
    assert len(missing) == 1
    assert missing[0].first == settled_frames(1_000_000)
    assert missing[0].end == -(-(1_500_000 + CONTEXT) // FRAME) + ENCODER_PRE_ROLL
    assert [one.first - one.origin for one in spans] == [0, 0]


def test_whole_frames_more_move_what_follows() -> None:
    """A piece of whole frames in between moves the frames behind it, and none is made again."""
    old = row(("a", 1_000_000), ("c", 1_000_000))
    new = row(("a", 1_000_000), ("b", 100 * FRAME), ("c", 1_000_000))
    spans = reusable(old, [Span(0, settled_frames(2_000_000))], new)
    assert spans[-1].first - spans[-1].origin == 100
    assert spans[-1].end == settled_frames(2_000_000) + 100


def test_another_grid_is_made_anew() -> None:
    """Sound that moved off the frame grid takes no frames over."""
    old = row(("a", 1_000_000), ("c", 1_000_000))
    new = row(("a", 1_000_000), ("b", 100 * FRAME + 1), ("c", 1_000_000))
    assert reusable(old, [Span(0, settled_frames(2_000_000))], new) == (Reused(0, settled_frames(1_000_000), 0),)


def test_what_is_not_decided_is_like_nothing() -> None:
    """A piece without its gain takes nothing over, not even from itself."""
    track = row((None, 500_000))
    assert reusable(track, [Span(0, 100)], track) == ()


PIECES = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from([1, 999, FRAME, 7 * FRAME, 60 * FRAME, 100_000, 200 * FRAME])),
    max_size=8,
)


@given(old=PIECES, new=PIECES, cuts=st.lists(st.integers(0, 700), max_size=6))
def test_what_is_taken_over_heard_the_same(
    old: list[tuple[str, int]], new: list[tuple[str, int]], cuts: list[int]
) -> None:
    """All samples that an encoder hears for a frame that is taken over are the same in both tracks."""
    there, here = (row(*((f"{name} {samples}", samples) for name, samples in one)) for one in (old, new))
    borders = sorted({0, *cuts, settled_frames(end(there))})
    made = [
        Span(a, b - a) for a, b in zip(borders[::2], borders[1::2], strict=False) if b <= settled_frames(end(there))
    ]
    reached = 0
    for one in reusable(there, made, here):
        assert one.first >= reached
        reached = one.end
        assert any(span.first <= one.origin and one.origin + one.frames <= span.end for span in made)
        begins = max(0, (one.first - ENCODER_PRE_ROLL) * FRAME - CONTEXT)
        ends = (one.end + AHEAD) * FRAME + CONTEXT
        shift = (one.first - one.origin) * FRAME
        assert heard(here, begins, ends) == heard(there, begins - shift, ends - shift)
        assert begins > 0 or shift == 0
    wanted = settled_frames(end(here))
    missing = missing_spans(reusable(there, made, here), wanted)
    counted = sum(span.frames for span in missing)
    assert counted + sum(min(one.end, wanted) - one.first for one in reusable(there, made, here)) == wanted


def heard(track: tuple[PlacedPiece, ...], begins: int, ends: int) -> list[tuple[str | None, int, int]]:
    """Return the parts of pieces between two samples."""
    parts = []
    for piece in track:
        first, last = max(begins, piece.start), min(ends, piece.end)
        if first < last:
            parts.append((piece.identity, first - piece.start, last - piece.start))
    return parts
