"""All benchmarks in one table, whatever becomes of one of them."""

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
    """It stands in the table, the others do too, and the run has failed."""
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
    """Of four minutes, cut where a page ends, the third slice has no sound."""
    assert concatenated(240) > 0
