"""Housekeeping removes what is left over, and nothing else."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, func, insert, select, update

from bot import orders
from bot.keeper import FEW
from storage import archive, checking, jobs
from storage.records import BlobKey
from storage.tables import metadata
from storage.tables import rooms as room_table
from tests.blobs import folder_of
from tests.postgresql import of_the_file
from tests.storage.filled import filled
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


async def tear(world: World, column: Column[Any], value: object) -> None:
    """Put something else into a column of all rows that have anything there."""
    async with world.store.write() as db:
        changed = await db.execute(update(column.table).where(column.is_not(None)).values({column: value}))
        assert changed.rowcount


KEY = "0123456789abcdef" * 4
TORN = ["", "..", KEY[1:], f"{KEY}0", KEY.upper(), f"{KEY[:-1]}g", f"../../{KEY}"[:64], "é" * 64]


@pytest.mark.parametrize("torn", [*TORN, pytest.param(f"{KEY}\0", marks=of_the_file)])
async def test_a_torn_name_keeps_all_files_without_a_row(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, torn: str
) -> None:
    """While a row names no file by what should be a name, any file without a row may be the one that it means: none is
    removed, and the log says why, until the row is right again."""
    async with world_of(tmp_path / "data") as world:
        await world.join()
        await world.work()
        (cover,) = world.files()
        lost = await leave(world, "aa11")
        await tear(world, room_table.c.cover, torn)
        await world.keeper.sweep()
        await world.work()
        assert set(world.files()) == {cover, lost}
        assert "no file is removed: 2 are in no row, and any may be meant by the torn names in 1 rows" in caplog.text
        await tear(world, room_table.c.cover, cover)
        await world.keeper.sweep()
        await world.work()
        assert set(world.files()) == {cover}


@of_the_file
async def test_bytes_in_place_of_a_name_are_torn(tmp_path: Path) -> None:
    """SQLite takes bytes for a text, and they equal none: also those of a whole name."""
    async with world_of(tmp_path / "data") as world:
        await world.join()
        await world.work()
        async with world.store.write() as db:
            await db.exec_driver_sql("UPDATE rooms SET cover = CAST(cover AS BLOB)")
            assert await archive.torn_names(db) == 1


async def test_a_torn_name_is_found_in_each_column(tmp_path: Path) -> None:
    """Each column that names files is looked at; rows without a name are in order."""
    async with world_of(tmp_path / "data") as world:
        tables = {column.table for column in archive.NAMED}
        for table in reversed(metadata.sorted_tables):
            tables |= {key.column.table for key in table.foreign_keys} if table in tables else set()
        async with world.store.write() as db:
            for table in metadata.sorted_tables:
                if table in tables:
                    await db.execute(insert(table), [filled(table, number) for number in (1, 2)])
        for column in archive.NAMED:
            async with world.store.write() as db:
                await db.execute(update(column.table).values({column: None if column.nullable else KEY}))
        async with world.store.read() as db:
            assert await archive.torn_names(db) == 0
        for number, column in enumerate(archive.NAMED, start=1):
            first, *_ = column.table.primary_key
            async with world.store.write() as db:
                lowest = select(func.min(first)).scalar_subquery()
                await db.execute(update(column.table).where(first == lowest).values({column: "torn"}))
                assert await archive.torn_names(db) >= number
                assert {use.what for use, _ in await checking.torn_names(db)} == {
                    f"{each.table.name}.{each.name}" for each in archive.NAMED[:number]
                }
