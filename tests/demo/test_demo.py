"""`aircheck demo` from the beginning to the end."""

import asyncio
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from bot import app
from bot.demo import demo
from bot.demo.demo import describe, folder, run_demo
from bot.demo.stage import Stage, set_stage
from bot.demo.verification import Comparison, Verdict
from bot.errors import ConfigError, StartError
from bot.settings import Settings
from storage.store import Store
from tests.ports import free_port


def console() -> tuple[Console, StringIO]:
    written = StringIO()
    return Console(file=written, width=200), written


@pytest.mark.synapse
async def test_the_demo_publishes_episodes_that_are_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --once the demo checks both episodes against what was said, prints the addresses and ends with 0."""
    monkeypatch.setattr(demo, "QUICK", 1000.0)
    out, written = console()
    assert await run_demo(once=True, port=free_port(), directory=tmp_path / "kept", out=out) == 0
    told = written.getvalue()
    for words in (
        "Aircheck joined",
        "To confirm, say `!aircheck yes`",
        "is deleted",
        "chunk 11 stored",
        "published: an episode of 56.5 s",
        "checked: the episode has the exact length of the broadcast (56.520 s, 2712960 samples)",
        "checked: the voice message has the exact length of the broadcast (56.520 s, 2712960 samples)",
        "voice message of Jonas stored",
        "checked: the episode has the exact length of the voice messages (19.760 s, 948480 samples)",
        "checked: it has a chapter for each turn (Mira at 0.000 s, Jonas at 7.920 s, Mira at 14.840 s)",
    ):
        assert words in told
    assert "/feed.xml" in told
    assert (tmp_path / "kept" / "aircheck").is_dir()


@dataclass
class FailingAircheck:
    """A bot whose parts end at once."""

    store: Store
    failed: "asyncio.Future[None]"
    address: str = "http://127.0.0.1:1"


@pytest.mark.synapse
async def test_the_demo_ends_with_the_bots_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a part of the bot fails, the demo ends with its sentence and waits for nothing more."""

    @asynccontextmanager
    async def running(settings: Settings) -> AsyncIterator[FailingAircheck]:
        store = await Store.own(settings.storage.place)
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        failed.set_exception(StartError("the bot can't go on"))
        yield FailingAircheck(store, failed)
        await store.close()

    monkeypatch.setattr(app, "running", running)
    with pytest.raises(StartError, match="the bot can't go on"):
        await run_demo(once=True, port=free_port(), directory=tmp_path / "kept", out=console()[0])


@pytest.mark.synapse
async def test_the_demo_can_be_stopped_at_any_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C before the episode is published ends the demo with 1."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    out, written = console()

    @asynccontextmanager
    async def interrupted(directory: Path) -> AsyncIterator[Stage]:
        asyncio.get_running_loop().call_later(0.5, os.kill, os.getpid(), signal.SIGINT)  # while it starts
        async with set_stage(directory) as stage:
            yield stage

    monkeypatch.setattr(demo, "set_stage", interrupted)
    assert await run_demo(once=False, port=free_port(), directory=None, out=out) == 1
    assert "Stopped before the episode was published." in written.getvalue()
    assert os.listdir(tmp_path) == []  # noqa: PTH208  it blocks nobody here


async def test_a_port_that_is_taken() -> None:
    """A port in use is an error at once, which names the argument."""
    out, written = console()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"--port {port} "):
            await run_demo(once=True, port=port, directory=None, out=out)
    assert written.getvalue() == ""


def test_a_folder_that_is_not_empty(tmp_path: Path) -> None:
    """A named folder must be new or empty, and a file can't be one; the sentence names the argument."""
    with folder(tmp_path / "new" / "one") as made:
        (made / "something").touch()
    with pytest.raises(ConfigError, match=r"--directory \S+ is not empty"), folder(made):
        pass
    with pytest.raises(ConfigError, match=r"--directory \S+ can't be used"), folder(made / "something"):
        pass


def test_a_folder_of_its_own_is_removed() -> None:
    """The temporary folder is removed at the end."""
    with folder(None) as made:
        assert made.is_dir()
    assert not made.exists()


def test_the_verdict_in_words() -> None:
    """A passed episode is described by its length; of many problems the first are listed."""
    comparisons = (Comparison(0.0, 0, 1.0),) * 3
    assert "1.000 s, 48000 samples" in describe("episode", Verdict(48_000, 48_000, comparisons, ()))[0]
    assert describe("episode", Verdict(1, 2, comparisons, ("it is too long",))) == [
        "WRONG: the episode: it is too long"
    ]
    assert describe("episode", Verdict(1, 2, comparisons, ("x",) * 7))[-1] == "WRONG: and 2 more"
