"""Worlds with a whole bot on the test run's homeserver, and a line that hears events made by hand."""

import asyncio
import itertools
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot.demo.synapse import Homeserver
from tests.lab import PASSWORD
from tests.line.replay import Capture, Replay, replaying
from tests.line.world import World
from tests.postgresql import EVERYWHERE, Server

_numbers = itertools.count(1)


class Worlds:
    """Worlds on one homeserver: `await world()` makes another, with its own account; settings may be changed. Each has
    a database of its own in the server, if there is one: its address is in the settings, for child processes too."""

    def __init__(self, homeserver: Homeserver, directory: Path, server: Server | None = None) -> None:
        self._homeserver = homeserver
        self._directory = directory
        self._server = server
        self._databases: list[str] = []

    async def __call__(self, **changed: dict[str, Any]) -> World:
        number = next(_numbers)
        user_id = await self._homeserver.register(f"aircheck{number}-{os.getpid()}", PASSWORD)
        storage = changed.get("storage", {})
        if self._server is not None and "database_url" not in storage:
            changed["storage"] = {**storage, "database_url": await self._new_database(self._server)}
        return World(self._homeserver, user_id, self._directory / f"bot{number}", changed)

    async def _new_database(self, server: Server, *, empty: bool = False) -> str:
        address = await server.new(empty=empty)
        self._databases.append(address)
        return address

    async def destroy(self, world: World) -> None:
        """Delete all that a bot which does not run has kept: its folder, and all tables of its database."""
        await asyncio.to_thread(shutil.rmtree, world.directory)
        if self._server is not None:
            world.tree["storage"]["database_url"] = await self._new_database(self._server, empty=True)

    async def close(self) -> None:
        for address in self._databases:
            assert self._server is not None
            await self._server.drop(address)


@pytest.fixture
async def world(request: pytest.FixtureRequest, homeserver: Homeserver, tmp_path: Path) -> AsyncIterator[Worlds]:
    worlds = Worlds(homeserver, tmp_path, request.getfixturevalue("postgresql") if EVERYWHERE else None)
    yield worlds
    await worlds.close()


@pytest.fixture
def room() -> Capture:
    return Capture("plain")


@pytest.fixture
async def replay(tmp_path: Path, room: Capture) -> AsyncIterator[Replay]:
    """Run a line whose bot is in the room."""
    async with replaying(tmp_path / "data") as made:
        await made.move_in(room)
        yield made
