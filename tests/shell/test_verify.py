"""`aircheck verify`: every fault that is put in is found, and mended where that can be."""

import asyncio
import hashlib
import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from bot import keeper, orders
from bot.errors import GiveUp
from bot.shell import verify as verifying
from bot.worker.mending import Mending
from storage import archive, dialect, jobs, portraits, rooms
from storage.records import (
    BlobKey,
    ChunkId,
    ChunkState,
    Episode,
    EventId,
    HeardEvent,
    Portrait,
    RecordingState,
    RoomId,
    Samples,
)
from storage.tables import stem_blobs
from tests.beside import worker_of
from tests.blobs import add_bytes, folder_of
from tests.booth import Booth, a_take
from tests.postgresql import of_the_file
from tests.world import ALICE, ROOM, Forgetful, World, chunk, info, world_of

CHUNKS = {event.event_id: event for event in (chunk("$c1", 1), chunk("$c2", 2))}


class Homeserver(Forgetful):
    """A homeserver that has the events of the chunks, unless it `forgot` them."""

    forgot = False

    async def event(self, room_id: RoomId, event_id: EventId) -> HeardEvent:
        if self.forgot:
            raise GiveUp("the homeserver refused: 404 M_NOT_FOUND", reason="not_found")
        return CHUNKS[event_id]


@pytest.fixture(scope="module")
async def archived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an archive once: a recording with an episode of two chunks, a cover and a portrait."""
    folder = tmp_path_factory.mktemp("archived") / "data"
    async with world_of(folder) as made:
        await made.join()
        await made.begin(*CHUNKS.values())
        await made.hear(info("$stop", "stopped", last_chunk_sequence=2))
        await made.work()
        picture = b"a picture"
        key = BlobKey(hashlib.sha256(picture).hexdigest())
        add_bytes(made.store, picture, key)
        async with made.store.write() as db:
            await portraits.save(db, Portrait(ROOM, ALICE, "mxc://hs/alice", key))
    return folder


@pytest.fixture
async def homeserver() -> Homeserver:
    return Homeserver()


@pytest.fixture
async def world(
    archived: Path, homeserver: Homeserver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """Run a bot over a copy of the archive, which does the shell's orders."""
    shutil.copytree(archived, tmp_path / "data")
    async with world_of(tmp_path / "data") as made:
        made.clock.now = datetime.now(UTC) + timedelta(days=1)  # the shell goes by the time of day
        mending = Mending(made.store, made.settings, homeserver, download=made.download, clock=made.clock)
        made.handlers |= {orders.Mend.kind: mending, orders.MendRoom.kind: mending.room}
        monkeypatch.setattr(verifying, "at_work", worker_of(made))
        monkeypatch.setattr("bot.shell.handover.LOOK_EVERY_S", 0.02)
        monkeypatch.setattr(verifying, "LOOK_EVERY_S", 0.02)
        yield made


async def faults_of(world: World, capsys: pytest.CaptureFixture[str], *, repair: bool = False) -> list[str]:
    left = await verifying.verify(world.settings, repair=repair)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == left
    return lines


async def episode_of(world: World) -> Episode:
    async with world.store.read() as db:
        found = await archive.episode(db, (await world.recording()).id)
    assert found is not None
    return found


async def the_chunk(world: World) -> BlobKey:
    async with world.store.read() as db:
        chunks = await archive.chunks(db, (await world.recording()).id)
    assert chunks[0].blob is not None
    return chunks[0].blob


async def the_episode(world: World) -> BlobKey:
    return (await episode_of(world)).blob


async def the_cover(world: World) -> BlobKey:
    async with world.store.read() as db:
        room = await rooms.room(db, ROOM)
    assert room is not None
    assert room.cover is not None
    return room.cover


async def the_portrait(world: World) -> BlobKey:
    async with world.store.read() as db:
        (portrait,) = await portraits.of_room(db, ROOM)
    assert portrait.blob is not None
    return portrait.blob


Named = Callable[[World], Awaitable[BlobKey]]


def flip(world: World, key: BlobKey) -> None:
    path = folder_of(world.store).path(key)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


async def test_a_sound_archive_has_no_fault(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is said of an archive that is in order."""
    assert await faults_of(world, capsys) == []


@pytest.mark.parametrize(
    ("named", "damage"),
    [
        *((named, "flipped") for named in (the_chunk, the_episode, the_cover, the_portrait)),
        *((the_episode, "missing"), (the_chunk, "cut"), (the_cover, "missing")),
    ],
)
async def test_a_damaged_file_is_found(
    world: World, capsys: pytest.CaptureFixture[str], named: Named, damage: str
) -> None:
    """A bit that flipped, a missing file and one that was cut are found in each kind of file."""
    key = await named(world)
    path = folder_of(world.store).path(key)
    match damage:
        case "flipped":
            flip(world, key)
        case "missing":
            path.unlink()
        case _:
            path.write_bytes(path.read_bytes()[:-1])
    found = await faults_of(world, capsys)
    assert found
    assert all(key in line for line in found)


@pytest.mark.parametrize(
    ("named", "damage"),
    [(the_chunk, "flipped"), (the_chunk, "missing"), (the_episode, "flipped"), (the_cover, "flipped")],
)
async def test_a_damaged_file_is_mended(
    world: World, capsys: pytest.CaptureFixture[str], named: Named, damage: str
) -> None:
    """A chunk comes back from the homeserver, byte for byte; episodes and pictures are made again. The GUID stays."""
    key, before = await named(world), await episode_of(world)
    if damage == "flipped":
        flip(world, key)
    else:
        folder_of(world.store).path(key).unlink()
    assert await faults_of(world, capsys, repair=True) == []
    assert (await episode_of(world)).guid == before.guid
    assert (await episode_of(world)).blob == before.blob


async def test_a_chunk_that_the_homeserver_lacks_is_a_fault_that_is_left(
    world: World, homeserver: Homeserver, capsys: pytest.CaptureFixture[str]
) -> None:
    """A chunk that can't be had is named, and the fault stays in the list."""
    key = await the_chunk(world)
    flip(world, key)
    homeserver.forgot = True
    left = await verifying.verify(world.settings, repair=True)
    said = capsys.readouterr()
    assert left
    assert key in said.out
    assert "can't be had any more" in said.err


async def test_what_exists_nowhere_else_is_said_to_be_lost(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """The stem of a call, a slice of one, and a cover that a moderator chose can't be made again: each line says so,
    and a repair changes nothing."""
    recording, files = await world.recording(), [b"a stem", b"a slice", b"a chosen cover"]
    stem, piece, cover = (BlobKey(hashlib.sha256(data).hexdigest()) for data in files)
    async with world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        await rooms.save_room(db, replace(room, own_cover=cover))
        (first, *_) = await archive.chunks(db, recording.id)
        await archive.save_chunks(
            db, [replace(first, id=ChunkId("$slice"), event_id=None, blob=piece, bytes=7, stem=1)]
        )
        await db.execute(
            stem_blobs.insert().values(recording_id=recording.id, number=1, blob=stem, bytes=len(files[0]))
        )
    found = await faults_of(world, capsys, repair=True)
    for key in (stem, piece, cover):
        assert any(key in line and line.endswith("bring it back from a backup, by its name") for line in found)


async def test_what_was_uploaded_to_a_studio_is_said_to_be_lost(
    world: World, homeserver: Homeserver, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stored slice, one that waits to be fetched, and a cover exist nowhere else: the homeserver is not asked."""
    cover = BlobKey(hashlib.sha256(b"a cover").hexdigest())
    add_bytes(world.store, b"a cover", cover)
    booth = await Booth.open(world, cover=cover)
    waiting, stored = (piece.data for piece in a_take(7, 3.0))
    await booth.start()
    await booth.send(stored, 2)
    await world.work()
    await booth.stop()
    world.clock.pass_by(61)
    await world.work()
    homeserver.forgot = True
    await assert_lost(world, capsys, b"a cover", stored, repair=True)
    await booth.send(waiting, 1)
    await assert_lost(world, capsys, waiting)


async def assert_lost(world: World, capsys: pytest.CaptureFixture[str], *files: bytes, repair: bool = False) -> None:
    """Remove files, and check that each line about them says that they exist nowhere else."""
    lost = [BlobKey(hashlib.sha256(data).hexdigest()) for data in files]
    for key in lost:
        folder_of(world.store).path(key).unlink()
    found = await faults_of(world, capsys, repair=repair)
    for key in lost:
        lines = [line for line in found if key in line]
        assert lines
        assert all(line.endswith("bring it back from a backup, by its name") for line in lines)


async def test_a_file_that_no_row_names_is_removed(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """An orphaned file is found, and gone after a repair; so is not what an order removes anyway."""
    add_bytes(world.store, b"orphan", key := BlobKey(hashlib.sha256(b"orphan").hexdigest()))
    (found,) = await faults_of(world, capsys)
    assert "no row names it" in found
    assert await faults_of(world, capsys, repair=True) == []
    assert not folder_of(world.store).path(key).exists()
    stray = folder_of(world.store).directory / key[:2] / "notes.txt"
    stray.write_text("mine")
    (found,) = await faults_of(world, capsys, repair=True)
    assert "notes.txt" in found
    assert stray.exists()


@pytest.mark.parametrize("named", ["episodes.blob", "extents.blob", "rooms.cover", "portraits.blob"])
async def test_a_torn_name_of_what_can_be_made_again_is_mended(
    world: World, capsys: pytest.CaptureFixture[str], named: str
) -> None:
    """A row that names no file by what should be a name is a fault; an episode and a picture are made again, and then
    files that no row names go."""
    add_bytes(world.store, b"orphan", key := BlobKey(hashlib.sha256(b"orphan").hexdigest()))
    table, column = named.split(".")
    await tear(world, table, column)
    said = await faults_of(world, capsys)
    assert any(line.startswith(f"{named} is not the name of a file: ") for line in said)
    assert await faults_of(world, capsys, repair=True) == []
    assert not folder_of(world.store).path(key).exists()


@pytest.mark.parametrize("torn", ["", "..", "A" * 64])
async def test_a_torn_name_keeps_files_without_a_row(
    world: World, capsys: pytest.CaptureFixture[str], torn: str
) -> None:
    """The file of a chunk whose row names none any more stays, and so does every other that no row names: a repair says
    so in one line."""
    add_bytes(world.store, b"orphan", key := BlobKey(hashlib.sha256(b"orphan").hexdigest()))
    chunk_key = await the_chunk(world)
    await tear(world, "chunks", "blob", torn, "blob = :blob", blob=chunk_key)
    assert await verifying.verify(world.settings, repair=True)
    said = capsys.readouterr()
    (line,) = [line for line in said.out.splitlines() if line.startswith("chunks.blob is not the name of a file: ")]
    assert "no file without a row is removed while it is so" in line
    assert (
        "not mended: no file is removed: 2 are in no row, and any may be meant by the torn names in 1 rows" in said.err
    )
    assert {key, chunk_key} <= {*world.files()}


async def tear(world: World, table: str, column: str, torn: str = "torn", where: str = "1 = 1", **more: object) -> None:
    statement = text(f"UPDATE {table} SET {column} = :torn WHERE {where}")  # noqa: S608
    async with world.store.write() as db:
        assert (await db.execute(statement, {"torn": torn, **more})).rowcount


async def test_too_many_files_without_a_row_are_left(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repair removes no file without a row where more have none than have one: the database is the wrong one then."""
    monkeypatch.setattr(keeper, "FEW", 0)
    orphans = [b"orphan %d" % number for number in range(20)]
    for data in orphans:
        add_bytes(world.store, data, BlobKey(hashlib.sha256(data).hexdigest()))
    assert await verifying.verify(world.settings, repair=True) == len(orphans)
    said = capsys.readouterr()
    assert said.out.count("no row names it") == len(orphans)
    assert "is this the right database?" in said.err


@of_the_file
async def test_a_track_stays_until_it_can_be_made_again(
    world: World, homeserver: Homeserver, capsys: pytest.CaptureFixture[str]
) -> None:
    """A torn track is kept while the chunks that it is made of can't be had."""
    flip(world, await the_chunk(world))
    homeserver.forgot = True
    async with world.store.write() as db:
        await db.execute(text("UPDATE cuts SET parts = '{torn'"))
    assert await faults_of(world, capsys, repair=True)
    async with world.store.read() as db:
        for table in ("tracks", "extents"):
            assert (await db.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one()  # noqa: S608


@of_the_file
@pytest.mark.parametrize("column", ["chunks.blob", "recordings.event_id", "rooms.cover"])
async def test_a_torn_row_hides_no_other_fault(world: World, capsys: pytest.CaptureFixture[str], column: str) -> None:
    """Bytes in place of a text, where files and ledgers are looked for: the row is named, and so is a damaged file that
    is not about it."""
    table, name = column.split(".")
    flip(world, key := await the_portrait(world))
    await asyncio.to_thread(_tear, world.store.directory / "aircheck.db", table, name)
    found = await faults_of(world, capsys)
    assert any(f"a row of {table} can't be read" in line for line in found)
    assert any(key in line or "can't be looked at because of the rows above" in line for line in found)


def _tear(path: Path, table: str, column: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"UPDATE {table} SET {column} = CAST(x'ff' AS TEXT) WHERE rowid = 1")  # noqa: S608
        connection.commit()


@of_the_file
async def test_a_torn_track_is_made_again(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows about frames are made of the chunks, so they can be lost."""
    async with world.store.write() as db:
        await db.execute(text("UPDATE cuts SET parts = '{torn'"))
    assert await faults_of(world, capsys, repair=True) == []


async def _change(world: World, **fields: object) -> None:
    recording = await world.recording()
    async with world.store.write() as db:
        await archive.save_recording(db, replace(recording, **fields))  # type: ignore[arg-type]


async def _a_chunk_without_file(world: World) -> None:
    async with world.store.write() as db:
        first, *_ = await archive.chunks(db, (await world.recording()).id)
        await archive.save_chunks(db, [replace(first, blob=None, bytes=None)])


async def _a_redacted_chunk_with_file(world: World) -> None:
    async with world.store.write() as db:
        first, *_ = await archive.chunks(db, (await world.recording()).id)
        await archive.save_chunks(db, [replace(first, state=ChunkState.REDACTED)])


async def _sound_of_a_deleted_recording(world: World) -> None:
    await _change(world, state=RecordingState.DELETED)


async def _an_episode_of_another_length(world: World) -> None:
    episode = await episode_of(world)
    async with world.store.write() as db:
        await archive.save_episode(db, replace(episode, samples=Samples(episode.samples + 1)))


async def _an_episode_of_other_chunks(world: World) -> None:
    async with world.store.write() as db:
        await archive.save_episode(db, replace(await episode_of(world), fingerprint="0" * 64))


async def _no_episode(world: World) -> None:
    async with world.store.write() as db:
        recording = await world.recording()
        await archive.delete_episode(db, recording.id)


async def _pieces_that_do_not_add_up(world: World) -> None:
    async with world.store.write() as db:
        await db.execute(text("UPDATE cuts SET samples = samples + 1 WHERE ordinal = 0"))


async def _frames_with_a_gap(world: World) -> None:
    async with world.store.write() as db:
        await db.execute(text("UPDATE extents SET first = first + 1"))


async def _a_row_about_nothing(world: World) -> None:
    await asyncio.to_thread(_delete_unasked, world.store.directory / "aircheck.db")


def _delete_unasked(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM recordings")
        connection.commit()


PutIn = Callable[[World], Coroutine[Any, Any, None]]
FAULTS: dict[PutIn, str] = {
    _a_chunk_without_file: "is stored, and has no file",
    _a_redacted_chunk_with_file: "is redacted, and has a file",
    _sound_of_a_deleted_recording: "it was deleted, and rows of its sound are left",
    _an_episode_of_another_length: "its episode has another length",
    _an_episode_of_other_chunks: "its episode is not made of its chunks",
    _no_episode: "it has no episode",
    _pieces_that_do_not_add_up: "the pieces of its track don't add up",
    _frames_with_a_gap: "the frames of its track have gaps",
    _a_row_about_nothing: "is about a row of recordings that is gone",
}


@pytest.mark.parametrize(
    "put_in", [pytest.param(each, marks=of_the_file if each is _a_row_about_nothing else ()) for each in FAULTS]
)
async def test_a_ledger_that_contradicts_its_files_is_found(
    world: World, capsys: pytest.CaptureFixture[str], put_in: PutIn
) -> None:
    """Each way in which rows can contradict each other, or their files, has its own line."""
    await put_in(world)
    assert any(FAULTS[put_in] in line for line in await faults_of(world, capsys))


@pytest.mark.parametrize(
    "put_in",
    [_an_episode_of_another_length, _an_episode_of_other_chunks, _pieces_that_do_not_add_up, _frames_with_a_gap],
)
async def test_what_is_made_of_chunks_is_made_again(
    world: World, capsys: pytest.CaptureFixture[str], put_in: PutIn
) -> None:
    """Rows of episodes and tracks are mended by making them again."""
    await put_in(world)
    assert await faults_of(world, capsys, repair=True) == []


@of_the_file
async def test_a_damaged_database_is_found(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Pages that contradict each other are found; that can't be mended."""
    path = world.store.directory / "aircheck.db"
    async with world.store.write() as db:
        where = text("SELECT rootpage FROM sqlite_master WHERE name = 'ix_journal_room_id'")
        root = (await db.execute(where)).scalar_one()
    damaged = world.store.directory / "damaged.db"
    await asyncio.to_thread(dialect.copy, path, damaged)
    data = bytearray(damaged.read_bytes())
    size = int.from_bytes(data[16:18], "big")
    data[(root - 1) * size : root * size] = bytes(size)
    damaged.write_bytes(data)
    assert any("the database is damaged" in line for line in dialect.faults(damaged))


async def test_a_recording_that_is_worked_on_is_left_alone(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """While an order for its files waits, a recording is no fault."""
    await _no_episode(world)
    async with world.store.write() as db:
        await jobs.add(db, orders.Finish((await world.recording()).id).job(), world.clock())
    assert not any("it has no episode" in line for line in await faults_of(world, capsys))
