"""Starts in trouble: one that can't work ends with a sentence that says what to do."""

from pathlib import Path

import aiohttp
import pytest
from sqlalchemy import text

from bot import app
from bot.calls.engine import Engine
from bot.errors import StartError
from bot.settings import Settings, StorageSettings
from storage.database import FILE_NAME
from storage.errors import DiskFullError
from storage.store import Store
from tests.line.good_capture import replay
from tests.line.replay import Replay

__all__ = ["replay"]  # a fixture


def elsewhere(replay: Replay, tmp_path: Path, folder: str) -> Settings:
    (tmp_path / "a file").write_text("in the way")
    return replay.settings.model_copy(update={"storage": StorageSettings(directory=str(tmp_path / folder))})


async def test_a_data_folder_that_cannot_be_made_ends_the_start(replay: Replay, tmp_path: Path) -> None:
    """The start ends with a sentence that names the setting and the folder."""
    settings = elsewhere(replay, tmp_path, "a file/data")
    with pytest.raises(StartError, match=r"^storage.directory .*a file/data can't be written: Not a directory$"):
        async with app.running(settings):
            raise AssertionError("it runs")


async def test_a_newer_database_ends_the_start(replay: Replay, tmp_path: Path) -> None:
    """The start ends with a sentence that says to update the program; the database stays as it is."""
    settings = elsewhere(replay, tmp_path, "newer")
    store = await Store.own(settings.storage.place)
    async with store.write() as db:
        await db.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await store.close()
    before = [file.read_bytes() for file in settings.storage.path.glob(FILE_NAME)]  # none with PostgreSQL
    with pytest.raises(
        StartError, match=r"was written by a newer Aircheck: update the program, or restore a backup from"
    ):
        async with app.running(settings):
            raise AssertionError("it runs")
    assert [file.read_bytes() for file in settings.storage.path.glob(FILE_NAME)] == before


async def test_calls_that_cannot_be_recovered_end_no_start(
    replay: Replay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Feeds are served while the calls that a crash left are recovered, and if that fails, as on a full disk."""
    settings = replay.settings.model_copy(update={"storage": StorageSettings(directory=str(tmp_path / "new"))})
    answers: list[int] = []

    async def ask(*_: object) -> None:
        async with aiohttp.ClientSession(settings.web.address) as client, client.get("/healthz") as answer:
            answers.append(answer.status)

    async def begin(*_: object) -> None:
        await ask()
        raise DiskFullError("the disk is full")

    monkeypatch.setattr(Engine, "begin", begin)
    async with app.running(settings):
        await ask()
    assert answers == [200, 200]
