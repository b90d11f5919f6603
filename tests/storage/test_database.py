"""Promises of a commit."""

from pathlib import Path

import pytest

from storage import journal, sqlite
from storage.place import Place
from storage.private import sync
from storage.store import Store
from tests.postgresql import of_the_file


@of_the_file
async def test_what_is_settled_survives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that holds the last commits is flushed, and none where they are in the database already."""
    store = await Store.own(Place(tmp_path / "data"))
    flushed: list[str] = []

    def noted(path: Path) -> None:
        sync(path)
        flushed.append(path.name)

    monkeypatch.setattr(sqlite, "sync", noted)
    try:
        async with store.write() as db:
            await journal.put(db, "key", "value")
        await store.database.settle()
        assert flushed == ["aircheck.db-wal"]
    finally:
        await store.close()
    await store.database.settle()
    assert flushed == ["aircheck.db-wal"]
