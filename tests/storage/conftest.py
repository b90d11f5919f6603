from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.place import Place
from storage.store import Store
from tests.postgresql import EVERYWHERE, Server

DATABASES = ("postgresql",) if EVERYWHERE else ("sqlite", "postgresql")


@pytest.fixture(params=DATABASES)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """The place of a new store, with either database."""
    if request.param == "sqlite":
        yield Place(tmp_path / "data")
        return
    server: Server = request.getfixturevalue("postgresql")
    address = await server.new()
    yield Place(tmp_path / "data", address)
    await server.drop(address)


@pytest.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    opened = await Store.own(place)
    yield opened
    await opened.close()
