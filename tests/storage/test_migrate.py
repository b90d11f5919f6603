"""Upgrades: from every version, killed at every statement, without room, and beside other programs."""

import hashlib
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event

from storage import migrate, revisions, upgrade_copy
from storage.errors import DiskFullError, StoreBusyError, StoreError, StoreTooNewError
from storage.place import Place
from storage.store import Store
from storage.tables import metadata

REVISIONS = [str(one.revision) for one in ScriptDirectory.from_config(revisions.configuration()).walk_revisions()][::-1]
COMMITTED_EACH = [one for one in (None, *REVISIONS) if one is None or one < "0003"]
"""Versions that were upgraded by programs which committed each statement by itself."""

Rows = dict[str, list[dict[str, Any]]]
ORDERED = "note_ended"
"""The kind of the job that the upgrade orders, once."""
RIGHT: set[frozenset[Any]] = set()
"""Schemas that were compared with the tables: the same one need not be compared again."""


# ---- databases of each version, with rows in them


def made(folder: Path, revision: str | None) -> Path:
    """Make a database as a program of a version left it: in WAL mode, with three rows in each table; None: no file."""
    folder.mkdir()
    path = folder / "aircheck.db"
    if revision is not None:
        path.touch(mode=0o600)
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA journal_mode=WAL")
        with revisions.transaction(path) as connection:
            revisions.run_migrations(connection, revision)
            for table in tables_of(connection):
                fill(connection, table)
            assert not connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    return path


def tables_of(connection: Connection) -> list[str]:
    sql = (
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name <> 'alembic_version'"
    )
    return list(connection.exec_driver_sql(sql).scalars())


def fill(connection: Connection, table: str) -> None:
    """Add three rows to a table. Equal numbers belong together, so that foreign keys hold."""
    parents = {row[3]: (row[2], row[4]) for row in connection.exec_driver_sql(f"PRAGMA foreign_key_list({table})")}
    columns = connection.exec_driver_sql(f"PRAGMA table_info({table})").mappings().all()
    for number in (1, 2, 3):
        values = {}
        for column in columns:
            name, kind = column["name"], column["type"]
            values[name] = value_of(kind, name, number)
            if name in parents and kind.startswith("VARCHAR"):
                values[name] = value_of(kind, parents[name][1], number)
        names = ", ".join(f'"{name}"' for name in values)
        marks = ", ".join(f":{name}" for name in values)
        connection.exec_driver_sql(f"INSERT INTO {table} ({names}) VALUES ({marks})", values)  # noqa: S608  our names


def value_of(kind: str, name: str, number: int) -> Any:
    match kind.split("(")[0]:
        case "INTEGER" | "BIGINT":
            return number
        case "BOOLEAN":
            return number % 2
        case "FLOAT":
            return number / 2
        case "DATETIME":
            return f"2026-11-0{number} 12:00:00.000000"
        case "JSON":
            return f"[{number}]"
        case "BLOB":
            return bytes([number])
        case _:
            return f"{name}{number}"


def rows_of(path: Path) -> Rows:
    with closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        names = [row["name"] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: [dict(row) for row in db.execute(f'SELECT * FROM "{name}"')] for name in names}  # noqa: S608


def assert_whole(path: Path, before: Rows) -> None:
    """Assert that the database is of this version, sound, and holds every row from before."""
    assert migrate.revision_of(path) == migrate.HEAD
    engine = create_engine(URL.create("sqlite", database=str(path)))
    with engine.connect() as connection:
        parts = connection.exec_driver_sql("SELECT type, name, tbl_name, sql FROM sqlite_master")
        schema = frozenset(map(tuple, parts))
        if schema not in RIGHT:
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []
            RIGHT.add(schema)
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
        assert not connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    engine.dispose()
    after = rows_of(path)
    ordered = [row for row in after["jobs"] if row["kind"] == ORDERED]
    assert len(ordered) <= 1
    after["jobs"] = [row for row in after["jobs"] if row not in ordered]
    for row in after["sqlite_sequence"]:
        row["seq"] -= len(ordered) if row["name"] == "jobs" else 0
    for table, rows in before.items():
        if table in after and table != "alembic_version":
            kept = [{name: row[name] for name in row if name in rows[0]} for row in after[table]] if rows else []
            assert kept == [{name: row[name] for name in row if name in after[table][0]} for row in rows], table
    assert not list(path.parent.glob("*.copying*"))


@contextmanager
def after_each_statement(do: Callable[[str], None]) -> Iterator[None]:
    """Call `do` with each statement after it was executed on a file."""

    def note(connection: Connection, _: Any, statement: str, *__: Any) -> None:
        if connection.engine.url.database:
            do(statement)

    event.listen(Engine, "after_cursor_execute", note)
    try:
        yield
    finally:
        event.remove(Engine, "after_cursor_execute", note)


def digest_of(folder: Path) -> str:
    """Return a hash over the names and bytes of all files in a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(path.name.encode() + b"\0" + (path.read_bytes() if path.is_file() else b"") + b"\0")
    return digest.hexdigest()


# ---- killed


@pytest.mark.parametrize("revision", [None, *REVISIONS[:-1]])
def test_an_upgrade_killed_after_any_statement_is_done_by_the_next_start(tmp_path: Path, revision: str | None) -> None:
    """Files copied after any statement of an upgrade open as the old version and then as the new one, with every row
    and a whole copy from before."""
    path = made(tmp_path / "store", revision)
    before = rows_of(path) if revision else {}
    statements: list[str] = []
    kills: dict[str, Path] = {}

    def copy_the_disk(statement: str) -> None:
        statements.append(statement)
        on_disk = digest_of(path.parent)
        if on_disk not in kills:
            kills[on_disk] = tmp_path / f"killed{len(kills)}"
            shutil.copytree(path.parent, kills[on_disk])

    with after_each_statement(copy_the_disk):
        migrate.upgrade(path)
    assert_whole(path, before)
    assert len(statements) > 3
    for killed in kills.values():
        again = killed / path.name
        if not again.exists():
            continue
        assert migrate.revision_of(again, mode="rw") == revision
        migrate.upgrade(again)
        assert_whole(again, before)
        copies = list(killed.glob("*.before-*"))
        assert len(copies) == (revision is not None)
        for copy in copies:
            assert rows_of(copy) == before
            assert stat.S_IMODE(copy.stat().st_mode) == 0o600


@pytest.mark.parametrize("revision", [None, "0001"])
def test_a_process_that_is_killed_in_an_upgrade_leaves_a_store_that_opens(tmp_path: Path, revision: str | None) -> None:
    """A real process is killed by SIGKILL in the middle of the migrations, and the next start completes them."""
    path = made(tmp_path / "store", revision)
    before = rows_of(path) if revision else {}
    program = f"""
import os, signal
from pathlib import Path
from sqlalchemy import Engine, event
from storage import migrate
@event.listens_for(Engine, "after_cursor_execute")
def note(connection, cursor, statement, *more):
    if "CREATE TABLE extents" in statement and connection.engine.url.database:
        os.kill(os.getpid(), signal.SIGKILL)
migrate.upgrade(Path({str(path)!r}))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == -signal.SIGKILL
    migrate.upgrade(path)
    assert_whole(path, before)


@pytest.mark.parametrize("revision", COMMITTED_EACH)
def test_what_an_older_program_left_half_done_is_upgraded(tmp_path: Path, revision: str | None) -> None:
    """Each state that an interrupted upgrade of versions up to 0003 can leave is recovered."""
    statements: list[str] = []
    path = made(tmp_path / "store", revision)
    before = rows_of(path) if revision else {}
    with revisions.transaction(path) as connection, after_each_statement(statements.append):
        revisions.run_migrations(connection, "0003")
    writing = [one for one in statements if one.split()[0] in ("CREATE", "ALTER", "INSERT", "UPDATE", "DROP")]
    assert len(writing) > 2
    for number in range(1, len(writing)):
        half = made(tmp_path / f"half{number}", revision)
        half.touch()
        with closing(sqlite3.connect(half, isolation_level=None)) as db:
            for statement in writing[:number]:
                db.execute(statement)
        migrate.upgrade(half)
        assert_whole(half, before)


def test_rows_of_a_later_version_are_not_thrown_away(tmp_path: Path) -> None:
    """A table of the next version that has rows is not removed: the upgrade is refused in one sentence."""
    path = made(tmp_path / "store", "0002")
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE alembic_version SET version_num = '0001'")
        db.commit()
    before = rows_of(path)
    with pytest.raises(StoreError, match=r"of version 0001, but holds rows of version 0002: restore"):
        migrate.upgrade(path)
    assert rows_of(path) == before


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    """A database with other tables and no version is left as it is."""
    path = tmp_path / "aircheck.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE songs (id INTEGER)")
    with pytest.raises(StoreError, match=r"aircheck\.db is not an Aircheck database"):
        migrate.upgrade(path)
    assert set(rows_of(path)) == {"songs"}


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    """A first start that was killed before its first statement is repeated."""
    (tmp_path / "aircheck.db").touch()
    migrate.upgrade(tmp_path / "aircheck.db")
    assert_whole(tmp_path / "aircheck.db", {})


# ---- the copy of before


def copies(path: Path) -> dict[str, bytes]:
    return {copy.name: copy.read_bytes() for copy in path.parent.glob("*.before-*")}


def test_a_copy_is_never_overwritten(tmp_path: Path) -> None:
    """The same content is copied once; other content, and a damaged copy in the way, get another name."""
    path = made(tmp_path / "store", "0001")

    def fail(statement: str) -> None:
        if "CREATE TABLE extents" in statement:
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), after_each_statement(fail):
            migrate.upgrade(path)
    first = copies(path)
    assert len(first) == 1
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM directs")
        db.commit()
    migrate.upgrade(path)
    assert len(copies(path)) == 2
    assert first.items() <= copies(path).items()
    for copy in copies(path):
        assert migrate.revision_of(path.with_name(copy)) == "0001"


def test_a_newer_database_is_refused_with_the_way_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older program names the last copy that it can read, and goes on with it; without one it names the backup."""
    path = made(tmp_path / "store", "0010")
    older = rows_of(path)
    migrate.upgrade(path)
    monkeypatch.setattr(migrate, "HEAD", "0009")
    with pytest.raises(StoreTooNewError, match=r"update the program, or restore a backup from before the update$"):
        migrate.upgrade(path)
    monkeypatch.setattr(migrate, "HEAD", "0010")
    for refused in (migrate.upgrade, migrate.refuse_other_version):
        with pytest.raises(StoreTooNewError, match=r"or go back to \S+ as docs/operations\.md says$") as told:
            refused(path)
    copy = Path(str(told.value).split(" go back to ")[1].split(" ")[0])
    assert rows_of(copy) == older
    copy.replace(path)
    migrate.upgrade(path)
    migrate.refuse_other_version(path)
    assert rows_of(path) == older


def test_two_upgrades_at_once_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade that waited for another process's finds it done."""
    path = made(tmp_path / "store", "0001")
    before = rows_of(path)
    look = migrate.revision_of

    def overtaken(path: Path, *, mode: str = "ro") -> str | None:
        monkeypatch.setattr(migrate, "revision_of", look)
        revision = look(path, mode=mode)
        migrate.upgrade(path)
        return revision

    monkeypatch.setattr(migrate, "revision_of", overtaken)
    migrate.upgrade(path)
    assert_whole(path, before)
    assert len(copies(path)) == 1


def test_a_copy_that_was_cut_off_is_removed(tmp_path: Path) -> None:
    """A part of a copy left by a killed process is removed, and the copy made anew."""
    path = made(tmp_path / "store", "0001")
    before = rows_of(path)
    part = path.with_name("aircheck.db.copying")
    part.write_bytes(path.read_bytes()[:5000])
    part.with_name("aircheck.db.copying-journal").write_bytes(b"half")
    migrate.upgrade(path)
    assert_whole(path, before)
    (copy,) = path.parent.glob("*.before-*")
    assert rows_of(copy) == before


def test_a_full_disk_while_copying_is_told_and_leaves_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that fails for lack of space leaves no part, and the database untouched."""
    path = made(tmp_path / "store", "0001")
    before = rows_of(path)
    names = {file.name for file in path.parent.iterdir()}

    def no_room(_: Path) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(upgrade_copy, "sync", no_room)
    with pytest.raises(DiskFullError, match=r"the disk is full: .*aircheck\.db could not be copied .* is as it was"):
        migrate.upgrade(path)
    assert {file.name for file in path.parent.iterdir()} - {"aircheck.db-wal", "aircheck.db-shm"} == names
    assert rows_of(path) == before
    monkeypatch.undo()
    migrate.upgrade(path)
    assert_whole(path, before)


def test_a_damaged_database_is_not_upgraded(tmp_path: Path) -> None:
    """A damaged database is neither copied nor upgraded."""
    path = made(tmp_path / "store", "0001")
    with closing(sqlite3.connect(path)) as db:
        (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ix_jobs_due'").fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * size + 8)
        file.write(b"\xff" * 200)
    with pytest.raises(StoreError, match=r"aircheck\.db is damaged.*: restore it from a backup"):
        migrate.upgrade(path)
    assert not copies(path)
    assert migrate.revision_of(path) == "0001"


# ---- beside others


async def test_a_reader_does_not_keep_an_upgrade_waiting(tmp_path: Path) -> None:
    """An upgrade completes beside a listing in a transaction of its own."""
    path = made(tmp_path / "store", "0001")
    before = rows_of(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM rooms").fetchall()
        await (await Store.own(Place(path.parent))).close()
        reader.execute("COMMIT")
    assert_whole(path, before)


@pytest.mark.parametrize(
    ("mode", "held"), [("WAL", "BEGIN IMMEDIATE"), ("DELETE", "BEGIN IMMEDIATE"), ("DELETE", "BEGIN")]
)
def test_a_database_that_somebody_holds_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, held: str
) -> None:
    """A lock that does not end (without WAL a reader's too) is reported in one sentence, and nothing is changed."""
    path = made(tmp_path / "store", "0001")
    monkeypatch.setattr(revisions, "BUSY_S", 0)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(f"PRAGMA journal_mode={mode}")
        other.execute(held)
        other.execute("SELECT * FROM rooms").fetchall()
        with pytest.raises(StoreBusyError, match=r"aircheck\.db is in use by another program"):
            migrate.upgrade(path)
        other.execute("ROLLBACK")
    before = rows_of(path)
    migrate.upgrade(path)
    assert_whole(path, before)


def test_a_folder_of_any_name_can_hold_a_store(tmp_path: Path) -> None:
    """Characters with a meaning in addresses are ordinary ones in a folder's name."""
    path = made(tmp_path / "a?b=c#d%20e", "0001")
    before = rows_of(path)
    migrate.upgrade(path)
    assert_whole(path, before)
