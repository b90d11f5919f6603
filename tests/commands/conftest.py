import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.place import Place
from storage.store import Store
from tests.commands.world import World


@pytest.fixture(scope="session")
async def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the folder of an empty store once: its tables take most of the time of these tests."""
    directory = tmp_path_factory.mktemp("commands") / "data"
    await (await Store.own(Place(directory))).close()
    return directory


@pytest.fixture
async def bare(empty_store: Path, tmp_path: Path) -> AsyncIterator[World]:
    """Provide a world without a room."""
    store = await Store.own(Place(shutil.copytree(empty_store, tmp_path / "data")))
    yield World(store)
    await store.close()


@pytest.fixture
async def world(bare: World) -> World:
    """Provide a world with a private room of version 12 that records."""
    await bare.open()
    return bare
