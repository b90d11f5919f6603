"""A call that is recorded into a real store, without rooms, media or homeserver."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from bot.calls.stems.call import CallStems
from bot.calls.stems.stems import Stems
from bot.recorder import Recorder
from bot.recording.model import Deleted, Forgotten, RecordingEvent, StemOpened
from storage import archive, rooms
from storage.place import Place
from storage.records import (
    CallProtocol,
    Chunk,
    EventId,
    LeftBy,
    Position,
    Recording,
    RecordingId,
    RecordingKind,
    RecordingState,
    Samples,
    Stem,
)
from storage.store import Store
from tests.blobs import folder_of
from tests.calls.stems import packet
from tests.clock import Clock
from tests.factories import a_recording, a_room
from tests.recording.world import limits

POSITION = Position(5)


class Studio:
    """The stems of one call. What was given to each is remembered, so that it can be looked for."""

    def __init__(self, store: Store, recording_id: RecordingId) -> None:
        clock = Clock()
        self.store = store
        self.recording_id = recording_id
        self.recorder = Recorder(store, limits(), clock)
        self.stems = Stems(store, self.recorder.apply, clock)
        self.call: CallStems = self.stems.of(recording_id)

    async def apply(self, event: RecordingEvent) -> None:
        async with self.store.write() as db:
            await self.recorder.apply(db, self.recording_id, event)

    async def open(self, stem: Stem) -> None:
        await self.apply(StemOpened(stem))
        await self.call.open(stem)

    def speak(self, number: int, begin: int, end: int) -> int:
        """Give packets to a stem; return the place behind the last one."""
        for at in range(begin, end, 960):
            self.call.put(number, packet(at, at // 960))
        return begin + -(-(end - begin) // 960) * 960

    async def advance(self, now: int) -> None:
        await self.call.write(Samples(now), POSITION)
        await self.call.keep()

    async def close(self, number: int, at: int, by: LeftBy = LeftBy.LEFT) -> None:
        await self.call.close(number, Samples(at), by, POSITION)

    async def finish(self, at: int) -> None:
        await self.call.finish(Samples(at), LeftBy.ENDED, POSITION)

    async def crash(self) -> None:
        """Die, and begin anew on the same store."""
        self.call.abandon()
        self.stems.stop()
        again = Studio(self.store, self.recording_id)
        self.recorder, self.stems, self.call = again.recorder, again.stems, again.call

    async def recording(self) -> Recording:
        async with self.store.read() as db:
            recording = await archive.recording(db, self.recording_id)
        assert recording is not None
        return recording

    async def chunks(self, stem: int | None = None) -> list[Chunk]:
        """Return the slices that are kept, of one stem or of all, in the order of their sound."""
        async with self.store.read() as db:
            chunks = await archive.chunks(db, self.recording_id)
        return sorted(
            (chunk for chunk in chunks if stem in (None, chunk.stem)),
            key=lambda chunk: (chunk.stem or 0, chunk.at or 0),
        )

    def blob(self, chunk: Chunk) -> bytes:
        assert chunk.blob is not None
        assert folder_of(self.store).is_whole(chunk.blob)
        return folder_of(self.store).read(chunk.blob)

    async def delete(self) -> None:
        await self.apply(Deleted())

    async def forget(self, stem: Stem) -> None:
        await self.apply(Forgotten(stem.user_id))


@asynccontextmanager
async def studio_in(directory: Path, store_type: type[Store] = Store) -> AsyncIterator[Studio]:
    """Open a store with a call that is live."""
    store = await store_type.own(Place(directory))
    try:
        async with store.write() as db:
            await rooms.save_room(db, a_room())
            made = a_recording(kind=RecordingKind.CALL, state=RecordingState.LIVE, protocol=CallProtocol.MSC3401)
            recording = await archive.add_recording(db, replace(made, call_id="1", event_id=EventId("$call")))
        studio = Studio(store, recording.id)
        yield studio
        studio.call.abandon()
        studio.stems.stop()
    finally:
        await store.close()
