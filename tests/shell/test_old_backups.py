"""Backups that an older version made are restored by this one; one of a newer version is refused before it changes
anything.

No version was released that makes backups in another form, so they are laid out here around the databases that earlier
versions really wrote.
"""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from aiohttp import ClientSession

from bot import app, orders
from bot.errors import ConfigError
from bot.feeds.addresses import public_shelf
from bot.intake import catching_up
from bot.settings import Settings
from bot.shell import backup as backing_up
from bot.shell import listings
from bot.shell import restore as restoring
from storage import jobs, journal, migrate, rooms, snapshot
from storage.backup_folder import MANIFEST, BackupFolder, Manifest
from storage.records import BlobKey, Visibility
from storage.store import Store
from tests.storage.old_stores import OldStore, old_stores, sampled
from tests.storage.test_old_stores import AS_BEFORE, AS_BEFORE_ROOM, assert_jobs_are_orders, told
from tests.world import BOT, settings_for

MADE_AT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
STORE = "5" * 32
COLUMNS = ("blob", "cover", "own_cover")
"""Columns that name a file of the media store."""


def back_up(old: OldStore, folder: Path) -> dict[BlobKey, bytes]:
    """Lay out a backup of an old store as its version would; return the files of its media store."""
    backup = BackupFolder(folder)
    with backup.locked(STORE):
        generation = backup.begin(MADE_AT)
        path = old.lay(folder.parent / "old")
        with closing(sqlite3.connect(path)) as db:
            files = files_of(db)
            db.execute("INSERT INTO meta (key, value) VALUES (?, ?)", (snapshot.STORE, STORE))
            db.commit()
            db.execute("VACUUM INTO ?", (str(generation / "aircheck.db"),))
        for key, content in files.items():
            (folder.parent / "part").write_bytes(content)
            assert backup.add(folder.parent / "part", key) == len(content)
        listed = sorted(files.items())
        (generation / "blobs.txt").write_text("".join(f"{key} {len(content)}\n" for key, content in listed))
        (generation / "room-keys.jsonl").touch()
        (generation / "addresses.key").write_bytes(bytes(32))
        manifest = Manifest(
            store=STORE,
            user_id=BOT,
            made_at=MADE_AT,
            revision=old.revision,
            generation=generation.name,
            files=backup.describe(generation),
            blobs=len(files),
            blob_bytes=sum(map(len, files.values())),
        )
        backup.finish(manifest)
    return files


def files_of(db: sqlite3.Connection) -> dict[BlobKey, bytes]:
    """Give each file that the rows name a content, and the name of this content."""
    files: dict[BlobKey, bytes] = {}
    for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        for column in [row[1] for row in db.execute(f'PRAGMA table_info("{table}")') if row[1] in COLUMNS]:
            named = f'"{table}" WHERE length("{column}") = 64'
            for (key,) in db.execute(f'SELECT DISTINCT "{column}" FROM {named}').fetchall():  # noqa: S608  our names
                content = f"sound of {key}".encode()
                name = sha256(content).hexdigest()
                files[BlobKey(name)] = content
                renamed = f'UPDATE "{table}" SET "{column}" = ? WHERE "{column}" = ?'  # noqa: S608  our names
                db.execute(renamed, (name, key))
    db.commit()
    return files


def with_web(settings: Settings) -> Settings:
    return settings_for(settings.storage.path, web={"port": 0})


@pytest.mark.parametrize("old", sampled(), ids=str)
async def test_a_backup_of_an_older_version_is_restored(
    old: OldStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its rows are upgraded and say what they said, its files and its secret are there, its rooms are behind, and the
    store can be backed up into the same folder again."""
    backup = tmp_path / "backup"
    files = back_up(old, backup)
    settings = settings_for(tmp_path / "data")
    said = await restoring.restore(settings, backup)
    assert f": {len(files)} files, 0 room keys." in said
    store = await Store.own(settings.storage.place)
    try:
        assert {key: await store.blobs.read(key) for key in files} == files
        assert store.secret() == bytes(32)
        await assert_jobs_are_orders(store)
        async with store.read() as db:
            assert await journal.get(db, catching_up.RESTORED) == MADE_AT.isoformat()
            assert all(room.behind for room in await rooms.all_rooms(db) if room.joined and not room.direct)
            assert not await jobs.unfinished(db, orders.Command.kind)
        capsys.readouterr()
        await listings.print_recordings(settings, room_id=None, as_json=True)
        recordings = {entry["id"]: told(entry, AS_BEFORE) for entry in json.loads(capsys.readouterr().out)}
        assert recordings == {entry["id"]: told(entry, AS_BEFORE) for entry in old.recordings}
        await listings.print_rooms(settings, as_json=True)
        assert [told(room, AS_BEFORE_ROOM) for room in json.loads(capsys.readouterr().out)] == [
            told(room, AS_BEFORE_ROOM) for room in old.rooms
        ]
        assert "0 new" in await backing_up.backup(settings, backup)
        manifest = BackupFolder(backup).manifest()
        assert manifest is not None
        assert (manifest.store, manifest.revision) == (STORE, migrate.HEAD)
    finally:
        await store.close()


async def test_a_bot_runs_on_what_an_older_version_backed_up(tmp_path: Path) -> None:
    """Without its homeserver it is healthy, and keeps closed what it does not know."""
    old = next(store for store in sampled() if any(room["joined"] for room in store.rooms))
    back_up(old, tmp_path / "backup")
    settings = with_web(settings_for(tmp_path / "data"))
    await restoring.restore(settings, tmp_path / "backup")
    store = await Store.own(settings.storage.place)
    async with store.write() as db:
        room = next(room for room in await rooms.all_rooms(db) if room.behind)
        await rooms.save_room(db, replace(room, visibility=Visibility.PUBLIC))
    await store.close()
    async with app.running(settings) as aircheck, ClientSession() as client:
        async with client.get(f"{aircheck.address}/healthz") as answer:
            assert answer.status == 200
        async with client.get(public_shelf(aircheck.address, room.key).feed) as answer:
            assert answer.status == 503


async def test_a_backup_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """Exit code 2, with the two ways out; the folder that was to become a store is not touched, and a backup from
    before the update is restored into it."""
    backup, settings = tmp_path / "backup", settings_for(tmp_path / "data")
    back_up(old_stores()[-1], backup)
    kept = (backup / MANIFEST).read_bytes()
    (backup / MANIFEST).write_text(json.dumps(json.loads(kept) | {"revision": "9999"}))
    with pytest.raises(ConfigError) as error:
        await restoring.restore(settings, backup)
    assert error.value.exit_code == 2
    assert error.value.sentence == (
        "DIRECTORY: the backup of 2026-01-02 03:04 UTC was made by a newer Aircheck: update the program, or restore a"
        " copy of this folder from before the update"
    )
    assert not settings.storage.path.exists()
    (backup / MANIFEST).write_bytes(kept)
    await restoring.restore(settings, backup)
