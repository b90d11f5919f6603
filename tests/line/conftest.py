"""Worlds with a whole bot on the test run's homeserver."""

import itertools
import os
from pathlib import Path
from typing import Any

import pytest

from bot.demo.synapse import Homeserver
from tests.lab import PASSWORD
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
