"""Stores of every earlier version, as its own program wrote them: upgraded, read, killed half-way, without room.

`make test` reads the fullest store of each version, and kills the upgrades of two at a few steps.
AIRCHECK_OLD_STORES=all reads every store, and kills the upgrades of all, of those two at every step.
"""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from sqlalchemy import Connection

from bot import orders
from bot.shell import export, listings
from storage import dialect, heirs, jobs, migrate, revisions
from storage.errors import DiskFullError
from storage.place import Place
from storage.records import JobState, RoomId
from storage.store import Store
from tests.storage.old_stores import EVERY, OldStore, old_stores, sampled
from tests.world import settings_for

ROOT = Path(__file__).parents[2]
PAGE_STEPS = (0, 1, 2, 4, 8, 16)
AS_BEFORE = ("code", "number", "room_id", "kind", "broadcaster", "state", "ended_by", "started_at", "ended_at", "gaps")
AS_BEFORE_CHUNK = ("event_id", "state", "sequence", "position_ms", "duration_ms", "timing", "bytes", "sha256")
AS_BEFORE_EPISODE = ("guid", "title", "path", "bytes", "mime", "published_at")
AS_BEFORE_ROOM = ("name", "joined", "encrypted", "direct", "recording", "podcast", "recordings", "bytes")

KILLED_EVERYWHERE = [next(one for one in old_stores() if one.revision >= revision) for revision in ("0001", "0021")]
"""Stores whose upgrade is killed most often: of the first version, and of one with tables that it did not have and that
later versions rebuilt."""
UNCROSSED = ["0017: questions", "0022: optouts", "0052: live_listening"]
"""Tables without rows in any store of a version before a migration: nothing wrote to them yet, or it was pruned."""

hard_pressed = pytest.mark.parametrize("old", sampled() if EVERY else KILLED_EVERYWHERE, ids=str)
each_store = pytest.mark.parametrize("old", sampled(), ids=str)


# ---- read


@each_store
async def test_an_upgraded_store_says_what_its_own_program_said(
    old: OldStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ledgers, episodes and rooms are listed as before the upgrade; every waiting job is an order of today; each room's
    feed holds its episodes under the same GUIDs."""
    path = old.lay(tmp_path / "data")
    settings = settings_for(path.parent)
    store = await Store.own(Place(path.parent))
    try:
        await listings.print_recordings(settings, room_id=None, as_json=True)
        recordings = {entry["id"]: entry for entry in json.loads(capsys.readouterr().out)}
        await listings.print_rooms(settings, as_json=True)
        rooms = {room["room_id"]: room for room in json.loads(capsys.readouterr().out)}
        for before in old.recordings:
            assert_as_before(recordings.pop(before["id"]), before)
        assert not recordings
        assert [told(rooms[room["room_id"]], AS_BEFORE_ROOM) for room in old.rooms] == [
            told(room, AS_BEFORE_ROOM) for room in old.rooms
        ]
        assert len(rooms) == len(old.rooms)
        await assert_jobs_are_orders(store)
        add_files(store, path)
        monkeypatch.setattr(export, "drawn_cover", lambda *_: b"a picture")
        for room_id in sorted({entry["room_id"] for entry in old.recordings}):
            async with store.read() as db:
                line = await heirs.line(db, RoomId(room_id))
            assert await guids(store, room_id, tmp_path) == guids_of(old, line)
    finally:
        await store.close()


def assert_as_before(entry: dict[str, Any], before: dict[str, Any]) -> None:
    assert told(entry, AS_BEFORE) == told(before, AS_BEFORE)
    assert [told(chunk, AS_BEFORE_CHUNK) for chunk in entry["chunks"]] == [
        told(chunk, AS_BEFORE_CHUNK) for chunk in before["chunks"]
    ]
    assert told(entry["episode"], AS_BEFORE_EPISODE) == told(before["episode"], AS_BEFORE_EPISODE)


def told(entry: dict[str, Any] | None, keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: (entry or {}).get(key) for key in keys}


async def assert_jobs_are_orders(store: Store) -> None:
    """Assert that each job that waits or runs is of a kind of today and is read by its order."""
    async with store.read() as db:
        waiting = [job for kind in orders.KINDS for job in await jobs.unfinished(db, kind)]
        assert len(waiting) == await jobs.count(db, JobState.READY, JobState.RUNNING)
    for job in waiting:
        orders.KINDS[job.kind].of(job)


def add_files(store: Store, path: Path) -> None:
    """Put an empty file where each blob of the database was."""
    with closing(sqlite3.connect(path)) as db:
        for table, column in (("episodes", "blob"), ("chunks", "blob"), ("rooms", "cover"), ("rooms", "own_cover")):
            for (key,) in db.execute(f"SELECT {column} FROM {table} WHERE {column} <> ''"):  # noqa: S608  our names
                file = store.directory / store.blobs.relative(key)
                file.parent.mkdir(exist_ok=True)
                file.touch()


async def guids(store: Store, room_id: str, folder: Path) -> set[str]:
    """Return the GUIDs of the room's feed in an open copy."""
    to = folder / f"copy of {room_id}"
    await export.export(settings_for(store.directory), room_id, to)
    feed = ElementTree.fromstring((to / "feed.xml").read_text())  # noqa: S314  our own
    shutil.rmtree(to)
    return {node.text or "" for node in feed.iter("guid")}


def guids_of(old: OldStore, line: Collection[str]) -> set[str]:
    """Return the GUIDs of published episodes of rooms that are one podcast."""
    episodes = [entry["episode"] for entry in old.recordings if entry["room_id"] in line]
    return {episode["guid"] for episode in episodes if episode and episode["published_at"]}


# ---- every migration meets rows


def test_every_migration_is_crossed_by_rows_of_the_tables_that_it_changes() -> None:
    """For each table that a migration changes there is a store of an earlier version with rows in it, unless no version
    before it had such rows. A migration that fails here wants its old store: see CONTRIBUTING.md."""
    filled = {(store.revision, table) for store in old_stores() for table in tables_with_rows(store.sql)}
    uncrossed = [
        f"{revision}: {table}"
        for revision, table in changed_tables()
        if not any(was < revision and name == table for was, name in filled)
    ]
    assert uncrossed == UNCROSSED


def tables_with_rows(sql: str) -> set[str]:
    return {line.split('"')[1] for line in sql.splitlines() if line.startswith("INSERT INTO")}


@cache
def changed_tables() -> tuple[tuple[str, str], ...]:
    """Return each revision with each table that existed before and that it gives another form."""
    found = []
    with revisions.transaction(None) as connection:
        before: dict[str, Any] = {}
        for revision in migrate_revisions():
            revisions.run_migrations(connection, revision)
            after = forms(connection)
            found += [(revision, table) for table in before if before[table] != after.get(table)]
            before = after
    return tuple(found)


def migrate_revisions() -> Iterator[str]:
    revision = None
    while revision != migrate.HEAD:
        revision = revisions.next_revision(revision)
        yield revision


def forms(connection: Connection) -> dict[str, Any]:
    found: dict[str, list[tuple[str, str]]] = {}
    for kind, table, name in dialect.parts(connection):
        found.setdefault(table, []).append((kind, name))
    return found


# ---- killed


@hard_pressed
def test_an_upgrade_that_dies_is_completed_by_the_next_start(old: OldStore, tmp_path: Path) -> None:
    """A process that ends by `os._exit` at any statement or change of a file leaves a store that the next start
    upgrades to the same content as an undisturbed upgrade."""
    old.lay(tmp_path / "store")
    count = (0 if old in KILLED_EVERYWHERE else 4) if EVERY else 6
    line = [sys.executable, "-m", "tests.storage.dying_upgrade", str(tmp_path), "evenly", str(count)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [why for why in result["died"].values() if why] == []
    assert len(result["died"]) == (count or result["steps"])


# ---- without room


def content_of(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return list(db.iterdump())


def pages_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
    return int(pages)


@hard_pressed
def test_an_upgrade_that_runs_out_of_pages_leaves_the_store(
    old: OldStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that can't grow any further in the middle of its upgrade is as before, with one sentence."""
    path, undisturbed = old.lay(tmp_path / "data"), old.lay(tmp_path / "undisturbed")
    before, pages = content_of(path), pages_of(path)
    migrate.upgrade(undisturbed)
    needed = pages_of(undisturbed) - pages  # a database never gets shorter by itself
    too_few = [more for more in (PAGE_STEPS if EVERY else PAGE_STEPS[1:4:2]) if more < needed]
    assert too_few or old not in KILLED_EVERYWHERE
    for more in too_few:
        monkeypatch.setattr(dialect, "MIGRATING", dialect.MIGRATING | {"max_page_count": str(pages + more)})
        with pytest.raises(DiskFullError, match="could not be upgraded, and is as it was"):
            migrate.upgrade(path)
        assert content_of(path) == before
    monkeypatch.undo()
    migrate.upgrade(path)
    assert migrate.revision_of(path) == migrate.HEAD


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """Mount a disk of `size` bytes; skip the test where that isn't allowed."""
    folder.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(line, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)  # noqa: S607


def test_an_upgrade_on_a_full_disk_leaves_the_store_and_succeeds_when_there_is_room(tmp_path: Path) -> None:
    """On a real disk that is full during the copy, the upgrade, or its last write: one sentence, and
    the store as before."""
    old = sampled()[0]
    path = old.lay(tmp_path / "data")
    before = content_of(path)
    size = path.stat().st_size
    refused = 0
    for more in range(40_000, 2_000_000, 150_000):
        with small_disk(tmp_path / f"disk{more}", size + more) as disk:
            copy = Path(shutil.copytree(path.parent, disk / "data")) / path.name
            try:
                migrate.upgrade(copy)
            except DiskFullError:
                refused += 1
                assert migrate.revision_of(copy, mode="rw") == old.revision
                assert content_of(copy) == before
            else:
                assert migrate.revision_of(copy) == migrate.HEAD
                break
    assert refused > 1


# ---- two at once


def test_of_two_processes_that_start_at_once_one_upgrades(tmp_path: Path) -> None:
    """Only the first has the store; the second is refused in one sentence, or has it afterwards."""
    path = sampled()[0].lay(tmp_path / "data")
    program = f"""
import asyncio, sys
from pathlib import Path
from storage.errors import StoreLockedError
from storage.place import Place
from storage.store import Store
sys.stdin.readline()
async def start():
    try:
        store = await Store.own(Place(Path({str(path.parent)!r})))
    except StoreLockedError as error:
        print(error)
    else:
        sys.stdin.readline()
        await store.close()
        print("owned")
asyncio.run(start())
"""
    both = [
        subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    for process in both:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    said = sorted(process.communicate(b"\n")[0].decode() for process in both)
    assert said in ([f"another Aircheck is running on {path.parent}\n", "owned\n"], ["owned\n", "owned\n"])
    assert migrate.revision_of(path) == migrate.HEAD
    assert len(list(path.parent.glob("*.before-*"))) == 1
