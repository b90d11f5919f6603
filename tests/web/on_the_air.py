"""A live broadcast whose frames are random bytes: no encoder is needed."""

import random
from dataclasses import replace
from hashlib import sha256
from itertools import count

from bot.audio.grid import FRAME
from bot.audio.grid import SEGMENT_FRAMES as FRAMES
from bot.audio.hls import first_due
from bot.audio.track import settled_frames
from storage import archive, tracks
from storage.records import (
    BlobKey,
    ChunkState,
    Container,
    Cut,
    Extent,
    Recording,
    RecordingState,
    Samples,
    Track,
    Visibility,
)
from tests.web.world import NOW, World

FRAME_BYTES = 192  # at 64 kbit/s
SEGMENT_BYTES = FRAMES * FRAME_BYTES
HEAD = b"ID3 and Info"


class Broadcast:
    """A broadcast and its sound so far, as MP3 frames."""

    def __init__(self, world: World, recording: Recording) -> None:
        self.world = world
        self.recording = recording
        self.sound = b""
        self._track = Track(recording.id, 1, 64, -16.0, None, 0)
        self._chunks = 0

    @property
    def frames(self) -> int:
        return len(self.sound) // FRAME_BYTES

    async def speak(self, frames: int, data: bytes | None = None) -> None:
        """Store a chunk and its frames."""
        data = random.Random(self._chunks).randbytes(frames * FRAME_BYTES) if data is None else data
        self._track = replace(
            self._track, live_from=first_due(self._track.live_from, self.frames, self.world.clock.now)
        )
        self._chunks += 1
        await self.world.chunk(self.recording, self._chunks, ChunkState.STORED)
        extent = Extent(self.frames, frames, await self._blob(data), 0)
        async with self.world.store.write() as db:
            (*_, chunk) = await archive.chunks(db, self.recording.id)
            cut = Cut(
                self._chunks - 1, f"{self._chunks:064}", Samples(frames * FRAME), chunk.blob, Container.WAV, False
            )
            await tracks.save(db, self._track)
            await tracks.add_cuts(db, self.recording.id, [cut])
            await tracks.add_extent(db, self.recording.id, extent)
        self.sound += data

    async def end(self, last: bytes = b"") -> bytes:
        """Make the episode, with its last frames, and return its file."""
        self.sound += last
        file = HEAD + self.sound
        before = self.frames - len(last) // FRAME_BYTES
        samples = next(samples for samples in count(before * FRAME) if settled_frames(samples) == before)
        episode = await self.world.episode(self.recording, file, samples=samples)
        async with self.world.store.write() as db:
            place = Extent(0, before, episode.blob, len(HEAD))
            gone = await tracks.replace_extents(db, self.recording.id, [place])
        self.recording = replace(self.recording, state=RecordingState.COMPLETE)
        await self.world.save(self.recording)
        for blob in gone:
            await self.world.store.blobs.discard(blob)
        return file

    async def redact(self, number: int) -> None:
        async with self.world.store.write() as db:
            chunk = (await archive.chunks(db, self.recording.id))[number - 1]
            await archive.save_chunks(db, [replace(chunk, state=ChunkState.REDACTED, blob=None, facts=None)])

    async def change(self) -> None:
        """Begin a new generation of the track, as when frames are made again."""
        self._track = replace(self._track, generation=self._track.generation + 1)
        async with self.world.store.write() as db:
            cuts = [replace(cut, blob=None) for cut in await tracks.cuts(db, self.recording.id)]
            await tracks.replace_cuts(db, self.recording.id, cuts, {})
            await tracks.save(db, self._track)

    async def _blob(self, data: bytes) -> BlobKey:
        blob = BlobKey(sha256(data).hexdigest())
        part = self.world.store.blobs.part(blob)
        part.write_bytes(data)
        async with self.world.store.blobs.arriving((part, blob)) as new, self.world.store.write() as db:
            await new.keep(db)
        return blob


async def broadcast(world: World, visibility: Visibility = Visibility.PUBLIC) -> tuple[Broadcast, str]:
    """Make a live broadcast in a room of its own; return it with the room's public address."""
    room = await world.room(visibility=visibility)
    recording = await world.recording(room, state=RecordingState.LIVE, started_at=NOW)
    return Broadcast(world, recording), f"/r/{room.key}/"
