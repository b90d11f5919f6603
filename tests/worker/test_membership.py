"""Workers beside the bot: their place on the list, and the folder of their files."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from bot.process import utc_now
from bot.worker import membership
from bot.worker.membership import LostWorkers, Membership, scratch_of
from storage import workers
from storage.errors import StoreError
from storage.place import Place
from storage.store import Store
from storage.workers import WorkerProcess
from tests.many.town import until
from tests.postgresql import Server
from tests.world import World


async def test_a_worker_with_a_wrong_clock_is_refused(postgresql: Server, tmp_path: Path) -> None:
    """A worker whose clock is off the database's by more than five seconds does not start: jobs are due by it."""
    address = await postgresql.new()
    store = await Store.own(Place(tmp_path, address))
    for off_s, right in ((-9, False), (9, False), (1, True)):  # far enough for a database that answers late
        worker = Membership("w", "host", store, lambda off_s=off_s: utc_now() + timedelta(seconds=off_s))  # type: ignore[misc]
        if right:
            await worker.begin()
        else:
            with pytest.raises(StoreError, match="s off the database's"):
                await worker.begin()
    await store.close()
    await postgresql.drop(address)


async def listed(store: Store) -> tuple[WorkerProcess, ...]:
    async with store.read() as db:
        return await workers.present(db)


async def test_a_worker_that_was_given_up_gets_its_folder_back(
    postgresql: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paused past its lease, a worker is taken off the list and its files are removed; when it goes on, it is on the
    list again and has a folder to work in."""
    monkeypatch.setattr(membership, "RENEW_EVERY_S", 0.01)
    address = await postgresql.new()
    bot = await Store.own(Place(tmp_path, address))
    store = await Store.join(Place(tmp_path, address), scratch_of(tmp_path, "late"))
    late = Membership("late", "host", store, utc_now)
    await late.begin()
    async with bot.write() as db:
        await workers.leave(db, "late", utc_now())
    await LostWorkers(bot, utc_now).look()
    membership.remove_scratch(tmp_path, {"late"})
    assert not store.blobs.scratch.exists()
    renewing = asyncio.create_task(late.run())

    async def made() -> bool:
        return store.blobs.scratch.exists()

    await until(made)
    renewing.cancel()
    await asyncio.gather(renewing, return_exceptions=True)
    assert [worker.id for worker in await listed(bot)] == ["late"]
    await late.end()
    assert await listed(bot) == ()
    assert not store.blobs.scratch.exists()
    await store.close()
    await bot.close()
    await postgresql.drop(address)


async def test_a_worker_that_starts_at_once_removes_what_a_killed_one_left(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the killed worker is on the list its folder stays; once it is off, the next worker removes it."""
    monkeypatch.setattr(membership, "RENEW_EVERY_S", 0.01)
    store, left = world.store, scratch_of(world.store.directory, "killed")
    left.mkdir(parents=True)
    async with store.write() as db:
        await workers.enter(db, "killed", "host")
    worker = Membership("next", "host", store, utc_now)
    await worker.begin()
    assert left.exists()
    renewing = asyncio.create_task(worker.run())
    async with store.write() as db:
        await workers.leave(db, "killed", world.clock())

    async def removed() -> bool:
        return not left.exists()

    await until(removed)
    renewing.cancel()
    await asyncio.gather(renewing, return_exceptions=True)
