"""The store: ownership, versions and transactions."""

import sqlite3
import stat
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, select, text

from storage import journal, migrate
from storage.errors import StoreError, StoreLockedError, StoreTooNewError
from storage.place import Place
from storage.revisions import configuration
from storage.store import Store, is_owned
from storage.tables import jobs, meta, metadata


async def test_the_folder_and_the_database_are_for_the_owner_alone(store: Store) -> None:
    """Audio of encrypted rooms is stored here, so folders have mode 0700 and files 0600."""
    assert stat.S_IMODE(store.directory.stat().st_mode) == 0o700
    for file in store.directory.glob("aircheck.*"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


async def test_a_folder_of_somebody_else_that_may_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A volume that belongs to root and that a group may write (Kubernetes' fsGroup) can be used as it is."""

    def not_ours(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", not_ours)
    await (await Store.own(Place(tmp_path))).close()
    with pytest.raises(StoreError, match="can't be written"):
        await Store.own(Place(Path("/proc/nowhere")))


async def test_a_second_owner_is_refused_and_a_reader_is_not(store: Store) -> None:
    """The store is owned by one process; others may read."""
    with pytest.raises(StoreLockedError, match="another Aircheck"):
        await Store.own(store.place)
    reader = await Store.look(store.place)
    async with reader.read() as db:
        assert await journal.position(db) == 0
    await reader.close()
    assert await is_owned(store.place)


async def test_the_lock_ends_with_its_owner(place: Place) -> None:
    """A store that was closed can be owned again, at once."""
    first = await Store.own(place)
    await first.close()
    assert not await is_owned(place)
    second = await Store.own(place)
    await second.close()


async def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    """A database of a newer version is not changed."""
    await (await Store.own(Place(tmp_path))).close()
    with closing(sqlite3.connect(tmp_path / "aircheck.db")) as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
        db.commit()
    with pytest.raises(StoreTooNewError, match="newer"):
        await Store.own(Place(tmp_path))
    with pytest.raises(StoreTooNewError, match="newer"):
        await Store.look(Place(tmp_path))
    assert migrate.revision_of(tmp_path / "aircheck.db") == "9999"
    assert not await is_owned(Place(tmp_path))


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    """A file that is no database is reported in one sentence."""
    (tmp_path / "aircheck.db").write_bytes(b"not a database at all, but long enough to be looked at" * 20)
    with pytest.raises(StoreError, match=r"aircheck\.db is not an Aircheck database"):
        await Store.own(Place(tmp_path))


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file in the folder's place is reported in one sentence."""
    (tmp_path / "data").write_text("")
    with pytest.raises(StoreError, match=r"storage\.directory"):
        await Store.own(Place(tmp_path / "data"))


async def test_migrations_lead_to_the_tables(store: Store) -> None:
    """The migrations make the tables that the code expects, with their types, in both databases."""

    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, metadata))

    async with store.read() as db:
        assert await db.run_sync(differences) == []
    assert ScriptDirectory.from_config(configuration()).get_current_head() == migrate.HEAD


async def test_a_transaction_that_fails_writes_nothing(store: Store) -> None:
    """A transaction is written as a whole or not at all."""

    async def fail() -> None:
        async with store.write() as db:
            await journal.put(db, "key", "value")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    async with store.read() as db:
        assert await journal.get(db, "key") is None


async def test_a_commit_says_what_was_written(store: Store) -> None:
    """A commit counts for the tables that it wrote; SQL as text, and other processes, count for all."""

    def counts() -> tuple[int, int, int]:
        return store.changes.number, store.changes.of("jobs"), store.changes.of("meta")

    async with store.write() as db:
        await db.execute(meta.insert().values(key="a", value="1"))
    first = counts()
    async with store.write() as db:
        await db.execute(meta.update().values(value="2"))
        await db.execute(select(jobs))
    assert [now - before for now, before in zip(counts(), first, strict=True)] == [1, 0, 1]
    with suppress(ZeroDivisionError):
        async with store.write() as db:
            await db.execute(meta.delete())
            raise ZeroDivisionError
    assert [now - before for now, before in zip(counts(), first, strict=True)] == [1, 0, 1]
    async with store.write() as db:
        await db.execute(text("DELETE FROM jobs"))
    store.changes.notify()
    assert [now - before for now, before in zip(counts(), first, strict=True)] == [3, 2, 3]
