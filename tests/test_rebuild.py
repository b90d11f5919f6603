"""`aircheck rebuild`: the same episode again, of the chunks that were kept."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot import app, orders
from bot.errors import AircheckError, ConfigError
from bot.shell import handover
from storage import archive, jobs, tracks
from storage.place import Place
from storage.records import Episode, RecordingState
from storage.store import is_owned
from tests.beside import worker_of
from tests.world import START, Killed, World, chunk, heard, info, settings_for, world_of


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """Run a bot that does the shell's orders, with one recording of two seconds in its store."""
    async with world_of(tmp_path / "data") as made:
        await spoken(made)
        made.clock.now = datetime.now(UTC) + timedelta(days=1)  # the shell goes by the time of day
        monkeypatch.setattr(handover, "at_work", worker_of(made))
        monkeypatch.setattr(handover, "LOOK_EVERY_S", 0.02)
        yield made


async def spoken(world: World) -> None:
    await world.join()
    await world.begin(chunk("$c1", 1), chunk("$c2", 2))
    await world.hear(info("$stop", "stopped", last_chunk_sequence=2))
    await world.work()


async def made(world: World) -> Episode:
    async with world.store.read() as db:
        found = await archive.episode(db, (await world.recording()).id)
    assert found is not None
    return found


@pytest.mark.parametrize("by", ["code", "last", "event id"])
async def test_it_is_the_same_file_again(world: World, by: str) -> None:
    """Byte by byte, so its entity tag too; GUID, address and date of publication stay. Nothing is said in the room."""
    before, recording = await made(world), await world.recording()
    path = world.store.directory / world.store.blobs.relative(before.blob)
    data = await asyncio.to_thread(path.read_bytes)
    notices = await world.waiting(orders.Notice.kind)
    world.clock.pass_by(1)
    name = {"code": recording.code.upper(), "last": "last", "event id": START}[by]
    said = await handover.rebuild(world.settings, name)
    after = await made(world)
    assert said == f"{recording.code} was rebuilt: 2 s, the same bytes as before."
    assert (after.guid, after.blob, after.published_at) == (before.guid, before.blob, before.published_at)
    assert after.made_at > before.made_at
    assert await asyncio.to_thread(path.read_bytes) == data
    assert (await world.recording()).code == recording.code
    assert await world.waiting(orders.Notice.kind) == notices


async def test_a_file_that_somebody_removed_is_there_again(world: World) -> None:
    """The chunks are what an episode is made of, not the frames that were in the file."""
    before = await made(world)
    path = world.store.directory / world.store.blobs.relative(before.blob)
    data = await asyncio.to_thread(path.read_bytes)
    await asyncio.to_thread(path.unlink)
    await handover.rebuild(world.settings, "last")
    assert await asyncio.to_thread(path.read_bytes) == data


@pytest.mark.parametrize("harm", ["another byte", "shorter", "empty", "gone"])
async def test_a_chunk_that_is_damaged_on_the_disk_spoils_no_episode(world: World, harm: str) -> None:
    """The sentence names the chunk; the episode and its frames stay until the chunk is put back."""
    before = await made(world)
    async with world.store.read() as db:
        recording = await world.recording()
        chunks = await archive.chunks(db, recording.id)
        places = await tracks.extents(db, recording.id)
    blob = chunks[0].blob
    assert blob is not None
    path = world.store.directory / world.store.blobs.relative(blob)
    data = await asyncio.to_thread(path.read_bytes)
    if harm == "gone":
        await asyncio.to_thread(path.unlink)
    else:
        other = {"another byte": data[:-1] + bytes([data[-1] ^ 1]), "shorter": data[:-1], "empty": b""}[harm]
        await asyncio.to_thread(path.write_bytes, other)
    with pytest.raises(AircheckError, match=f"a chunk is not there as stored.*{blob}"):
        await handover.rebuild(world.settings, "last")
    assert await made(world) == before
    assert before.blob in world.files()
    async with world.store.read() as db:
        assert await tracks.extents(db, recording.id) == places
    await asyncio.to_thread(path.write_bytes, data)
    assert (await handover.rebuild(world.settings, "last")).endswith("the same bytes as before.")


async def test_other_settings_give_another_file_of_the_same_length(world: World, tmp_path: Path) -> None:
    """The GUID stays, and so does the old file for as long as somebody may be downloading it."""
    before = await made(world)
    storage = {"directory": str(tmp_path / "data"), "min_free_bytes": 0}
    world.settings = settings_for(tmp_path / "data", storage=storage, audio={"mp3_bitrate_kbps": 96})
    await world.rise_again()
    said = await handover.rebuild(world.settings, "last")
    after = await made(world)
    assert said.endswith("2 s, another file under the same GUID.")
    assert (after.guid, after.samples) == (before.guid, before.samples)
    assert after.bytes - before.bytes > 7_000  # 4,000 a second
    assert before.blob in world.files()
    world.clock.pass_by(3601)
    await world.work()
    assert before.blob not in world.files()
    assert after.blob in world.files()


@pytest.mark.parametrize("name", ["zzzzzz", "$nothing", "kfm", "-"])
async def test_what_is_not_there_is_a_wrong_argument(world: World, name: str) -> None:
    """The sentence names the argument, and nothing is done."""
    with pytest.raises(ConfigError, match=r"^RECORDING: "):
        await handover.rebuild(world.settings, name)


async def test_what_runs_is_not_made_again(world: World) -> None:
    """A sentence says why, also for a recording without sound."""
    code = (await world.recording()).code
    for state, why in (
        (RecordingState.LIVE, "it is live"),
        (RecordingState.FINISHING, "it is being finished"),
        (RecordingState.EMPTY, "none of its sound can be played"),
    ):
        async with world.store.write() as db:
            await archive.save_recording(db, replace(await world.recording(), state=state))
        with pytest.raises(AircheckError, match=why) as refused:
            await handover.rebuild(world.settings, code)
        assert refused.value.exit_code == 1


async def test_a_deleted_recording_is_not_there(world: World) -> None:
    """Nothing is left to make anything of."""
    code = (await world.recording()).code
    await world.hear(heard("$r", "m.room.redaction", {}, redacts=START))
    await world.work()
    with pytest.raises(ConfigError):
        await handover.rebuild(world.settings, code)


@pytest.mark.parametrize("after_commit", [False, True], ids=["before a commit", "after it"])
async def test_a_death_at_any_write_changes_nothing_of_it(world: World, after_commit: bool) -> None:
    """Killed at each write in turn and started again: the same file, whole, and the frames in it are known."""
    before, recording = await made(world), await world.recording()
    path, number = world.store.directory / world.store.blobs.relative(before.blob), 0
    data = await asyncio.to_thread(path.read_bytes)
    died = True
    while died:
        number, died = number + 1, False
        await asyncio.to_thread(path.unlink)
        async with world.store.write() as db:
            await jobs.add(db, orders.Finish(recording.id, anew=True).job(), world.clock())
        world.store.die_at(number, after_commit=after_commit)
        try:
            await world.work()
        except Killed:
            died = True
            await world.rise_again()
            await world.work()
        world.store.left = None
        assert await asyncio.to_thread(path.read_bytes) == data
        async with world.store.read() as db:
            (extent,) = await tracks.extents(db, recording.id)
        assert extent.blob == before.blob
    assert number > 4


@pytest.mark.parametrize("runs", [True, False], ids=["a bot runs", "none runs"])
async def test_it_is_done_by_the_bot_that_runs_or_by_the_command(runs: bool, tmp_path: Path) -> None:
    """The one process that owns the store does it, whatever the homeserver does; nothing is left running."""
    matrix = {"homeserver": "http://127.0.0.1:1", "user_id": "@bot:hs", "password": "x"}
    settings = settings_for(tmp_path / "data", matrix=matrix, web={"port": 0})
    async with world_of(tmp_path / "data") as world:
        await spoken(world)
        before = await made(world)
        path = world.store.directory / world.store.blobs.relative(before.blob)
    await asyncio.to_thread(path.unlink)
    async with app.running(settings) if runs else nullcontext():
        assert "the same bytes as before" in await handover.rebuild(settings, "last")
        assert await is_owned(Place(tmp_path / "data")) is runs
    assert path.exists()
