"""Fixtures for all tests. The homeserver is a real one, started once for a whole run when the first test asks."""

import asyncio
import gc
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import mkdtemp
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import Dialect
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import LRUCache

from bot import language, log
from bot.demo.synapse import Homeserver
from storage import migrate, sqlite
from storage.blobs import standing
from tests.lab import FederatedHomeserver, People, RtcHomeserver
from tests.ports import free_port
from tests.postgresql import EVERYWHERE, Server, drop_all_but, in_place_of_files, memory
from tests.world import World, world_of

if TYPE_CHECKING:
    from tests.buckets.faults import Proxy
    from tests.buckets.servers import TestBucket

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
    "tests/line/test_town.py",
    "tests/demo/test_demo.py",
    "tests/line/test_process.py",
    "tests/line/test_away.py",
    "tests/audio/test_hostile.py",
    "tests/test_many_chunks.py",
    "tests/worker/test_handing_back.py",
    "tests/worker/test_kill_points_floor.py",
    "tests/worker/test_kill_points_retention.py",
    "tests/worker/test_sending_broadcast.py",
)

WITH_GATEWAY = os.environ.get("AIRCHECK_TEST_S3") == "gateway"
MAKING = {
    Path(__file__).parent / "storage" / name for name in ("test_migrate.py", "test_migrations.py", "test_store.py")
}
"""Files that test how a database is made."""


def pytest_collection_finish() -> None:
    """Leave thousands of tests, which stay to the end, out of each garbage collection."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark whatever asks for the homeserver with `synapse`; in a run of several processes, sort the longest first."""
    for item in items:
        if {"homeserver", "federation", "rtc_homeserver", "far_rtc_homeserver"} & set(
            getattr(item, "fixturenames", ())
        ):
            item.add_marker("synapse")
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: _rank(item.nodeid.partition("::")[0]))


def _rank(file: str) -> int:
    return LONGEST_FIRST.index(file) if file in LONGEST_FIRST else len(LONGEST_FIRST)


@pytest.fixture(scope="session", autouse=True)
def _options_of_the_run_are_no_settings() -> Iterator[None]:
    """Hide `AIRCHECK_TEST_DATABASE` and its like, which modules of tests have read, from the bot: it refuses what is
    named as its settings are, and is none."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AIRCHECK_")]:
            patch.delenv(name)
        yield


@pytest.fixture(autouse=True)
def _process_goes_on() -> Iterator[None]:
    """Leave nothing of the process to the next test: the shell sets and ends its log, and a media store may have
    failed."""
    levels = {name: logging.getLogger(name).level for name in ("", *log.OURS, *log.CAPPED)}
    handlers, raising = logging.getLogger().handlers[:], logging.raiseExceptions
    yield
    logging.disable(logging.NOTSET)
    logging.captureWarnings(False)
    logging.raiseExceptions = raising
    logging.getLogger().handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    standing._away_since = None


@pytest.fixture(scope="module", autouse=True)
def _nothing_left_open() -> Iterator[None]:
    """Collect garbage after each file, so that a connection, file or task that was left open fails the file that left
    it, each time, and not now and then a test that comes later."""
    yield
    gc.collect()
    gc.freeze()  # what stays, such as caches, is not searched again after each file to come


@pytest.fixture(scope="module", autouse=True)
def _english() -> None:
    """Let the tests of a file speak English, whatever the settings of a bot in the file before said."""
    language.configure("en")


@pytest.fixture(scope="session")
def _empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a new database, made once."""
    path = tmp_path_factory.mktemp("empty") / "aircheck.db"
    migrate.upgrade(path)
    return path


@pytest.fixture(scope="module", autouse=True)
def _copied_databases(request: pytest.FixtureRequest, _empty_database: Path) -> Iterator[None]:
    """Copy new databases: to make one takes longer than most tests. Files that test how one is made make theirs."""
    upgrade = migrate.upgrade

    def copy_or_upgrade(path: Path) -> None:
        if path.exists():
            upgrade(path)
        else:
            path.touch(mode=0o600)
            shutil.copyfile(_empty_database, path)

    with pytest.MonkeyPatch.context() as patch:
        if request.path not in MAKING:
            patch.setattr(migrate, "upgrade", copy_or_upgrade)
        yield


def _compile_once(patch: pytest.MonkeyPatch, module: ModuleType, dialect: type[Dialect]) -> None:
    """Compile each SQL statement once, not anew for the store of each test: that takes longer than to execute it."""
    shared: LRUCache[Any, Any] = LRUCache(5000)
    create = create_async_engine

    def create_sharing(*args: Any, **named: Any) -> AsyncEngine:
        engine = create(*args, **named)
        engine.sync_engine._compiled_cache = shared
        return engine

    # Statements are found by their dialect, of which each engine has one; those of all stores are alike.
    patch.setattr(dialect, "__hash__", lambda self: hash(type(self)))
    patch.setattr(dialect, "__eq__", lambda self, other: type(self) is type(other))
    patch.setattr(module, "create_async_engine", create_sharing)


@pytest.fixture(scope="session", autouse=True)
def _compiled_statements() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        _compile_once(patch, sqlite, SQLiteDialect_aiosqlite)
        yield


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """PostgreSQL, shared by the whole run. A test makes databases of its own in it, and leaves it running."""
    from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg  # most runs need none

    from storage import postgresql as by_address

    server = Server()
    with pytest.MonkeyPatch.context() as patch:
        _compile_once(patch, by_address, PGDialect_asyncpg)
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="module", autouse=True)
def _stores_by_address(request: pytest.FixtureRequest) -> Iterator[dict[Path, str] | None]:
    """Keep each store of a module in a database by address where the environment says so, but those of files alone."""
    if not EVERYWHERE or request.path in MAKING or request.path.parent.name == "storage":
        yield None
        return
    with in_place_of_files(request.getfixturevalue("postgresql")) as addresses:
        yield addresses


@pytest.fixture(autouse=True)
def _databases_of_one_test(
    request: pytest.FixtureRequest, _stores_by_address: dict[Path, str] | None
) -> Iterator[None]:
    """Drop the databases by address of a test after it, but those of its module."""
    if _stores_by_address is None:
        yield
        return
    server: Server = request.getfixturevalue("postgresql")
    before = frozenset(_stores_by_address)
    yield
    drop_all_but(server, _stores_by_address, before)


@pytest.fixture(scope="session")
def object_storage(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server of S3: its address. It is moto's, or the gateway where the environment says so."""
    if WITH_GATEWAY:
        yield request.getfixturevalue("s3_gateway")
        return
    from tests.buckets.servers import moto  # most runs need none

    with moto() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def s3_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The gateway to S3, which checks signatures: its address. Where it is not built, its tests are left out."""
    from tests.buckets import gateway  # most runs need none

    if not gateway.is_built():
        pytest.skip(gateway.MISSING)
    with gateway.gateway(tmp_path_factory.mktemp("gateway")) as endpoint:
        yield endpoint


@pytest.fixture
def bucket(object_storage: str, monkeypatch: pytest.MonkeyPatch) -> "TestBucket":
    """A new bucket, with its keys in the environment."""
    from tests.buckets.servers import new_bucket

    return new_bucket(object_storage, monkeypatch)


@pytest.fixture
def proxy(bucket: "TestBucket") -> Iterator["Proxy"]:
    """A proxy before the bucket, which makes faults."""
    from tests.buckets.faults import proxy_before

    with proxy_before(bucket.endpoint) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def _homeservers() -> Iterator[Path]:
    """The folder of the homeservers, which is removed however the run ends."""
    folder = mkdtemp(prefix="aircheck-homeservers-", dir=memory())
    remove = "import shutil, sys; sys.stdin.read(); shutil.rmtree(sys.argv[1], ignore_errors=True)"
    command = (sys.executable, "-ISc", remove, folder)
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True):
        yield Path(folder)


@pytest.fixture(scope="session")
def homeserver(_homeservers: Path) -> Iterator[Homeserver]:
    """Synapse. A test may restart it, and must leave it running."""
    started = asyncio.run(Homeserver.start(_homeservers / "homeserver", port=free_port()))
    yield started
    asyncio.run(started.stop())


@pytest.fixture(scope="session")
def federation(_homeservers: Path) -> Iterator[tuple[FederatedHomeserver, FederatedHomeserver]]:
    """Two Synapses that are federated over loopback."""
    directory = _homeservers / "federation"

    async def start() -> tuple[FederatedHomeserver, FederatedHomeserver]:
        one, other = (FederatedHomeserver.start_federated(directory / name) for name in ("one", "other"))
        return await asyncio.gather(one, other)

    pair = asyncio.run(start())
    yield pair
    for homeserver in pair:
        asyncio.run(homeserver.stop())


@pytest.fixture(scope="session")
def rtc_homeserver(_homeservers: Path) -> Iterator[RtcHomeserver]:
    """Synapse with everything of MatrixRTC. A test may restart it, and must leave it running."""
    started = asyncio.run(RtcHomeserver.start_federated(_homeservers / "rtc"))
    yield started
    asyncio.run(started.stop())


@pytest.fixture(scope="session")
def far_rtc_homeserver(_homeservers: Path) -> Iterator[RtcHomeserver]:
    """Another Synapse with everything of MatrixRTC, federated with `rtc_homeserver`."""
    started = asyncio.run(RtcHomeserver.start_federated(_homeservers / "far_rtc"))
    yield started
    asyncio.run(started.stop())


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
