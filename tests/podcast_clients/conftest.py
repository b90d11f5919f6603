"""A station, and each of the podcast programs that are installed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.podcast_clients.programs import PODCASTERS, Program, installed
from tests.podcast_clients.station import Station, on_the_air


@pytest.fixture
async def station(tmp_path: Path) -> AsyncIterator[Station]:
    async with on_the_air(tmp_path / "data") as made:
        yield made


@pytest.fixture(params=PODCASTERS, ids=lambda program: program.name)
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Program:
    """Each program in turn."""
    kind: type[Program] = request.param
    needed(*kind.needs)
    return kind(tmp_path / "home")


def needed(*commands: str) -> None:
    """Leave the test out if a command is not installed."""
    missing = [command for command in commands if installed(command) is None]
    if missing:
        pytest.skip(f"LEFT OUT: {', '.join(missing)} not installed")
