"""Chapters: the beginning, the places where sound is missing, and those where it resumes."""

import pytest

from bot.recording.chapters import BEGINNING, MOST, RESUMED, marks
from bot.recording.kinds import lay_out
from bot.recording.ledger import Ledger
from storage.records import ChunkState, Samples
from tests.recording.world import SECOND, absent, mp4, recording, stored


def told(ledger: Ledger, *resumed_s: int, title: str | None = None) -> list[tuple[int, str]]:
    """Return the place of each chapter in milliseconds, and its title."""
    return [(mark.at, mark.title) for mark in marks(ledger, [Samples(at * SECOND) for at in resumed_s], title)]


def test_a_title_is_the_first_chapters() -> None:
    """The title names the first chapter; without another mark there are no chapters."""
    chunks = tuple(stored(f"${number}", number, mp4(60)) for number in (1, 2))
    ledger = lay_out(recording(), chunks)
    assert told(ledger, 60, title="Soup") == [(0, "Soup"), (60_000, RESUMED)]
    assert told(ledger, title="Soup") == []


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([60.0, -0.5, 60.0], [(0, BEGINNING), (60_000, "1 s missing")]),
        ([0.5, -60.0, 60.0], [(0, "1 min missing"), (60_500, RESUMED)]),
        ([60.0, -60.0, 0.5, -60.0, 60.0],
         [(0, BEGINNING), (60_000, "1 min missing"), (120_000, "1 min missing"), (180_500, RESUMED)]),
        ([60.0, -1.0, 60.0], [(0, BEGINNING), (60_000, "1 s missing"), (61_000, RESUMED)]),
    ],
)  # fmt: skip
def test_none_is_shorter_than_a_second(lengths: list[float], expected: list[tuple[int, str]]) -> None:
    """The first of two marks that are closer counts, and a gap gives it its title. (Negative lengths: gaps.)"""
    chunks = tuple(
        stored(f"${number}", number, mp4(length))
        if length > 0
        else absent(f"${number}", number, ChunkState.DAMAGED, announced_ms=round(-length * 1000))
        for number, length in enumerate(lengths, start=1)
    )
    assert told(lay_out(recording(), chunks)) == expected


def test_there_are_no_more_than_a_file_can_count() -> None:
    """However often somebody pauses."""
    chunks = tuple(stored(f"${number}", number, mp4(2)) for number in range(1, 400))
    ledger = lay_out(recording(), chunks)
    assert len(marks(ledger, [Samples(entry.position) for entry in ledger.entries[1:]])) == MOST
