"""The ledger's tables on an episode's page."""

from dataclasses import replace

from bot.recording.kinds import lay_out
from bot.web.ledger_table import ROWS_ON_PAGE, table_of
from storage.records import ChunkState, RecordingState, Timing
from tests.recording.world import absent, mp4, recording, slices, stored

OVER = replace(recording(), state=RecordingState.INCOMPLETE)


def test_what_is_stored_is_one_row() -> None:
    """Consecutive alike chunks share a row with their numbers and total length."""
    rows = table_of(lay_out(OVER, [stored(f"${n}", n, mp4(5, Timing.EXACT)) for n in range(1, 61)]))
    (row,) = rows.chunks
    assert (row.part, row.state, row.reason) == ("1–60", "stored", "")
    assert (row.range.at_ms, row.range.length_ms, row.range.at, row.range.length) == (0, 300_000, "0:00", "5 min")
    assert rows.count == 60


def test_a_number_out_of_its_turn_has_a_row_of_its_own() -> None:
    """Chunks with swapped numbers stand in the order of the audio, each in a row of its own."""
    first, second, third = slices([7, 7, 7])
    rows = table_of(lay_out(OVER, [stored("$b", 1, second), stored("$a", 2, first), stored("$c", 3, third)]))
    assert [row.part for row in rows.chunks] == ["2", "1", "3"]


def test_what_has_no_number_yet_says_so() -> None:
    """Chunks without a number are counted; an estimated length is marked."""
    sealed = [absent(f"$s{n}", None, ChunkState.WAITING_FOR_KEY, position=20 + n) for n in range(2)]
    rows = table_of(lay_out(OVER, [stored("$1", 1, mp4()), *sealed, stored("$4", 4, mp4(), position=30)]))
    assert [(row.part, row.state, row.range.length) for row in rows.chunks] == [
        ("1", "stored", "about 5 s"),
        ("2 without a number yet", "waiting for key", "about 10 s"),
        ("4", "stored", "about 5 s"),
    ]
    assert rows.chunks[1].reason == rows.gaps[0].reason


def test_a_long_ledger_is_cut() -> None:
    """A table of five thousand rows is cut, and the rest is counted."""
    chunks = [
        stored(f"${n}", n, mp4()) if n % 2 else absent(f"${n}", n, ChunkState.DAMAGED, announced_ms=5000)
        for n in range(1, 5001)
    ]
    rows = table_of(lay_out(OVER, chunks))
    assert len(rows.chunks) == len(rows.gaps) == ROWS_ON_PAGE
    assert rows.more_chunks == 5000 - ROWS_ON_PAGE
    assert rows.more_gaps == 2499 - ROWS_ON_PAGE
