"""Counts and durations in plain numbers."""

import pytest

from storage.tally import Count, Durations


def test_counts_by_label() -> None:
    """A count has a sum for each combination of label values."""
    count = Count("aircheck_things_total", "Things.", "kind", "outcome")
    assert count.copy() == {}
    count.add("a", "done")
    count.add("a", "done", by=2)
    count.add("b", "failed")
    assert count.copy() == {("a", "done"): 3, ("b", "failed"): 1}


def test_a_count_without_labels_begins_at_nothing() -> None:
    """A count without labels is 0 before its first time, so that the first time shows as growth."""
    assert Count("aircheck_things_total", "Things.").copy() == {(): 0}
    assert Durations("aircheck_seconds", "Seconds.", bounds=(1, 2)).copy() == {(): ([0, 0, 0], 0)}


def test_known_values_begin_at_nothing() -> None:
    """A count whose label values are known is 0 for each before its first time; one of which some are not, once it is
    told them. What was counted stays."""
    assert Count("aircheck_things_total", "Things.", outcome=("done", "failed")).copy() == {
        ("done",): 0,
        ("failed",): 0,
    }
    count = Count("aircheck_things_total", "Things.", "kind", outcome=("done", "failed"))
    assert count.copy() == {}
    count.add("a", "done")
    count.begin("a")
    assert count.copy() == {("a", "done"): 1, ("a", "failed"): 0}


def test_durations_fall_into_ranges() -> None:
    """A duration counts in the range whose upper bound it does not exceed, and in the sum."""
    seconds = Durations("aircheck_seconds", "Seconds.", bounds=(1, 2))
    for each in (0.5, 1, 1.5, 7):
        seconds.note(each)
    assert seconds.copy() == {(): ([2, 1, 1], 10)}


def test_what_raises_took_its_time_too() -> None:
    """The length of a block is noted when it raises."""
    seconds = Durations("aircheck_seconds", "Seconds.", "kind", bounds=(60,))
    with pytest.raises(ValueError, match="no"), seconds.timing("a"):
        raise ValueError("no")
    assert seconds.copy()[("a",)][0] == [1, 0]
