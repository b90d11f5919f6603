"""A small soak, in a minute."""

from pathlib import Path

import pytest

from benchmarks.figures import failed
from benchmarks.soak import table
from benchmarks.soaking import course
from benchmarks.soaking.course import Shape, Soak
from benchmarks.soaking.faults import Fault
from bot.demo.synapse import Homeserver
from tests.ports import free_port

SMALL = Shape(
    rooms=5,
    encrypted=2,
    chunks=5,
    pace=3.0,
    faults={Fault.KILL: 1, Fault.BROKEN: 1, Fault.LIMITED: 1},
    at_the_end={Fault.CUT: 1},
    ending_s=4.0,
    quiet_period_s=2,
    patience_s=240.0,
    look_s=1.0,
)


@pytest.mark.long
async def test_a_small_soak_loses_nothing(
    homeserver: Homeserver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five live rooms, a killed bot and a failing network lose nothing and double nothing."""
    monkeypatch.setattr(course, "free_port", free_port)  # the bot that is killed gets its port again
    outcome = await Soak(homeserver, tmp_path, SMALL).run()
    assert outcome.verdict.problems == []
    assert (outcome.verdict.lost, outcome.verdict.chunks) == (0, 5 * SMALL.chunks)
    assert len(outcome.finish_s) == 5
    assert (outcome.bot.starts, outcome.exit_code, outcome.bot.mistakes()) == (2, 0, 0)
    assert sum(outcome.met.values()) > 0, "no request met a fault: the run shows nothing"
    figures = table(SMALL, outcome)
    assert all(figure.within is not False for figure in figures), figures
    assert not failed(figures)
