from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession

from storage.records import Room, Visibility
from tests.web.world import World, world_of


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[tuple[World, ClientSession]]:
    async with world_of(tmp_path / "data") as pair:
        yield pair


@pytest.fixture
def world(running: tuple[World, ClientSession]) -> World:
    return running[0]


@pytest.fixture
def client(running: tuple[World, ClientSession]) -> ClientSession:
    return running[1]


@pytest.fixture
async def room(world: World) -> Room:
    return await world.room(visibility=Visibility.PUBLIC)
