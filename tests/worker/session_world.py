"""Voice messages in Alice's room: each is a tone of its own, so that it can be found in what is made of it."""

import asyncio
import hashlib
import io
import subprocess
import wave
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bot.errors import TryLater
from bot.matrix.media import FetchedMedia
from storage import archive, rooms
from storage.records import SAMPLE_RATE, Episode, EventId, HeardEvent, MediaSource, Position, Recording
from tests.world import ALICE, ROOM, World, heard

BOB = "@bob:hs"
PAUSE = SAMPLE_RATE
GAP_S = 600


@dataclass(frozen=True)
class Tone:
    """A message: `hz` for `samples`, with an amplitude."""

    hz: int
    samples: int
    height: float = 0.2
    channels: int = 1

    def wav(self) -> bytes:
        tone = np.sin(np.arange(self.samples) * 2 * np.pi * self.hz / SAMPLE_RATE) * self.height
        out = io.BytesIO()
        with wave.open(out, "wb") as file:
            file.setnchannels(self.channels)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE)
            file.writeframes(np.repeat(tone * 32_767, self.channels).astype("<i2").tobytes())
        return out.getvalue()


class Said:
    """The media of messages, by the names of their events; those in `away` can't be fetched."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files
        self.away: set[str] = set()

    async def download(self, source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
        name = source.mxc.rpartition("/")[2]
        if name in self.away:
            raise TryLater("the homeserver has no such file")
        data = self.files[name]
        await asyncio.to_thread(part.write_bytes, data)
        return FetchedMedia(len(data), hashlib.sha256(data).hexdigest())


def message(world: World, name: str, sender: str = ALICE, announced_ms: int = 1000) -> HeardEvent:
    """Return a voice message that is sent now."""
    content = {
        "msgtype": "m.audio",
        "url": f"mxc://hs/{name}",
        "info": {"duration": announced_ms},
        "org.matrix.msc3245.voice": {},
    }
    sent = int(world.clock().timestamp() * 1000)
    return heard(f"${name}", "m.room.message", content, sender=sender, origin_server_ts=sent)


async def begin(world: World, files: Mapping[str, bytes]) -> Said:
    """Record the room's voice messages, which are these files."""
    async with world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        await rooms.save_room(db, replace(room, messages_since=Position(0)))
    said = Said(files)
    world.download = said.download
    return said


async def say(world: World, name: str, sender: str = ALICE, announced_ms: int = 1000) -> None:
    """Send a message, and do what follows from it at once."""
    await world.hear(message(world, name, sender, announced_ms))
    await world.work_on()
    world.clock.pass_by(5)


async def end(world: World) -> None:
    """Let nobody speak for the gap."""
    world.clock.pass_by(GAP_S + 1)
    await world.work_on()


async def session(world: World, first: str) -> Recording:
    async with world.store.read() as db:
        recording = await archive.recording_by_event(db, EventId(f"${first}"))
    assert recording is not None
    return recording


async def episode(world: World, first: str) -> tuple[Episode, Path]:
    """Return a session's episode, and its file."""
    recording = await session(world, first)
    async with world.store.read() as db:
        found = await archive.episode(db, recording.id)
    assert found is not None
    return found, world.store.directory / world.store.blobs.relative(found.blob)


def sound(world: World, file: Path) -> NDArray[np.float32]:
    """Decode an episode with plain ffmpeg."""
    form = ("-f", "f32le", "-ar", str(SAMPLE_RATE), "-ac", "1", "pipe:")
    command = [world.ffmpeg.exe, "-v", "error", "-i", str(file), *form]
    heard = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(heard, np.float32)


def pitch(part: NDArray[np.float32]) -> float:
    """Return the strongest frequency of a sound in Hz."""
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
    return float(spectrum.argmax() * SAMPLE_RATE / len(part))
