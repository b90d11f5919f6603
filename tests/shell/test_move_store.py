"""`aircheck move-store --to`: one sentence at the end, and each reason against it is told with its exit code."""

import asyncio
import sys
from pathlib import Path

import pytest

from bot.errors import ConfigError
from bot.settings import Settings, validate
from bot.shell import move_store as moving
from storage import rooms
from storage.errors import StoreLockedError
from storage.store import Store
from tests.factories import ROOM, a_room
from tests.postgresql import Server, of_the_file
from tests.shell.test_cli import MATRIX, aircheck, settings_file

pytestmark = of_the_file


def settings_in(folder: Path, **storage: str) -> Settings:
    return validate({"matrix": MATRIX, "storage": {"directory": str(folder / "data"), **storage}})


async def fill(settings: Settings) -> None:
    store = await Store.own(settings.storage.place)
    async with store.write() as db:
        await rooms.save_room(db, a_room())
    await store.close()


async def test_an_archive_moves_there_and_back_by_command(tmp_path: Path, postgresql: Server) -> None:
    """The command says how many rows it moved and which setting to change, without the password; then it goes back."""
    address = await postgresql.new(empty=True)
    await fill(settings_in(tmp_path))
    file = settings_file(tmp_path)
    there = address.replace("//postgres@", "//postgres:secret@")
    ended = await asyncio.to_thread(aircheck, "move-store", "--to", there, "-c", str(file), cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("moved 1 rows, and compared them: done, now set storage.database_url to postgresql+")
    assert "secret" not in ended.stdout
    (tmp_path / "data" / "aircheck.db").rename(tmp_path / "before.db")
    moved = settings_in(tmp_path, database_url=address)
    store = await Store.own(moved.storage.place)
    async with store.read() as db:
        assert await rooms.room(db, ROOM) is not None
    await store.close()
    assert (await moving.move_store(moved, "sqlite")).endswith("now remove storage.database_url from the settings")
    await postgresql.drop(address)


async def test_a_move_that_can_not_be_is_refused_in_one_sentence(tmp_path: Path, postgresql: Server) -> None:
    """A running bot, an address of another kind and a database that holds rows are named, and nothing is written."""
    address = await postgresql.new()
    settings = settings_in(tmp_path)
    await fill(settings)
    running = await Store.own(settings.storage.place)
    ended = await asyncio.to_thread(
        aircheck, "move-store", "--to", address, "-c", str(settings_file(tmp_path)), cwd=tmp_path
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "another Aircheck is running" in ended.stderr
    with pytest.raises(StoreLockedError):
        await moving.move_store(settings, address)
    await running.close()
    with pytest.raises(ConfigError, match="--to: write postgresql"):
        await moving.move_store(settings, "mysql://db/aircheck")
    await moving.move_store(settings, address)
    (other := tmp_path / "other").mkdir()
    await fill(settings_in(other))
    with pytest.raises(ConfigError, match="not empty: it holds rows in `rooms`; give an empty one"):
        await moving.move_store(settings_in(other), address)
    await postgresql.drop(address)


async def test_a_terminal_sees_how_far_the_move_is(
    tmp_path: Path, postgresql: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Table after table, on standard error."""
    address = await postgresql.new()
    settings = settings_in(tmp_path)
    await fill(settings)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    await moving.move_store(settings, address)
    seen = capsys.readouterr().err
    assert "extents" in seen
    assert "0/0" in seen
    await postgresql.drop(address)
