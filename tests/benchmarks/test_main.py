"""The table of all benchmarks."""

import sys

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks.figures import Figure
from benchmarks.finishing import concatenated


def breaks() -> list[Figure]:
    raise OSError("no room")


def measures() -> list[Figure]:
    return [Figure("the answer", "", "42 s")]


def test_one_that_fails_stops_no_other(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A benchmark that fails stands in the table, the others run, and the run fails."""
    monkeypatch.setattr(benchmarks, "GROUPS", {"broken": (breaks,), "healthy": (measures,)})
    monkeypatch.setattr(sys, "argv", ["benchmarks"])
    with pytest.raises(SystemExit) as end:
        benchmarks.main()
    assert end.value.code == 1
    table = capsys.readouterr().out
    assert "tests.benchmarks.test_main.breaks" in table
    assert "OSError" in table
    assert "42 s" in table


def test_concatenating_passes_over_an_empty_tail() -> None:
    """The empty third slice of four minutes, cut at the end of a page, is skipped."""
    assert concatenated(240) > 0
