"""A whole installation: a bot, web processes and workers, each with settings, a folder and a port of its own."""

import asyncio
import copy
import itertools
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import yaml
from sqlalchemy import make_url

from storage.records import JobKind
from tests.line.world import World
from tests.many.town import Process, until
from tests.ports import free_port
from tests.postgresql import Server

OWNS, STANDS_BY = "this process owns the Matrix session", "standing by: another Aircheck owns"
READY_S = 60
HERE: Sequence[str] = ()

# The bot hears of its own commits before others do, and would take all jobs of a quiet test. With this trigger each of
# its claims of sound fails, as if the rows were locked, and is tried again later.
BUSY_BOT = (
    """
    CREATE FUNCTION leave() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF current_setting('application_name') LIKE 'aircheck owner %' THEN
            RAISE EXCEPTION 'left to workers' USING ERRCODE = 'lock_not_available';
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER leave BEFORE UPDATE ON jobs FOR EACH ROW
    WHEN (NEW.state = 'running' AND NEW.worker IS NULL AND NEW.kind IN ('fetch', 'encode', 'finish'))
    EXECUTE FUNCTION leave()
    """,
)


class Web:
    """A web process, asked on its own port."""

    def __init__(self, process: Process, base: str, public: str) -> None:
        self.process = process
        self._base = base
        self._public = public

    def at(self, address: str) -> str:
        """Return an address as this process serves it."""
        return self._base + address.removeprefix(self._public)

    async def status(self, address: str, *, within_s: float = 10) -> int:
        """Return how it answers, without following a redirect. Raises TimeoutError, aiohttp.ClientError."""
        limit = aiohttp.ClientTimeout(total=within_s)
        async with (
            aiohttp.ClientSession(timeout=limit) as http,
            http.get(self.at(address), allow_redirects=False) as answer,
        ):
            return answer.status

    async def redirect(self, address: str) -> str:
        """Return where it leads to."""
        async with aiohttp.ClientSession() as http, http.get(self.at(address), allow_redirects=False) as answer:
            assert answer.status == 302
            assert answer.headers["Cache-Control"].startswith("no-store")
            return answer.headers["Location"]


class Installation:
    """The processes of one archive. `world.tree` has the settings that all share."""

    def __init__(self, world: World, server: Server, folder: Path) -> None:
        self.world = world
        self._server = server
        self.folder = folder
        self._processes: list[Process] = []
        self._numbers = itertools.count(1)

    async def start(
        self, command: Sequence[str], ready: str, *, inside: Sequence[str] = HERE, **sections: Any
    ) -> Process:
        """Start a process of the shell, and wait until its log says that it is ready. `inside`: a command that runs it
        in another network; `sections`: its own settings."""
        name = f"{command[0]}-{next(self._numbers)}"
        tree = copy.deepcopy(self.world.tree)
        for section, values in sections.items():
            tree[section] = {**tree.get(section, {}), **values}
        config, log = self.folder / f"{name}.yaml", self.folder / f"{name}.log"
        config.write_text(yaml.safe_dump(tree))
        with log.open("wb") as out:
            child = await asyncio.create_subprocess_exec(
                *(*inside, sys.executable, "-m", "bot", *command, "-c", str(config)), stdout=out, stderr=out
            )
        process = Process(child, log)
        self._processes.append(process)
        await asyncio.wait_for(process.says(ready), READY_S)
        return process

    async def run(self, ready: str = OWNS, **options: Any) -> Process:
        return await self.start(["run"], ready, **options)

    async def work(self, number: int = 0, **options: Any) -> Process:
        """Start the worker of this number, which has a folder that others have not."""
        storage: Any = {"storage": {"directory": str(self.folder / f"worker{number}")}}
        return await self.start(["work", "--jobs", "2"], " at once, as ", **storage, **options)

    async def web(self, host: str = "127.0.0.1", **options: Any) -> Web:
        """Start a web process with a folder that nobody else has."""
        port = free_port()
        directory = str(self.folder / f"web{next(self._numbers)}")
        sections: Any = {"storage": {"directory": directory}, "web": {"host": host, "port": port}}
        process = await self.start(["web"], "serving: http", **sections, **options)
        return Web(process, f"http://{host}:{port}", self.world.web)

    async def end(self) -> None:
        for process in self._processes:
            if process.child.returncode is None:
                await process.kill()

    # ---- the database

    @property
    def database(self) -> str:
        """The name of the database."""
        return make_url(self.world.tree["storage"]["database_url"]).database or ""

    async def rows(self, *statements: str) -> list[Any]:
        return await self._server.execute(*statements, database=self.database)

    async def until_rows(self, statement: str) -> list[Any]:
        """Wait until a question has an answer."""
        rows: list[Any] = []

        async def answered() -> bool:
            rows[:] = await self.rows(statement)
            return bool(rows)

        await until(answered)
        return rows

    async def runner(self, kind: JobKind, among: Sequence[Process]) -> Process:
        """Wait until a worker runs a job of this kind, and return which."""
        running = f"SELECT worker FROM jobs WHERE state = 'running' AND kind = '{kind}' AND worker IS NOT NULL"  # noqa: S608
        ((name,),) = await self.until_rows(running)
        (found,) = (each for each in among if each.name == name)
        return found

    @asynccontextmanager
    async def held(self, table: str) -> AsyncIterator[None]:
        """Let nobody write to a table, so that who tries is in the middle of a transaction; until the block ends."""
        address = self._server.address(self.database).replace("+asyncpg", "")
        connection = await asyncpg.connect(address)
        try:
            async with connection.transaction():
                await connection.execute(f"LOCK TABLE {table} IN SHARE MODE")
                yield
        finally:
            await connection.close()

    async def until_stuck(self, table: str) -> None:
        """Wait until somebody is in the middle of a write to a table that is held."""
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        await self.until_rows(f"{waiting} AND query LIKE '%INTO {table} %'")


@asynccontextmanager
async def installation(world: World, server: Server, folder: Path) -> AsyncIterator[Installation]:
    """Provide an installation without processes, over the database that the world's settings name."""
    made = Installation(world, server, folder)
    assert os.environ.get("AWS_ACCESS_KEY_ID")
    try:
        yield made
    finally:
        await made.end()
