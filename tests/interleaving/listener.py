"""Somebody who listens live, at any moment: what was once on the air stays as it was, and is what may be heard.

But for the last frames of what had ended: when more sound comes behind them, they are others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bot.audio.hls import Listing
from bot.audio.track import AHEAD, settled_frames
from bot.web.access import Access, Claim, Family, Verdict
from bot.web.files import Files
from bot.web.listening import Listening
from bot.web.on_air import OnAir, Tuner
from storage import archive, rooms
from storage.records import Chunk, ChunkState, Recording, RecordingId
from tests.interleaving import sound
from tests.interleaving.world import World
from tests.world import ALICE, ROOM

Stream = tuple[RecordingId, int]  # of one generation


@dataclass(frozen=True, slots=True)
class Heard:
    """A recording on the air: all frames of the segments that are listed."""

    frames: bytes
    ended: bool


class Listener:
    def __init__(self, world: World) -> None:
        self._world = world
        self._most: dict[Stream, bytes] = {}
        self._newest: dict[RecordingId, int] = {}

    async def listen(self) -> dict[RecordingId, Heard]:
        """Everything that is on the air now. Raises AssertionError when something of it was otherwise before, or may
        not be heard."""
        store = self._world.bot.store
        files = Files(store.blobs)
        tuner = Tuner(store, files, Listening(store, self._world.clock))
        found = {}
        try:
            async with store.read() as db:
                recordings = [(one, await archive.chunks(db, one.id)) for one in await archive.recordings(db)]
            access = await self._access()
            for recording, chunks in recordings:
                on_air = await tuner.find(access, recording.code)
                if on_air is not None:
                    air = on_air.at(self._world.clock())
                    frames = await self._frames(tuner, on_air, air)
                    self._hear(on_air, frames, chunks)
                    sure = await self._sure(recording.id) if air.ended else air.frames
                    self._remember(on_air, frames[: sure * sound.RAW_FRAME])
                    found[recording.id] = Heard(frames, air.ended)
        finally:
            files.close()
        return found

    async def _access(self) -> Access:
        """Return the access of a member who was there from the beginning."""
        async with self._world.bot.store.read() as db:
            room = await rooms.room(db, ROOM)
            member = await rooms.state(db, ROOM, "m.room.member", ALICE)
        return Access(Verdict.OPEN, Claim(Family.PERSONAL, room, member=member))

    async def _frames(self, tuner: Tuner, on_air: OnAir, air: Listing) -> bytes:
        segments = [await tuner.frames(on_air, span) for span in air.spans()]
        assert None not in segments, "a segment that is listed can't be had"
        return b"".join(segment for segment in segments if segment)

    async def _sure(self, recording_id: RecordingId) -> int:
        """How many frames of an episode no later sound can change."""
        async with self._world.bot.store.read() as db:
            episode = await archive.episode(db, recording_id)
        assert episode is not None
        return settled_frames(episode.samples)

    def _remember(self, on_air: OnAir, frames: bytes) -> None:
        recording, generation = on_air.recording, on_air.track.generation
        assert generation >= self._newest.get(recording.id, 0)
        self._newest[recording.id] = generation
        before = self._most.get((recording.id, generation), b"")
        common = min(len(before), len(frames))
        assert frames[:common] == before[:common], "what was on the air is otherwise now"
        self._most[recording.id, generation] = max(before, frames, key=len)

    def _hear(self, on_air: OnAir, frames: bytes, chunks: Sequence[Chunk]) -> None:
        heard = sound.decoded(frames)
        surely = max(0, len(frames) // sound.RAW_FRAME - AHEAD) * sound.RAW_FRAME
        assert frames[:surely] == sound.encoded(heard)[:surely], "not what one encoder makes of it"
        allowed = self._spoken(on_air.recording, chunks)
        numbers = (heard[heard != 0] * sound.SCALE).astype(int)
        assert np.isin(numbers, allowed).all(), "somebody is heard who may not be"

    def _spoken(self, recording: Recording, chunks: Sequence[Chunk]) -> NDArray[np.int64]:
        """Return the numbers of the samples that are stored."""
        stored = {chunk.event_id for chunk in chunks if chunk.state is ChunkState.STORED}
        (broadcast,) = [one for one in self._world.broadcasts if one.started == recording.event_id]
        spoken = [piece for piece in broadcast.pieces if stored & set(piece.events)]
        ranges = [np.arange(piece.first, piece.first + piece.samples) for piece in spoken]
        return np.concatenate([*ranges, np.arange(0)])
