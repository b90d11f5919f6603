"""Fixtures for all tests. The homeserver is a real one, started once for a whole run when the first test asks."""

import asyncio
import logging
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from bot.demo.synapse import Homeserver
from storage import migrate
from tests.lab import FederatedHomeserver, People
from tests.world import World, world_of

# A busy machine is no failure, and continuous integration tries the same examples each time.
settings.register_profile(
    "aircheck", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=bool(os.environ.get("CI"))
)
settings.load_profile("aircheck")


# Files that take longest, beginning with those that wait for real time. Started last, they would keep one core busy
# while the other has nothing left to do.
LONGEST_FIRST = (
    "tests/benchmarks/test_soak.py",
    "tests/test_interleavings.py",
    "tests/worker/test_kill_points.py",
    "tests/worker/test_kill_points_outside.py",
    "tests/worker/test_hostile_queue.py",
    "tests/demo/test_demo.py",
    "tests/line/test_process.py",
    "tests/line/test_away.py",
    "tests/audio/test_hostile.py",
    "tests/test_many_chunks.py",
)

STORAGE = Path(__file__).parent / "storage"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark whatever asks for the homeserver with `synapse`; in a run of several processes, sort the longest first."""
    for item in items:
        if {"homeserver", "federation"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("synapse")
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: _rank(item.nodeid.partition("::")[0]))


def _rank(file: str) -> int:
    return LONGEST_FIRST.index(file) if file in LONGEST_FIRST else len(LONGEST_FIRST)


@pytest.fixture(autouse=True)
def _logging_goes_on() -> Iterator[None]:
    """The shell ends its process's log; a process of tests goes on."""
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="session")
def _empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a new database, made once."""
    path = tmp_path_factory.mktemp("empty") / "aircheck.db"
    migrate.upgrade(path)
    return path


@pytest.fixture(scope="module", autouse=True)
def _copied_databases(request: pytest.FixtureRequest, _empty_database: Path) -> Iterator[None]:
    """Copy new databases: to make one takes longer than most tests. The tests of storage make each of theirs."""
    upgrade = migrate.upgrade

    def copy_or_upgrade(path: Path) -> None:
        if path.exists():
            upgrade(path)
        else:
            path.touch(mode=0o600)
            shutil.copyfile(_empty_database, path)

    with pytest.MonkeyPatch.context() as patch:
        if STORAGE not in request.path.parents:
            patch.setattr(migrate, "upgrade", copy_or_upgrade)
        yield


@pytest.fixture(scope="session")
def homeserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Homeserver]:
    """Synapse. A test may restart it, and must leave it running."""
    started = asyncio.run(Homeserver.start(tmp_path_factory.mktemp("homeserver")))
    yield started
    asyncio.run(started.stop())


@pytest.fixture(scope="session")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FederatedHomeserver, FederatedHomeserver]]:
    """Two Synapses that are federated over loopback."""
    directory = tmp_path_factory.mktemp("federation")

    async def start() -> tuple[FederatedHomeserver, FederatedHomeserver]:
        one, other = (FederatedHomeserver.start_federated(directory / name) for name in ("one", "other"))
        return await asyncio.gather(one, other)

    pair = asyncio.run(start())
    yield pair
    for homeserver in pair:
        asyncio.run(homeserver.stop())


@pytest.fixture
async def person(homeserver: Homeserver, tmp_path: Path) -> AsyncIterator[People]:
    """`await person("alice")` makes somebody new, whose name no other test has."""
    people = People(homeserver, tmp_path / "people")
    yield people
    await people.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """The bot without homeserver and web, in Alice's room, where it records. Folders with other worlds override it."""
    async with world_of(tmp_path / "data") as made:
        await made.join()
        yield made
