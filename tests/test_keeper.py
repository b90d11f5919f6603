"""Housekeeping removes what is left over, and nothing else."""

import asyncio
from pathlib import Path

import pytest

from bot import orders
from bot.keeper import FEW
from storage import jobs
from storage.records import BlobKey
from tests.blobs import folder_of
from tests.world import World, world_of


async def leave(world: World, key: str) -> BlobKey:
    """Leave a file without a row, as a death between the two does."""
    part = world.store.blobs.part("left")
    await asyncio.to_thread(part.write_bytes, key.encode())
    await asyncio.to_thread(folder_of(world.store).add, part, BlobKey(key))
    return BlobKey(key)


async def test_a_file_without_a_row_goes_and_one_that_has_its_time_stays(tmp_path: Path) -> None:
    """A file without a row may be redacted sound; old audio stays for running downloads."""
    async with world_of(tmp_path / "data") as world:
        await world.join()
        await world.work()
        cover = set(world.files())
        lost, old = await leave(world, "aa11"), await leave(world, "aa22")
        async with world.store.write() as db:
            later = world.clock().replace(year=2027)
            await jobs.add(db, orders.Forget((old,)).job(later), world.clock())
        await world.keeper.sweep()
        await world.work()
        assert len(cover) == 1
        assert set(world.files()) == {*cover, old}
        assert lost not in world.files()


async def test_a_database_that_knows_none_of_the_files_removes_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A database that was lost must not take the sound with it."""
    async with world_of(tmp_path / "data") as world:
        for number in range(FEW + 1):
            await leave(world, f"{number:04d}")
        await world.keeper.sweep()
        await world.work()
        assert len(world.files()) == FEW + 1
    assert "is this the right database" in caplog.text
