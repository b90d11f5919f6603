"""The bot without a homeserver, behind its real web server and in real time: what a page sends is fetched, encoded and
published at once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from bot.dialects import studio as events
from bot.web.server import WebServer
from storage import archive, jobs, rooms, studios
from storage.records import (
    Chunk,
    Episode,
    Recording,
    RecordingState,
    Room,
    Studio,
    Visibility,
)
from tests.clock import Clock
from tests.web.studio import studio_in
from tests.web.world import NOW
from tests.world import ALICE, DONE_HERE, ROOM, World, state, world_of

T = TypeVar("T")

WAIT_S = 60.0


class RealClock(Clock):
    """The time."""

    def __call__(self) -> datetime:
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Desk:
    """A studio of Alice's in the room, and the path of its page."""

    studio: Studio
    path: str


class Station:
    """A room that Alice broadcasts into, and the server over it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._server = self._new_server()

    def _new_server(self) -> WebServer:
        return WebServer(self.world.store, self.world.settings, lambda: True, self.world.clock)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        """End the server: connections are refused from now on."""
        port = self._server.port
        await self._server.stop()
        web = self.world.settings.web.model_copy(update={"port": port})
        self.world.settings = self.world.settings.model_copy(update={"web": web})

    async def start_again(self) -> None:
        """Start a new server at the same address."""
        self._server = self._new_server()
        await self._server.start()

    async def open_studio(self) -> Desk:
        """Make a studio for Alice, as the command does."""
        studio, token = await studio_in(self.world.store, ROOM, ALICE, self.world.clock())
        return Desk(studio, f"/studio/{token}/")

    async def room(self) -> Room:
        async with self.world.store.read() as db:
            found = await rooms.room(db, ROOM)
        assert found is not None
        return found

    async def change_room(self, **changes: object) -> None:
        """Change the room as a command would."""
        changed = replace(await self.room(), **changes)  # type: ignore[arg-type]
        async with self.world.store.write() as db:
            await rooms.save_room(db, changed)
            await rooms.touch(db, ROOM, NOW)

    async def studio(self, desk: Desk) -> Studio:
        async with self.world.store.read() as db:
            found = await studios.get(db, desk.studio.id)
        assert found is not None
        return found

    async def slices(self, chunks: Sequence[Chunk]) -> list[bytes]:
        """Return the bytes of a broadcast's slices, in the order of their numbers."""
        blobs = [chunk.blob for chunk in sorted(chunks, key=lambda chunk: chunk.sequence or 0)]
        return [await self.world.store.blobs.read(blob) for blob in blobs if blob is not None]

    async def recording(self, desk: Desk) -> Recording | None:
        async with self.world.store.read() as db:
            return await archive.recording_by_event(db, events.started_id(desk.studio))

    async def finished(self, desk: Desk) -> tuple[Recording, tuple[Chunk, ...], Episode]:
        """Wait until a studio's broadcast has its episode."""

        async def look() -> tuple[Recording, tuple[Chunk, ...], Episode] | None:
            recording = await self.recording(desk)
            if recording is None or recording.state in (RecordingState.LIVE, RecordingState.FINISHING):
                return None
            async with self.world.store.read() as db:
                episode = await archive.episode(db, recording.id)
                chunks = await archive.chunks(db, recording.id)
            return (recording, chunks, episode) if episode is not None else None

        return await self.until(look)

    async def until(self, look: Callable[[], Awaitable[T | None]]) -> T:
        """Look again after each commit until there is something, and return that."""
        with self.world.store.changes.subscribe() as changed:
            async with asyncio.timeout(WAIT_S):
                while True:
                    changed.clear()
                    if (found := await look()) is not None:
                        return found
                    await changed.wait()

    async def work(self) -> None:
        """Do what is due as soon as it is, until this is cancelled."""
        with self.world.store.changes.subscribe() as changed:
            while True:
                changed.clear()
                await self.world.work_on()
                async with self.world.store.read() as db:
                    due = await jobs.next_due(db, DONE_HERE)
                wait_s = None if due is None else max(0.0, (due - self.world.clock()).total_seconds())
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await changed.wait()


@asynccontextmanager
async def station_of(directory: Path) -> AsyncIterator[Station]:
    """Run the bot over a public room."""
    async with world_of(directory, RealClock(), web={"port": 0}) as world:
        await world.join()
        await world.hear(before=(state("m.room.name", {"name": "Kitchen Radio"}),))
        station = Station(world)
        await station.change_room(visibility=Visibility.PUBLIC)
        await station.start()
        working = asyncio.create_task(station.work())
        try:
            yield station
        finally:
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working  # a failure of the workers fails the test
            await station.stop()
