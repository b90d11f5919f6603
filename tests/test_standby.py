"""A stand-by that waits: the metrics that it serves meanwhile. `tests/line/test_standby.py` has its take-overs."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientConnectorError, ClientSession
from prometheus_client.parser import text_string_to_metric_families

from bot import standby
from storage.errors import StoreBusyError, StoreLockedError
from storage.place import Place
from storage.store import Store
from tests.clock import Clock
from tests.ports import free_port
from tests.web.world import NOW, settings_with

LOCKED = StoreLockedError("another Aircheck owns the Matrix session")


class Waiting:
    """A stand-by whose attempts end as the test says, and a client of its port of metrics."""

    def __init__(self, port: int, client: ClientSession) -> None:
        self.port = port
        self.clock = Clock(NOW)
        self.stop = asyncio.Event()
        self.ends: StoreLockedError | StoreBusyError | None = LOCKED
        self.tried = asyncio.Condition()
        self._client = client

    async def attempt(self, _: Place) -> None:
        async with self.tried:
            self.tried.notify_all()
        if self.ends is not None:
            raise self.ends

    async def tries(self) -> None:
        """Wait until it has been refused once more."""
        async with self.tried:
            await self.tried.wait()
            await self.tried.wait()

    async def figures(self) -> dict[str, float]:
        async with self._client.get(f"http://127.0.0.1:{self.port}/metrics") as answer:
            families = text_string_to_metric_families(await answer.text())
            return {sample.name: sample.value for family in families for sample in family.samples}

    async def problems(self) -> tuple[int, list[str]]:
        async with self._client.get(f"http://127.0.0.1:{self.port}/healthz") as answer:
            return answer.status, [problem["what"] for problem in (await answer.json())["problems"]]


@pytest.fixture
async def waiting(monkeypatch: pytest.MonkeyPatch, unused_port: int) -> AsyncIterator[Waiting]:
    monkeypatch.setattr(standby, "LOOK_EVERY_S", 0.01)
    async with ClientSession() as client:
        made = Waiting(unused_port, client)
        monkeypatch.setattr(Store, "own", made.attempt)
        yield made


@pytest.fixture
def unused_port() -> int:
    return free_port()


@asynccontextmanager
async def standing_by(waiting: Waiting, folder: Path) -> AsyncIterator["asyncio.Task[Store]"]:
    settings = settings_with(web={"port": 0, "metrics_port": waiting.port})
    place = Place(folder, "postgresql://nowhere/aircheck")
    task = asyncio.create_task(standby.own(place, waiting.stop, settings, waiting.clock))
    try:
        await waiting.tries()
        yield task
    finally:
        waiting.stop.set()
        await asyncio.gather(task, return_exceptions=True)


async def test_metrics_while_it_waits(waiting: Waiting, tmp_path: Path) -> None:
    """A stand-by serves metrics that say that it works and owns nothing; once it is the owner the port is free."""
    async with standing_by(waiting, tmp_path) as owning:
        figures = await waiting.figures()
        assert (figures["aircheck_owner"], figures["aircheck_up"]) == (0, 1)
        assert "aircheck_rooms" not in figures
        assert await waiting.problems() == (200, [])
        waiting.ends = None
        await owning
        with pytest.raises(ClientConnectorError):
            await waiting.figures()


async def test_a_database_that_is_away(waiting: Waiting, tmp_path: Path) -> None:
    """A stand-by whose database does not answer says so, and does not work after half a minute; then it waits again."""
    async with standing_by(waiting, tmp_path):
        waiting.ends = StoreBusyError("the database does not answer")
        await waiting.tries()
        waiting.clock.pass_by(10)
        assert await waiting.problems() == (200, ["database"])
        waiting.clock.pass_by(21)
        assert await waiting.problems() == (503, ["database"])
        waiting.ends = LOCKED
        await waiting.tries()
        assert await waiting.problems() == (200, [])


async def test_a_port_in_use(waiting: Waiting, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A stand-by beside the owner, whose port of metrics it would use, waits without them."""
    with socket.create_server(("127.0.0.1", waiting.port)):
        async with standing_by(waiting, tmp_path) as owning:
            assert not owning.done()
    assert f"standing by without metrics: web.metrics_port {waiting.port} can't be used" in caplog.text
