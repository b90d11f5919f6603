"""A call in Alice's room whose stems are sounds of the test, kept window by window as the call runs."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bot import orders
from bot.recording.call import machine
from bot.recording.call.layout import WINDOW, lay_out
from bot.recording.call.speakers import speakers
from bot.recording.model import Ended, RecordingEvent, SlicesKept, StemClosed, StemOpened
from bot.recording.speakers import Speaker
from storage import archive, jobs, tracks
from storage.records import (
    CallProtocol,
    Cut,
    EndedBy,
    Episode,
    EventId,
    LeftBy,
    Position,
    Recording,
    RecordingId,
    Samples,
    Stem,
    UserId,
)
from tests.audio.stem_files import ENCODER_DELAY, Slice, packets_of, slices_of
from tests.blobs import folder_of
from tests.world import ALICE, ROOM, World

BEN = UserId("@ben:hs")
CARL = UserId("@carl:hs")


@cache
def _encoded(exe: str, sound: bytes) -> list[bytes]:
    """Encode a sound once for all tests."""
    return packets_of(exe, np.frombuffer(sound, "<f4"))


@dataclass
class Call:
    """A recorded call."""

    world: World
    id: RecordingId
    slices: list[Slice] = field(default_factory=list)  # that are not kept yet
    every: list[Slice] = field(default_factory=list)
    who: dict[int, UserId] = field(default_factory=dict)
    stems: int = 0

    async def speak(self, sound: NDArray[np.float32], at: int, who: UserId = ALICE, device: str = "DEV") -> int:
        """Open a stem that brings this sound from `at` on; its slices are kept later. Return its number."""
        self.stems += 1
        joined = Samples(max(0, at - ENCODER_DELAY))
        name = who[1:].partition(":")[0].capitalize()
        await self.tell(StemOpened(Stem(self.stems, who, device, name, joined, Position(1), serial=self.stems)))
        packets = await asyncio.to_thread(_encoded, self.world.ffmpeg.exe, sound.astype("<f4").tobytes())
        made = slices_of(packets, self.stems, at)
        self.slices += made
        self.every += made
        self.who[self.stems] = who
        return self.stems

    async def leave(self, number: int) -> None:
        """Close a stem; its slices may be kept later."""
        await self.tell(StemClosed(number, Samples(0), LeftBy.LEFT, Samples(0), Samples(0), None, None))

    async def tell(self, event: RecordingEvent) -> None:
        async with self.world.store.write() as db:
            await self.world.recorder.apply(db, self.id, event)

    async def keep(self, slices: Sequence[Slice]) -> None:
        """Keep slices, and do what follows."""
        blobs = folder_of(self.world.store)
        for each in slices:
            part = blobs.part(each.key)
            await asyncio.to_thread(part.write_bytes, each.data)
            await asyncio.to_thread(blobs.add, part, each.key)
        async with self.world.store.write() as db:
            chunks = tuple(each.chunk(self.id, self.who[each.stem]) for each in slices)
            await self.world.recorder.apply(db, self.id, SlicesKept(chunks))
        await self.encode()

    async def encode(self) -> None:
        async with self.world.store.write() as db:
            await jobs.add(db, orders.Encode(self.id).job(), self.world.clock())
        await self.world.work_on()

    def window(self, number: int) -> list[Slice]:
        """Take the slices of a window that are not kept yet."""
        taken = [each for each in self.slices if each.at // WINDOW == number]
        self.slices = [each for each in self.slices if each.at // WINDOW != number]
        return taken

    async def run(self, windows: int) -> None:
        """Let the call run for so many windows: the slices of each are kept together at its end."""
        for number in range(windows):
            await self.keep(self.window(number))

    async def end(self) -> None:
        """End the call: what is left of its stems is kept, and they are closed."""
        await self.keep(self.slices)
        self.slices = []
        await self.tell(Ended(EndedBy.STOPPED))
        for number in self.who:
            await self.leave(number)
        await self.world.work_on()

    async def recording(self) -> Recording:
        async with self.world.store.read() as db:
            recording = await archive.recording(db, self.id)
        assert recording is not None
        return recording

    async def episode(self) -> tuple[Episode, Path]:
        async with self.world.store.read() as db:
            made = await archive.episode(db, self.id)
        assert made is not None
        return made, self.world.store.directory / self.world.store.blobs.relative(made.blob)

    async def speakers(self) -> tuple[Speaker, ...]:
        recording = await self.recording()
        async with self.world.store.read() as db:
            chunks = await archive.chunks(db, self.id)
        return speakers(recording, chunks, lay_out(recording, chunks))

    async def cuts(self) -> tuple[Cut, ...]:
        async with self.world.store.read() as db:
            return await tracks.cuts(db, self.id)


async def begin(world: World) -> Call:
    """Begin the recording of a call in the room."""
    await world.join()
    recording = machine.begin(
        protocol=CallProtocol.MSC3401,
        call_id="call",
        room_id=ROOM,
        event_id=EventId("$call"),
        position=Position(1),
        broadcaster=ALICE,
        broadcaster_name="Alice",
        now=world.clock(),
    )
    async with world.store.write() as db:
        return Call(world, (await archive.add_recording(db, recording)).id)
