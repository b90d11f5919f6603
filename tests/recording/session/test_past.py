"""The order of past messages, and which of them belong together."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.recording.session import past
from storage.records import Position
from tests.factories import NOW
from tests.recording.world import LIMITS

MINUTE = timedelta(minutes=1)
KNOWN = st.lists(st.none() | st.integers(-20, 20).map(Position), max_size=12)


@pytest.mark.parametrize(
    ("known", "placed"),
    [
        ((None, None), (1, 2)),
        ((5, None, None, 6), (5, 6, 6, 6)),
        ((5, None, 9), (5, 6, 9)),
        ((5, 3, None), (5, 6, 7)),
        ((-3, None, 8), (1, 2, 8)),
    ],
)
def test_what_was_not_heard_stands_between_its_neighbours(
    known: tuple[Position | None, ...], placed: tuple[Position, ...]
) -> None:
    """A message keeps the position at which it was heard, unless the timeline has it elsewhere."""
    assert past.positions(known, Position(0)) == placed


@given(KNOWN)
def test_positions_rise_with_the_timeline(known: list[Position | None]) -> None:
    """Whatever was heard and in whatever order; two messages have one position only where there is none between."""
    placed = past.positions(known, Position(-5))
    assert list(placed) == sorted(placed)
    assert all(position >= -5 for position in placed)


def test_a_wrong_time_parts_two_neighbours_and_moves_nothing() -> None:
    """A clock that is ahead counts as now; a message without a time has that of the one before."""
    assert past.said_at(NOW + MINUTE, None, NOW) == NOW
    assert past.said_at(None, NOW - MINUTE, NOW) == NOW - MINUTE
    for apart in (9 * MINUTE, -9 * MINUTE):
        assert past.belong_together(NOW, NOW + apart, LIMITS)
        assert not past.belong_together(NOW, NOW + 2 * apart, LIMITS)
    assert not past.belong_together(None, NOW, LIMITS)
