"""The beginning that all stories share: a store whose bot is in the room, with nothing left to do."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from storage import rooms
from tests.worker.quick import without_pictures
from tests.world import ROOM, world_of


def new_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Make an event loop for a machine: Hypothesis calls it from a function that is not async."""
    made = asyncio.new_event_loop()
    yield made
    made.run_until_complete(made.shutdown_default_executor())
    made.close()


def begin(directory: Path, loop: asyncio.AbstractEventLoop, *, replay: bool = False) -> Path:
    """Make the store; with `replay` the room's recordings are handed back."""

    async def join() -> None:
        async with world_of(directory) as world:
            await world.join()
            async with world.store.write() as db:
                room = await rooms.room(db, ROOM)
                assert room is not None
                await rooms.save_room(db, replace(room, replay=replay))
            await world.work()

    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        loop.run_until_complete(join())
    return directory
