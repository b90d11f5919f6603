"""A worker beside a command of the shell, in place of the running bot's."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from bot.settings import Settings
from storage.store import Store
from tests.world import World


def worker_of(world: World) -> Callable[[Settings], AbstractAsyncContextManager[Store]]:
    """Return what stands for `handover.at_work`: the world's store, and its jobs done as they come."""

    @asynccontextmanager
    async def at_work(_: Settings) -> AsyncIterator[Store]:
        enough = asyncio.Event()
        working = asyncio.create_task(_works(world, enough))
        try:
            yield world.store
        finally:
            enough.set()  # not cancelled: a connection may be in use
            world.store.changes.notify()
            await working

    return at_work


async def _works(world: World, enough: asyncio.Event) -> None:
    with world.store.changes.subscribe() as changed:
        while not enough.is_set():
            changed.clear()
            while await world.work_one(tuple(world.handlers)):
                await world.settle()
            await changed.wait()
