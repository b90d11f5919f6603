"""The room is in control: no sequence of commands, membership changes, retention and restarts leaves an address working
for somebody who may not hear it, or a deleted recording audible.

AIRCHECK_CONTROL=2000 tries so many stories instead of the usual few.
"""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.control.machine import Control
from tests.interleaving.begun import begin, new_loop

STORIES = int(os.environ.get("AIRCHECK_CONTROL", "5"))
STEPS = 30


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    yield from new_loop()


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, loop: asyncio.AbstractEventLoop) -> Path:
    return begin(tmp_path_factory.mktemp("begun") / "data", loop)


def test_nobody_hears_what_the_room_has_not_allowed(begun: Path, loop: asyncio.AbstractEventLoop) -> None:
    """Whatever people say and whoever comes and goes, an address opens what its owner may hear, and nothing else."""

    class Here(Control):
        def __init__(self) -> None:
            super().__init__(begun, loop)

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=STORIES,
            stateful_step_count=STEPS,
            phases=[Phase.reuse, Phase.generate],
            report_multiple_bugs=False,
        ),
    )
