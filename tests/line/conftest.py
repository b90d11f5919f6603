"""Bots on the test run's homeserver."""

import itertools
import os
from pathlib import Path
from typing import Any

import pytest

from bot.demo.synapse import Homeserver
from tests.lab import PASSWORD
from tests.line.house import House

_numbers = itertools.count(1)


class Houses:
    """`await house()` is a new bot; sections of the settings may be changed."""

    def __init__(self, homeserver: Homeserver, directory: Path) -> None:
        self._homeserver = homeserver
        self._directory = directory

    async def __call__(self, **changed: dict[str, Any]) -> House:
        number = next(_numbers)
        user_id = await self._homeserver.register(f"aircheck{number}-{os.getpid()}", PASSWORD)
        return House(self._homeserver, user_id, self._directory / f"bot{number}", changed)


@pytest.fixture
def house(homeserver: Homeserver, tmp_path: Path) -> Houses:
    return Houses(homeserver, tmp_path)
