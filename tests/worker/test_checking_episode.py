"""Lost files: an episode whose file is gone or cut is in no feed, is made again with the same bytes, and is told of."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot import orders
from storage import archive, jobs
from storage.records import BlobKey, Episode
from tests.blobs import folder_of
from tests.worker.quick import without_ffmpeg
from tests.world import ROOM, World, chunk, info, world_of


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    without_ffmpeg(monkeypatch)
    async with world_of(tmp_path / "data") as world:
        await world.join()
        await world.begin(chunk("$c1", 1), chunk("$c2", 2))
        await world.hear(info("$stop", "stopped", last_chunk_sequence=2))
        await world.work()
        yield world


async def episode(world: World) -> Episode:
    async with world.store.read() as db:
        found = await archive.episode(db, (await world.recording()).id)
    assert found is not None
    return found


async def listed(world: World) -> bool:
    async with world.store.read() as db:
        return bool(await archive.published(db, ROOM))


def path_of(world: World, blob: BlobKey) -> Path:
    return world.store.directory / world.store.blobs.relative(blob)


def spoil(path: Path, *, cut: bool) -> None:
    """Delete a file, or cut it in half."""
    if cut:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.unlink()


async def notices(world: World) -> list[str]:
    return [order.body for order in await world.ordered(orders.Notice) if order.topic.startswith("lost:")]


@pytest.mark.parametrize("cut", [False, True], ids=["gone", "cut"])
async def test_a_lost_file_is_made_again(world: World, cut: bool) -> None:
    """The daily check takes the item out, and it comes back with the same bytes, GUID, and place; the room and the
    administrator are told once."""
    before = await episode(world)
    file = path_of(world, before.blob)
    data = file.read_bytes()
    spoil(file, cut=cut)
    await world.keeper.check_files()
    assert await world.work_one([orders.CheckEpisode.kind])
    assert not await listed(world)
    assert (await episode(world)).lost_at is not None
    await world.work()
    assert file.read_bytes() == data
    after = await episode(world)
    assert await listed(world)
    assert (after.guid, after.blob, after.published_at) == (before.guid, before.blob, before.published_at)
    assert (after.lost_at, after.head) == (None, before.head)
    (notice,) = await notices(world)
    assert "I am making it again" in notice
    (told,) = await world.ordered(orders.Direct)
    assert (await world.recording()).code in (told.body or "")
    file.unlink()
    await world.keeper.check_files()
    await world.work()
    assert len(await notices(world)) == 1, "once a day is enough"


async def test_what_can_not_be_made_again_is_said_so(world: World) -> None:
    """With a chunk's file gone too the item stays out, and comes back once the files do, as from a backup."""
    before = await episode(world)
    async with world.store.read() as db:
        chunks = await archive.chunks(db, before.recording_id)
    lost = [path_of(world, before.blob), path_of(world, chunks[0].blob or BlobKey(""))]
    kept = [path.read_bytes() for path in lost]
    for path in lost:
        path.unlink()
    await world.keeper.check_files()
    await world.work()
    assert not await listed(world)
    (notice,) = await notices(world)
    assert "I can't make it again: 1 part of the recording is lost too" in notice
    assert await world.waiting(orders.Finish.kind) == []
    lost[1].write_bytes(kept[1])
    await world.keeper.check_files()
    await world.work()
    assert await listed(world)
    assert lost[0].read_bytes() == kept[0]


async def test_a_new_title_heals_a_lost_file(world: World) -> None:
    """Whatever asks for the episode next makes its sound again, since the frames were in the lost file."""
    before = await episode(world)
    path_of(world, before.blob).unlink()
    async with world.store.write() as db:
        await jobs.add(db, orders.Finish(before.recording_id).job(), world.clock())
    await world.work()
    assert folder_of(world.store).size(before.blob) == before.bytes
