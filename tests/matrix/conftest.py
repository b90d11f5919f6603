"""Sessions on the real homeserver."""

import itertools
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from bot.demo.synapse import Homeserver
from tests.lab import PASSWORD
from tests.matrix.running import MemorySink, Running, make_settings
from tests.matrix.stub import Stub

_numbers = itertools.count(1)


class Bots:
    """A starter of bots: a new account each time, or with `again` the same device and sink once more."""

    def __init__(self, homeserver: Homeserver, directory: Path) -> None:
        self._homeserver = homeserver
        self._directory = directory
        self._running: list[Running] = []

    async def account(self) -> str:
        return await self._homeserver.register(f"bot{next(_numbers)}-{os.getpid()}", PASSWORD)

    async def __call__(self, *, again: Running | None = None, user_id: str | None = None) -> Running:
        user = again.session.user_id if again else user_id or await self.account()
        directory = again.directory if again else self._directory / user.partition(":")[0].lstrip("@")
        directory.mkdir(parents=True, exist_ok=True)
        settings = make_settings(self._homeserver.address, user)
        running = Running(settings, directory, again.sink if again else MemorySink())
        self._running.append(running)
        return await running.ready()

    async def close(self) -> None:
        for running in self._running:
            if not running.task.done():
                await running.stop()


@pytest.fixture
async def bots(homeserver: Homeserver, tmp_path: Path) -> AsyncIterator[Bots]:
    made = Bots(homeserver, tmp_path / "bots")
    yield made
    await made.close()


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    made = Stub()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    made.address = f"http://127.0.0.1:{port}"
    yield made
    await runner.cleanup()
