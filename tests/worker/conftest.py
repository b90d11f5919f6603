from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.store import Store
from tests.world import World, world_of


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An empty one."""
    opened = await Store.own(tmp_path / "data")
    yield opened
    await opened.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """The core, the bot being in Alice's room."""
    async with world_of(tmp_path / "data") as made:
        await made.join()
        yield made
