"""Sound that is longer or shorter than somebody said, in words."""

from dataclasses import replace

import pytest

from bot.recording import wrong_lengths
from bot.recording.kinds import lay_out
from storage.records import Chunk, ChunkState, DurationMs, EndedBy, RecordingState, Samples, to_ms, to_samples
from tests.recording.world import mp4, recording, stored

OVER = replace(recording(), state=RecordingState.INCOMPLETE, ended_by=EndedBy.STOPPED)


@pytest.mark.parametrize(
    ("off_by", "told"),
    [
        ([], ()),
        ([1, -479], ()),
        ([-9600], (("sounded 0.2 s shorter than it should", 1),)),
        ([-480], (("sounded less than 0.1 s shorter than it should", 1),)),
        (
            [-9600, 48_000, 5, -14_400],
            (
                ("sounded 0.5 s shorter than they should, taken together", 2),
                ("sounded 1.0 s longer than it should", 1),
            ),
        ),
    ],
)
def test_other_lengths_are_told(off_by: list[int], told: tuple[tuple[str, int], ...]) -> None:
    """By how much in all, shorter and longer apart; what nobody could hear is not."""
    assert wrong_lengths.off_lengths(map(Samples, off_by)) == told


def test_what_events_announced_is_compared_with_what_is_heard() -> None:
    """The ledger keeps each difference; told is what no client's honest clock explains. What isn't heard, or came
    without a length, is not compared."""

    def announced(number: int, ms: int | None, state: ChunkState = ChunkState.STORED) -> Chunk:
        length = None if ms is None else DurationMs(ms)
        return replace(stored(f"${number}", number, mp4(60)), announced_ms=length, state=state)

    exact, hasty = announced(1, 60_000), announced(2, 60_593)
    cut, cut_too, long = announced(3, 64_000), announced(4, 61_500), announced(5, 10_000)
    ledger = lay_out(
        OVER, [exact, hasty, cut, cut_too, long, announced(6, None), announced(7, 90_000, ChunkState.DAMAGED)]
    )
    differences = [to_ms(entry.off_announced) for entry in ledger.entries]
    assert differences == [0, -593, -4000, -1500, 50_000, 0, 0]
    assert wrong_lengths.off_announced(ledger) == (
        ("hold 5.5 s less sound than their events announced", 2),
        ("holds 50.0 s more sound than its event announced", 1),
    )
    assert wrong_lengths.off_announced(lay_out(OVER, [exact, hasty])) == ()


def test_what_files_claim_is_compared_with_what_was_counted() -> None:
    """A page clock that runs slow, a header that says more than there is; what a codec's padding explains is not."""
    claims = [None, 40_000, 59_950, 62_000]
    told = [replace(mp4(60), told=None if ms is None else to_samples(DurationMs(ms))) for ms in claims]
    ledger = lay_out(OVER, [stored(f"${number}", number, facts) for number, facts in enumerate(told, start=1)])
    assert wrong_lengths.off_told(ledger) == (
        ("holds 2.0 s less sound than its file claims", 1),
        ("holds 20.0 s more sound than its file claims", 1),
    )
    assert [wrong_lengths.note(entry) for entry in ledger.entries] == [
        None,
        "holds more sound than its file claims",
        None,
        "holds less sound than its file claims",
    ]
