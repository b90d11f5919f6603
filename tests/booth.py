"""A client of a studio over a world: it broadcasts by the studio's own writer, as the page does."""

import asyncio
import hashlib
from dataclasses import dataclass, replace

from bot.demo.slicing import Slice, Slicer, speech
from bot.dialects import studio as events
from bot.recording.model import Change
from bot.studio.writing import Taken, Writing, new_studio
from storage import archive, studio_events, studios
from storage.records import STARTED, BlobKey, Chunk, Episode, EventId, Recording, Studio, StudioEvent, StudioSource
from tests.world import ALICE, ROOM, World

CLIENT = "client"


def a_take(serial: int, seconds: float, slice_s: float = 2.0, first: int = 0) -> list[Slice]:
    """Cut speech as a studio's page does: one stream, whose last slice has its end."""
    slicer = Slicer(serial, slice_s)
    packets = speech(1)[first : first + round(seconds * 50)]
    return [*slicer.feed(packets), slicer.end()]


@dataclass
class Booth:
    """A studio of Alice's in a world, and the page that broadcasts with it."""

    world: World
    studio: Studio
    sent: int = 0

    @classmethod
    async def open(cls, world: World, **texts: str | None) -> "Booth":
        made = new_studio(ROOM, ALICE, StudioSource.PAGE, world.clock())
        async with world.store.write() as db:
            return cls(world, await studios.add(db, replace(made, **texts)))  # type: ignore[arg-type]

    @property
    def writing(self) -> Writing:
        return Writing(self.world.store, self.world.settings, self.world.clock)

    async def shown_as(self, event_id: EventId, number: int | None = None) -> None:
        """Let the room have an event for the beginning of the broadcast, or for a slice."""
        name = STARTED if number is None else str(number)
        state = STARTED if number is None else None
        sent = StudioEvent(0, self.studio.key, name, ROOM, self.world.clock(), state, event_id=event_id)
        async with self.world.store.write() as db:
            assert await studio_events.add(db, sent)
            if number is None:
                await studios.begun_as(db, self.studio.key, event_id)

    async def start(self) -> Taken:
        taken = await self.writing.start(self.studio.id, CLIENT)
        await self.world.settle()
        return taken

    async def send(self, data: bytes, number: int | None = None, duration_ms: int | None = None) -> Taken:
        """Upload a slice; it has the next number, or the one that is given."""
        self.sent = number = number if number is not None else self.sent + 1
        file = self.world.store.blobs.part(f"upload-{number}")
        await asyncio.to_thread(file.write_bytes, data)
        key = BlobKey(hashlib.sha256(data).hexdigest())
        try:
            return await self.writing.add(self.studio.id, CLIENT, number, file, key, len(data), duration_ms)
        finally:
            await asyncio.to_thread(file.unlink, missing_ok=True)
            await self.world.settle()

    async def play(self, slices: list[Slice]) -> None:
        """Upload slices in their order, each fetched before the next one comes."""
        for piece in slices:
            await self.send(piece.data, duration_ms=piece.duration_ms)
            await self.world.work()

    async def change(self, change: Change, last: int | None = None) -> Taken:
        taken = await self.writing.change(self.studio.id, CLIENT, change, last)
        await self.world.settle()
        return taken

    async def stop(self, last: int | None = None) -> None:
        await self.change(Change.STOPPED, last if last is not None else self.sent)
        await self.world.work()

    async def now(self) -> Studio:
        async with self.world.store.read() as db:
            found = await studios.get(db, self.studio.id)
        assert found is not None
        return found

    async def recording(self) -> Recording:
        async with self.world.store.read() as db:
            found = await archive.recording_by_event(db, events.started_id(self.studio))
        assert found is not None
        return found

    async def chunks(self) -> tuple[Chunk, ...]:
        recording = await self.recording()
        async with self.world.store.read() as db:
            return await archive.chunks(db, recording.id)

    async def episode(self) -> Episode:
        recording = await self.recording()
        async with self.world.store.read() as db:
            found = await archive.episode(db, recording.id)
        assert found is not None
        return found
