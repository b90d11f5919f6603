"""A room in which Alice may broadcast from a studio, with the whole bot but session and web behind it; and sound whose
place is known to the sample."""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe
from numpy.typing import NDArray

from bot.dialects.studio import started_id
from bot.feeds.addresses import look_up_hash
from bot.studio.writing import new_studio
from storage import studios
from storage.records import (
    SAMPLE_RATE,
    EventId,
    HeardEvent,
    Recording,
    RoomId,
    Studio,
    StudioId,
    StudioSource,
)
from tests.lab import decode
from tests.line.replay import ALICE, BOT, Replay, replaying

ROOM = RoomId("!studio:lab.local")
TOKEN = "a" * 52
Sound = NDArray[np.float32]


@asynccontextmanager
async def broadcast_command(config: Path, *arguments: str, **options: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `aircheck broadcast` under these settings, and kill it at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "broadcast", "-c", str(config), *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        **options,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


class Air:
    """The room. `bot` is the bot behind it."""

    def __init__(self, bot: Replay) -> None:
        self.bot = bot
        self._events = 0

    def event(self, kind: str, content: dict[str, Any], sender: str = ALICE, **more: Any) -> HeardEvent:
        self._events += 1
        event_id = EventId(f"$of-the-room{self._events}")
        at = round(self.bot.clock().timestamp() * 1000)
        event = {"type": kind, "sender": sender, "event_id": event_id, "origin_server_ts": at, "content": content}
        return HeardEvent(ROOM, event_id, event | more)

    async def open(self) -> None:
        """Let the bot join and say that it records."""
        state = (
            self.event("m.room.create", {"room_version": "11"}, state_key=""),
            self.event("m.room.member", {"membership": "join", "displayname": "Alice"}, state_key=ALICE),
            self.event("m.room.power_levels", {"users": {ALICE: 100}}, state_key=""),
            self.event("m.room.member", {"membership": "join"}, BOT, state_key=BOT),
        )
        await self.bot.join(ROOM, state)

    async def studio(self, source: StudioSource, token: str | None = None, **changes: Any) -> Studio:
        """Give Alice a studio."""
        made = new_studio(ROOM, ALICE, source, self.bot.clock())
        digest = look_up_hash(token) if token is not None else None
        async with self.bot.store.write() as db:
            return await studios.add(db, replace(made, token_sha256=digest, **changes))

    async def now(self, studio: Studio) -> Studio:
        async with self.bot.store.read() as db:
            found = await studios.get(db, StudioId(studio.id))
        assert found is not None
        return found

    async def leave(self) -> None:
        """Let Alice leave the room."""
        await self.bot.tell(ROOM, [self.event("m.room.member", {"membership": "leave"}, state_key=ALICE)])

    async def settled(self) -> None:
        """Do everything that follows from what is in the journal now."""
        while await self.bot.recorder.catch_up():
            pass
        await self.bot.settled()

    async def recording(self, studio: Studio) -> Recording:
        return await self.bot.recording(started_id(studio))

    async def heard(self, studio: Studio) -> Sound:
        """Return the sound of the episode."""
        path = await self.bot.audio(started_id(studio))
        return decode(await asyncio.to_thread(path.read_bytes))


@asynccontextmanager
async def on_the_air(directory: Path, **changed: Any) -> AsyncIterator[Air]:
    async with replaying(directory, changed=changed) as bot:
        air = Air(bot)
        await air.open()
        yield air


# ---- sound


def spoken(seconds: float, seed: int = 1) -> Sound:
    """Return noise whose loudness changes, so that no place in it is like another."""
    rng = np.random.default_rng(seed)
    count = round(seconds * SAMPLE_RATE)
    smooth = np.convolve(rng.standard_normal(count + 31), np.ones(32) / 32, "valid")[:count]
    swell = 0.3 + 0.2 * np.sin(np.arange(count) / SAMPLE_RATE * 2 * np.pi * 0.7)
    sound: Sound = (smooth / np.abs(smooth).max() * swell).astype(np.float32)
    return sound


async def as_file(sound: Sound, *options: str) -> bytes:
    """Return sound as a file of any kind, by plain ffmpeg. It is written to a disk, for its header is written last."""
    with tempfile.TemporaryDirectory() as folder:
        wav, file = Path(folder) / "sound.wav", Path(folder) / "sound"
        await asyncio.to_thread(wav.write_bytes, _wave(sound))
        command = [get_ffmpeg_exe(), "-v", "error", "-i", str(wav), *options, str(file)]
        await asyncio.to_thread(subprocess.run, command, check=True)
        return await asyncio.to_thread(file.read_bytes)


def _wave(sound: Sound) -> bytes:
    data = (sound * 32767).astype("<i2").tobytes()
    head = b"RIFF" + (36 + len(data)).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    form = (1).to_bytes(2, "little") + (1).to_bytes(2, "little") + SAMPLE_RATE.to_bytes(4, "little")
    form += (2 * SAMPLE_RATE).to_bytes(4, "little") + (2).to_bytes(2, "little") + (16).to_bytes(2, "little")
    return head + form + b"data" + len(data).to_bytes(4, "little") + data


def offset(found: Sound, truth: Sound, at: int, length: int = SAMPLE_RATE, reach: int = 2000) -> int:
    """Return by how many samples a second of `truth` that begins at `at` lies late in `found`."""
    piece = truth[at : at + length]
    begin = max(0, at - reach)
    near = found[begin : at + length + reach]
    size = 1 << (len(near) + len(piece) - 1).bit_length()
    product = np.fft.irfft(np.fft.rfft(near, size) * np.conj(np.fft.rfft(piece, size)), size)
    best = int(np.argmax(product[: len(near) - len(piece) + 1]))
    return best - (at - begin)


def assert_aligned(found: Sound, truth: Sound, within: int = 0) -> None:
    """Check that the same sound lies at the same place everywhere."""
    places = range(0, min(len(found), len(truth)) - SAMPLE_RATE, SAMPLE_RATE * 3)
    offsets = [offset(found, truth, at) for at in places]
    assert max(map(abs, offsets)) <= within, offsets


async def pieces(data: bytes, size: int = 8192) -> AsyncGenerator[bytes, None]:
    """Yield bytes as a source sends them."""
    for at in range(0, len(data), size):
        yield data[at : at + size]
