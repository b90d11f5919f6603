"""A homeserver at whose n-th request the process dies, before it is taken or before its answer is read, and a world
whose process dies at a write of the handlers that speak to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, ClassVar

from bot.worker.attempts import Handler
from storage import rooms
from storage.records import Job, JobKind
from tests.world import DONE_HERE, ROOM, Killed, Mortal, World, settings_for

BIG = 1 << 30


class MortalHomeserver:
    """The requests that were made, and the one that kills: `left` is its number, `taken` whether it is carried out."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.left: int | None = None
        self.taken = False

    @asynccontextmanager
    async def request(self, what: str) -> AsyncIterator[None]:
        self.asked.append(what)
        dies = len(self.asked) == self.left
        if dies and not self.taken:
            raise Killed
        yield
        if dies:
            raise Killed


class MortalTown(World):
    """A world over a homeserver that outlives it. `ours`: the kinds of jobs whose handlers speak to that; `writes`:
    their writes so far, at the `dies_at`-th of which the process dies."""

    ours: ClassVar[tuple[JobKind, ...]]
    dies_at: int | None = None

    def __init__(self, store: Mortal, homeserver: MortalHomeserver) -> None:
        self.homeserver = homeserver
        storage = {"directory": str(store.directory), "min_free_bytes": 0}
        super().__init__(store, settings_for(store.directory, storage=storage))

    def _begin(self) -> None:
        self.writes = 0
        super()._begin()

    def _counted(self, handler: Handler) -> Handler:
        """Count the writes of a handler, and let the process die at one of them."""

        async def handle(job: Job) -> None:
            before = (self.dies_at or BIG) - self.writes
            self.store.left = before
            await handler(job)
            self.writes += before - self.store.left
            self.store.left = None

        return handle

    async def work(self) -> None:
        """Do all that is due, as the lanes do it."""
        await self.settle()
        while await self.work_one((*DONE_HERE, *self.ours)):
            await self.settle()

    async def policy(self, **changes: Any) -> None:
        """Change policies of Alice's room."""
        async with self.store.write() as db:
            room = await rooms.room(db, ROOM)
            assert room is not None
            await rooms.save_room(db, replace(room, **changes))
