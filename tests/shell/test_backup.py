"""`aircheck backup` and `aircheck restore`: a copy that can become the store again."""

import shutil
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from shutil import rmtree as remove_tree

import pytest
import vodozemac
from sqlalchemy import insert

from bot import orders
from bot.dialects import studio as events
from bot.errors import AircheckError, ConfigError
from bot.intake import catching_up
from bot.matrix import room_keys
from bot.matrix.keys import Keys
from bot.matrix.login import Api, Credentials
from bot.matrix.wire import Wire
from bot.settings import Settings, validate
from bot.shell import backup as backing_up
from bot.shell import restore as restoring
from bot.shell.exits import explain
from storage import archive, jobs, journal, rooms, snapshot, studios
from storage.backup_folder import BackupFolder, Manifest
from storage.blobs import s3
from storage.errors import BackupError, MediaHeldError, StoreError
from storage.records import Behind, BlobKey, EventId, Listener, Position, RecordingId, StudioState
from storage.secret import NAME
from storage.store import Store
from storage.tables import secrets
from tests.blobs import add_bytes, folder_of
from tests.buckets.servers import TestBucket
from tests.factories import ALICE, NOW, ROOM, a_chunk, a_recording, a_room, a_studio
from tests.postgresql import Server, of_the_file

KEPT, LATER, GONE = b"what stays", b"what comes later", b"what is deleted"


def key_of(data: bytes) -> BlobKey:
    return BlobKey(sha256(data).hexdigest())


def settings_of(directory: Path, address: str | None = None, **matrix: object) -> Settings:
    account = {"homeserver": "http://127.0.0.1:1", "user_id": "@bot:hs", "password": "p"}
    storage = {"directory": str(directory)} | ({"database_url": address} if address else {})
    return validate({"matrix": account | matrix, "storage": storage})


def with_media(settings: Settings, bucket: TestBucket) -> Settings:
    storage = settings.storage.model_copy(update={"media_url": bucket.url()})
    return settings.model_copy(update={"storage": storage})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path / "data")


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    """A running bot's store, with a room, a recording of two chunks, a secret, and the stem of a running call."""
    store = await Store.own(settings.storage.place)
    store.secret()
    async with store.write() as db:
        await rooms.save_room(db, a_room())
        await archive.add_recording(db, a_recording())
        await journal.put(db, journal.SYNC_TOKEN, "s1")
    await add(store, "$kept", KEPT)
    await add(store, "$gone", GONE)
    store.stems.create(RecordingId(7), 0).add(b"OggS a stem")
    yield store
    await store.close()


async def add(store: Store, event: str, data: bytes) -> None:
    add_bytes(store, data, key_of(data))
    async with store.write() as db:
        await archive.save_chunks(db, [a_chunk(event_id=EventId(event), blob=key_of(data), bytes=len(data))])


async def add_chunk(store: Store, data: bytes) -> None:
    """Store a chunk of a new recording in a bucket."""
    part = store.blobs.part("chunk")
    part.write_bytes(data)
    async with store.blobs.arriving((part, key_of(data))) as new, store.write() as db:
        await new.keep(db)
        await rooms.save_room(db, a_room())
        await archive.add_recording(db, a_recording())
        await archive.save_chunks(db, [a_chunk(event_id=EventId("$kept"), blob=key_of(data), bytes=len(data))])


async def remove(store: Store, event: str, data: bytes) -> None:
    async with store.write() as db:
        chunk = await archive.chunk_of_event(db, EventId(event))
        assert chunk is not None
        await archive.save_chunks(db, [replace(chunk, blob=None)])
    folder_of(store).remove(key_of(data))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def manifest_of(folder: Path) -> Manifest:
    manifest = BackupFolder(folder).manifest()
    assert manifest is not None
    return manifest


async def keys_of(settings: Settings) -> Keys:
    """Open the end-to-end keys of a store, as the session does."""
    directory = settings.storage.path
    creds = Credentials(settings, directory)
    creds.session_read_file()
    keys = Keys(lambda: NOW)
    wire = Wire(settings.matrix.homeserver)
    await keys.open(Api(creds, None, settings=settings, directory=directory, wire=wire).make_client())
    await wire.close()
    return keys


async def add_room_key(settings: Settings) -> str:
    """Give the bot a room key; return its session's id."""
    keys = await keys_of(settings)
    outbound = vodozemac.GroupSession()
    keys.olm.create_group_session("c" * 43, "e" * 43, ROOM, outbound.session_id, outbound.session_key.to_base64())
    keys.close()
    return outbound.session_id


async def test_a_torn_name_keeps_the_file_in_the_backup(store: Store, settings: Settings, tmp_path: Path) -> None:
    """While a row names no file by what should be a name, a backup removes no file of the one before, and says so."""
    folder = tmp_path / "backup"
    await backing_up.backup(settings, folder)
    async with store.write() as db:
        chunk = await archive.chunk_of_event(db, EventId("$kept"))
        assert chunk is not None
        await archive.save_chunks(db, [replace(chunk, blob=BlobKey("torn"))])
    with pytest.raises(AircheckError, match="1 rows name no file any more, so none that they may mean was removed"):
        await backing_up.backup(settings, folder)
    assert BackupFolder(folder).path(key_of(KEPT)).read_bytes() == KEPT
    async with store.write() as db:
        await archive.save_chunks(db, [replace(chunk, blob=None)])
    assert "1 removed" in await backing_up.backup(settings, folder)
    assert not BackupFolder(folder).path(key_of(KEPT)).exists()


async def test_a_backup_becomes_the_same_store(store: Store, settings: Settings, tmp_path: Path) -> None:
    """Rows, files, secret and stems are the same after a restore; the backup is readable by its owner only."""
    said = await backing_up.backup(settings, tmp_path / "backup")
    assert "2 files" in said
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "backup").rglob("*")} == {0o700, 0o600}
    again = settings_of(tmp_path / "again")
    await restoring.restore(again, tmp_path / "backup")
    async with await_closed(await Store.own(again.storage.place)) as restored:
        assert await restored.blobs.read(key_of(KEPT)) == KEPT
        assert restored.secret() == store.secret()
        assert restored.stems.read(RecordingId(7), 0, 0, 99) == b"OggS a stem"
        async with restored.read() as db:
            assert await archive.recording(db, RecordingId(1)) is not None
            assert await journal.get(db, journal.SYNC_TOKEN) == "s1"
        assert await snapshot.identity(restored) == await snapshot.identity(store)


async def test_a_second_backup_copies_what_is_new_and_removes_what_was_deleted(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    """Only new files are written; a deleted sound is in no file of the backup any more."""
    target = tmp_path / "backup"
    await backing_up.backup(settings, target)
    kept = target / "blobs" / key_of(KEPT)[:2] / key_of(KEPT)
    inode = kept.stat().st_ino
    await add(store, "$later", LATER)
    await remove(store, "$gone", GONE)
    said = await backing_up.backup(settings, target)
    assert "1 new, 1 removed" in said
    assert kept.stat().st_ino == inode
    contents = files_of(target)
    assert not any(GONE in data for data in contents.values())
    assert LATER in contents.values()
    assert len(list((target / "generations").iterdir())) == 1


async def test_a_backup_holds_room_keys_and_no_ratchet(store: Store, settings: Settings, tmp_path: Path) -> None:
    """A restored bot is another device, with another Olm account, no token, and the room keys of the first."""
    session_id = await add_room_key(settings)
    old = room_keys.read_session(settings.storage.path)
    assert old is not None
    await backing_up.backup(settings, tmp_path / "backup")
    contents = files_of(tmp_path / "backup")
    assert not any(name.endswith(("keys.db", "store.key", "session.json")) for name in contents)
    assert not any(old.device_id.encode() in data for data in contents.values())
    again = settings_of(tmp_path / "again")
    await restoring.restore(again, tmp_path / "backup")
    new = room_keys.read_session(again.storage.path)
    assert new is not None
    assert new.device_id != old.device_id
    assert new.access_token is None
    before, after = await keys_of(settings), await keys_of(again)
    assert after.olm.account.identity_keys != before.olm.account.identity_keys
    known, restored = before.olm.find(ROOM, session_id), after.olm.find(ROOM, session_id)
    assert restored.export_session(0) == known.export_session(0)
    assert (restored.sender_key, restored.ed25519, restored.forwarding_chain) == ("c" * 43, "e" * 43, [])
    before.close()
    after.close()


async def test_an_interrupted_backup_leaves_the_one_before(
    store: Store, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before its manifest is written, a backup changes nothing of the earlier one; the next one cleans up."""
    target = tmp_path / "backup"
    await backing_up.backup(settings, target)
    before = manifest_of(target)
    await remove(store, "$gone", GONE)
    with monkeypatch.context() as patch:
        patch.setattr(BackupFolder, "finish", _killed)
        with pytest.raises(KeyboardInterrupt):
            await backing_up.backup(settings, target)
    assert manifest_of(target) == before
    await restoring.restore(settings_of(tmp_path / "again"), target)
    await backing_up.backup(settings, target)
    assert len(list((target / "generations").iterdir())) == 1
    assert GONE not in files_of(target).values()


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def _killed_at_the_end(folder: Path, *, ignore_errors: bool = False) -> None:
    if not ignore_errors:
        raise KeyboardInterrupt
    remove_tree(folder, ignore_errors=True)


async def test_a_file_deleted_during_a_backup_makes_a_new_start(
    store: Store, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sound deleted between the copy of the rows and that of the files is in no backup."""
    take, taken = snapshot.take, []

    async def take_then_delete(of: Store, to: Path) -> None:
        await take(of, to)
        taken.append(to)
        if len(taken) == 1:
            await remove(store, "$gone", GONE)

    monkeypatch.setattr(snapshot, "take", take_then_delete)
    await backing_up.backup(settings, tmp_path / "backup")
    assert len(taken) == 2
    assert not manifest_of(tmp_path / "backup").lost
    assert "1 files" in (await restoring.restore(settings_of(tmp_path / "again"), tmp_path / "backup"))


async def test_a_file_lost_in_the_store_stays_in_the_backup(store: Store, settings: Settings, tmp_path: Path) -> None:
    """A backup keeps its good copy of a file that the store lost. One that it never had is named in the manifest, and
    told by exit code 1 once the backup is whole."""
    target = tmp_path / "backup"
    await backing_up.backup(settings, target)
    folder_of(store).remove(key_of(KEPT))
    await add(store, "$later", LATER)
    folder_of(store).remove(key_of(LATER))
    with pytest.raises(AircheckError, match=r"Backed up to .* 1 are lost or damaged") as error:
        await backing_up.backup(settings, target)
    assert error.value.exit_code == 1
    assert KEPT in files_of(target).values()
    assert manifest_of(target).lost == (key_of(LATER),)


async def test_a_bot_that_starts_makes_no_hole_in_a_backup(
    bucket: TestBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scratch folder that is emptied while a file is copied does not make that file a lost one; a file that is in the
    backup already costs no request."""
    settings = with_media(settings_of(tmp_path / "data"), bucket)
    async with await_closed(await Store.own(settings.storage.place)) as store:
        await add_chunk(store, KEPT)
        add_file, emptied = BackupFolder.add, list[Path]()

        def empty_first(self: BackupFolder, source: Path, key: BlobKey) -> int | None:
            if not emptied:
                emptied.append(source)
                store.blobs.prepare()
            return add_file(self, source, key)

        monkeypatch.setattr(BackupFolder, "add", empty_first)
        assert "1 new" in await backing_up.backup(settings, tmp_path / "backup")
        assert emptied
        assert not manifest_of(tmp_path / "backup").lost
        assert not [*store.blobs.scratch.iterdir()]
        monkeypatch.setattr(s3.S3Blobs, "size", None)
        assert "0 new" in await backing_up.backup(settings, tmp_path / "backup")


async def test_a_backup_refuses_a_folder_that_is_none(store: Store, settings: Settings, tmp_path: Path) -> None:
    """A folder with other files, of another store, inside the store, or in use by another backup is refused. Nothing in
    it changes, its mode neither."""
    other = tmp_path / "other"
    other.mkdir()
    other.chmod(0o755)
    (other / "thesis.txt").write_text("mine")
    for target in (other, settings.storage.path / "backup", tmp_path):
        with pytest.raises(ConfigError, match="DIRECTORY"):
            await backing_up.backup(settings, target)
    assert files_of(other) == {"thesis.txt": b"mine"}
    assert stat.S_IMODE(other.stat().st_mode) == 0o755
    elsewhere = settings_of(tmp_path / "elsewhere")
    async with await_closed(await Store.own(elsewhere.storage.place)):
        await backing_up.backup(elsewhere, tmp_path / "taken")
    with pytest.raises(ConfigError, match="another store"):
        await backing_up.backup(settings, tmp_path / "taken")
    folder = BackupFolder(tmp_path / "mine")
    with folder.locked(await snapshot.identity(store)), pytest.raises(ConfigError, match="under way"):
        await backing_up.backup(settings, tmp_path / "mine")


async def test_a_restore_needs_an_empty_folder_and_the_account_of_the_backup(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    """Exit code 2 for a folder with anything in it, for what is no backup, and for another account."""
    await backing_up.backup(settings, tmp_path / "backup")
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("mine")
    refused = (
        (settings, tmp_path / "backup"),  # the bot runs there
        (settings_of(full), tmp_path / "backup"),
        (settings_of(tmp_path / "new"), tmp_path / "none"),
        (settings_of(tmp_path / "new", user_id="@other:hs"), tmp_path / "backup"),
    )
    for target, source in refused:
        with pytest.raises(ConfigError) as error:
            await restoring.restore(target, source)
        assert error.value.exit_code == 2
    assert not (tmp_path / "new").exists()


async def test_an_interrupted_restore_goes_on_and_nothing_runs_before(
    store: Store, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each kill point of a restore the folder is refused by every other command; a second restore finishes it."""
    await backing_up.backup(settings, tmp_path / "backup")
    again = settings_of(tmp_path / "again")
    for number, name in enumerate(("_copy_blobs", "_copy_the_rest", "_prepare")):
        with monkeypatch.context() as patch:
            patch.setattr(restoring, name, _killed)
            with pytest.raises(KeyboardInterrupt):
                await restoring.restore(again, tmp_path / "backup")
        for opening in (Store.own, Store.look):
            with pytest.raises(StoreError, match="run `aircheck restore` again"):
                await opening(again.storage.place)
        assert number < 3
    with monkeypatch.context() as patch:  # where the rows are in a server all of them lie in that folder
        patch.setattr(shutil, "rmtree", _killed_at_the_end)
        with pytest.raises(KeyboardInterrupt):
            await restoring.restore(again, tmp_path / "backup")
    assert (again.storage.path / "restoring.json").exists()
    await add(store, "$later", LATER)
    await restoring.restore(again, tmp_path / "backup")
    async with await_closed(await Store.own(again.storage.place)) as restored:
        assert await restored.blobs.is_whole(key_of(KEPT))
        assert not (again.storage.path / "restoring.json").exists()


async def test_a_damaged_backup_is_named(
    store: Store, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged blob is left out, named, and ends the restore with exit code 1; without its database a backup is
    none."""
    target = tmp_path / "backup"
    await backing_up.backup(settings, target)
    (target / "blobs" / key_of(KEPT)[:2] / key_of(KEPT)).write_bytes(b"other bytes")
    with pytest.raises(AircheckError, match="1 files are damaged") as error:
        await restoring.restore(settings_of(tmp_path / "again"), target)
    assert error.value.exit_code == 1
    assert key_of(KEPT) in capsys.readouterr().err
    assert not (tmp_path / "again" / "blobs" / key_of(KEPT)[:2] / key_of(KEPT)).exists()
    database = target / "generations" / manifest_of(target).generation / "aircheck.db"
    database.write_bytes(database.read_bytes()[:-1] + b"x")
    with pytest.raises(BackupError, match="can't be restored"):
        await restoring.restore(settings_of(tmp_path / "third"), target)


async def test_a_shortened_list_of_files_is_no_backup(store: Store, settings: Settings, tmp_path: Path) -> None:
    """The list by which files are restored is compared with the manifest before anything is copied."""
    target = tmp_path / "backup"
    await backing_up.backup(settings, target)
    listed = target / "generations" / manifest_of(target).generation / "blobs.txt"
    whole = listed.read_text()
    for content in (whole.splitlines(keepends=True)[0], whole.replace(" ", " x"), None):
        if content is None:
            listed.unlink()
        else:
            listed.write_text(content)
        with pytest.raises(BackupError, match="can't be restored"):
            await restoring.restore(settings_of(tmp_path / "again"), target)
    assert not (tmp_path / "again" / "blobs").exists()


async def test_a_restored_store_knows_that_it_is_behind(store: Store, settings: Settings, tmp_path: Path) -> None:
    """Every room is behind, what waited to be said is dropped but for greetings, and admins are told."""
    async with store.write() as db:
        await jobs.add(db, orders.Notice("answer:$c", ROOM, "said since").job(), NOW)
        await jobs.add(db, orders.Notice(f"welcome:{ROOM}:x", ROOM, "", greets=True).job(), NOW)
        await jobs.add(db, orders.Command(EventId("$c"), ROOM, ALICE, "delete", Position(1)).job(), NOW)
    await backing_up.backup(settings, tmp_path / "backup")
    again = settings_of(tmp_path / "again", admins=["@admin:hs"])
    said = await restoring.restore(again, tmp_path / "backup")
    assert "1 rooms stay closed" in said
    async with await_closed(await Store.own(again.storage.place)) as restored, restored.read() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        assert room.behind is Behind.WALKED
        (notice,) = await jobs.unfinished(db, orders.Notice.kind)
        assert orders.Notice.of(notice).greets
        assert not await jobs.unfinished(db, orders.Command.kind)
        assert await jobs.unfinished(db, orders.CatchUp.kind)
        (told,) = await jobs.unfinished(db, orders.Direct.kind)
        assert orders.Direct.of(told).user_id == "@admin:hs"
        assert await journal.get(db, catching_up.RESTORED) == manifest_of(tmp_path / "backup").made_at.isoformat()


async def test_a_restore_can_end_all_personal_addresses(store: Store, settings: Settings, tmp_path: Path) -> None:
    """Addresses that were revoked after a backup work again, which the command says; with --renew-addresses none
    does."""
    async with store.write() as db:
        await rooms.save_listener(db, Listener(ROOM, ALICE, 1, "hash"))
    await backing_up.backup(settings, tmp_path / "backup")
    for renew, sentence in ((False, "renew-all"), (True, "All personal addresses have ended")):
        again = settings_of(tmp_path / f"again-{renew}")
        said = await restoring.restore(again, tmp_path / "backup", renew=renew)
        assert sentence in said
        async with await_closed(await Store.own(again.storage.place)) as restored, restored.read() as db:
            assert (restored.secret() != store.secret(), await rooms.any_listener(db) is None) == (renew, renew)


async def test_no_studio_outlives_a_restore(store: Store, settings: Settings, tmp_path: Path) -> None:
    """Whoever may send now is not known: a broadcast that runs stops with what came, and nothing waits any more."""
    async with store.write() as db:
        live = await studios.add(db, a_studio(state=StudioState.LIVE))
        await studios.add(db, a_studio(key="f" * 32))
    await backing_up.backup(settings, tmp_path / "backup")
    again = settings_of(tmp_path / "again")
    await restoring.restore(again, tmp_path / "backup")
    async with await_closed(await Store.own(again.storage.place)) as restored, restored.read() as db:
        assert await studios.open_in(db) == ()
        assert await journal.position_of(db, events.change_id(live, 1)) is not None


async def test_a_backup_holds_the_secret_that_was_renewed_meanwhile(
    tmp_path: Path, postgresql: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Renewed by the bot while the backup is made, as after a leak: the old secret is not brought back with it."""
    settings = settings_of(tmp_path / "data", await postgresql.new())
    async with await_closed(await Store.own(settings.storage.place)) as store:
        take = snapshot.take

        async def renewed_after(of: Store, file: Path) -> None:
            await take(of, file)
            await store.secret.replace()

        monkeypatch.setattr(snapshot, "take", renewed_after)
        await backing_up.backup(settings, tmp_path / "backup")
        (held,) = (tmp_path / "backup" / "generations").glob(f"*/{NAME}")
        assert held.read_bytes() == store.secret()


async def test_an_archive_in_a_server_becomes_one_again(tmp_path: Path, postgresql: Server) -> None:
    """With PostgreSQL the rows go through a file of the backup, and the secret through none of the folder; a database
    that holds anything is refused."""
    one, other = await postgresql.new(), await postgresql.new()
    settings, again = settings_of(tmp_path / "data", one), settings_of(tmp_path / "again", other)
    async with await_closed(await Store.own(settings.storage.place)) as store:
        async with store.write() as db:
            await rooms.save_room(db, a_room())
            await archive.add_recording(db, a_recording())
        await add(store, "$kept", KEPT)
        secret = store.secret()
        async with store.write() as db:
            await db.execute(insert(secrets).values(name="media_token", value=b"syt_a_token"))
        await backing_up.backup(settings, tmp_path / "backup")
    assert not any(b"syt_a_token" in data for data in files_of(tmp_path / "backup").values())
    await restoring.restore(again, tmp_path / "backup")
    assert not (again.storage.path / "aircheck.db").exists()
    async with await_closed(await Store.own(again.storage.place)) as restored:
        assert restored.secret() == secret
        assert await restored.blobs.read(key_of(KEPT)) == KEPT
        async with restored.read() as db:
            room = await rooms.room(db, ROOM)
            assert room is not None
            assert room.behind is Behind.WALKED
    with pytest.raises(ConfigError, match="not empty"):
        await restoring.restore(settings_of(tmp_path / "third", one), tmp_path / "backup")
    await postgresql.drop(one)
    await postgresql.drop(other)


@of_the_file
async def test_media_of_the_living_store_are_left_alone(bucket: TestBucket, tmp_path: Path) -> None:
    """A restore elsewhere with the bucket of the store is refused, so are another store there and its removals; a
    restore in the same folder takes the bucket over."""
    settings, drill = (with_media(settings_of(tmp_path / name), bucket) for name in ("data", "drill"))
    async with await_closed(await Store.own(settings.storage.place)) as store:
        await add_chunk(store, KEPT)
        await backing_up.backup(settings, tmp_path / "backup")
    with pytest.raises(ConfigError, match=r"another store, that in .*/data: give this one a prefix of its own"):
        await restoring.restore(drill, tmp_path / "backup")
    with pytest.raises(MediaHeldError) as refused:
        await Store.own(with_media(settings_of(tmp_path / "other"), bucket).storage.place)
    assert explain(refused.value)[0] == 2
    await restoring.restore(settings_of(tmp_path / "drill"), tmp_path / "backup")
    with pytest.raises(MediaHeldError):
        await Store.own(drill.storage.place)
    shutil.rmtree(settings.storage.path)
    assert "1 files" in await restoring.restore(settings, tmp_path / "backup")
    async with await_closed(await Store.own(settings.storage.place)) as store:
        assert await store.blobs.read(key_of(KEPT)) == KEPT
    assert bucket.blobs() == {key_of(KEPT)}


class await_closed:  # noqa: N801 (reads as a word)
    """A store that is closed when the block ends."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __aenter__(self) -> Store:
        return self._store

    async def __aexit__(self, *_: object) -> None:
        await self._store.close()
