"""What lies about is removed, and nothing else."""

import asyncio
from pathlib import Path

import pytest

from bot import orders
from bot.keeper import FEW
from storage import jobs
from storage.records import BlobKey
from tests.world import Shell, shell


async def leave(stage: Shell, key: str) -> BlobKey:
    """A file that no row knows of, as a death between the two leaves it."""
    part = stage.store.blobs.part("left")
    await asyncio.to_thread(part.write_bytes, key.encode())
    await asyncio.to_thread(stage.store.blobs.take, part, BlobKey(key))
    return BlobKey(key)


async def test_a_file_without_a_row_goes_and_one_that_has_its_time_stays(tmp_path: Path) -> None:
    """It may be what was redacted since; old audio is kept for whoever is downloading it."""
    async with shell(tmp_path / "data") as stage:
        await stage.join()
        await stage.work()
        cover = set(stage.files())
        lost, old = await leave(stage, "aa11"), await leave(stage, "aa22")
        async with stage.store.write() as db:
            later = stage.clock().replace(year=2027)
            await jobs.add(db, orders.Forget((old,)).job(later), stage.clock())
        await stage.keeper.sweep()
        await stage.work()
        assert len(cover) == 1
        assert set(stage.files()) == {*cover, old}
        assert lost not in stage.files()


async def test_a_database_that_knows_none_of_the_files_removes_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A database that was lost must not take the sound with it."""
    async with shell(tmp_path / "data") as stage:
        for number in range(FEW + 1):
            await leave(stage, f"{number:04d}")
        await stage.keeper.sweep()
        await stage.work()
        assert len(stage.files()) == FEW + 1
    assert "is this the right database" in caplog.text
