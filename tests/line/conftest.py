"""Worlds with a whole bot on the test run's homeserver, and a line that hears events made by hand."""

import itertools
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot.demo.synapse import Homeserver
from tests.lab import PASSWORD
from tests.line.replay import Capture, Replay, replaying
from tests.line.world import World

_numbers = itertools.count(1)


class Worlds:
    """Worlds on one homeserver: `await world()` makes another, with its own account; settings may be changed."""

    def __init__(self, homeserver: Homeserver, directory: Path) -> None:
        self._homeserver = homeserver
        self._directory = directory

    async def __call__(self, **changed: dict[str, Any]) -> World:
        number = next(_numbers)
        user_id = await self._homeserver.register(f"aircheck{number}-{os.getpid()}", PASSWORD)
        return World(self._homeserver, user_id, self._directory / f"bot{number}", changed)


@pytest.fixture
def world(homeserver: Homeserver, tmp_path: Path) -> Worlds:
    return Worlds(homeserver, tmp_path)


@pytest.fixture
def room() -> Capture:
    return Capture("plain")


@pytest.fixture
async def replay(tmp_path: Path, room: Capture) -> AsyncIterator[Replay]:
    """Run a line whose bot is in the room."""
    async with replaying(tmp_path / "data") as made:
        await made.move_in(room)
        yield made
