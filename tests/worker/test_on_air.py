"""A broadcast on the air, from its chunks to what a listener's player gets, with the real encoder."""

import asyncio
import hashlib
import io
import re
import wave
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from aiohttp import ClientSession

from bot import orders
from bot.audio.grid import SEGMENT
from bot.audio.grid import SEGMENT_FRAMES as FRAMES
from bot.audio.track import settled_frames
from bot.matrix.media import FetchedMedia
from bot.web.server import WebServer
from storage import archive, rooms, tracks
from storage.records import EventId, MediaSource, Position, RecordingState, RoomId, Track, Visibility
from tests.blobs import folder_of
from tests.worker.session_world import message
from tests.world import ROOM, World, chunk, heard, info

TAG_BYTES = 73
CHUNK_S = 16


async def spoken_media(source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
    """So many seconds of sound that no other address has."""
    noise = np.random.default_rng(int(source.mxc[-1])).standard_normal(CHUNK_S * 48_000)
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes((np.convolve(noise, np.hanning(9), "same") * 1500).astype("<i2").tobytes())
    await asyncio.to_thread(part.write_bytes, out.getvalue())
    return FetchedMedia(len(out.getvalue()), hashlib.sha256(out.getvalue()).hexdigest())


class Air:
    """A listener of the public room."""

    def __init__(self, world: World, client: ClientSession, root: str) -> None:
        self._stage = world
        self._client = client
        self._root = root

    async def listed(self) -> list[str]:
        async with self._stage.store.read() as db:
            (recording,) = await archive.recordings(db, ROOM)
        code = recording.code
        async with self._client.get(f"{self._root}{code}.m3u8") as answer:
            return re.findall(r"^[^#\n]+$", await answer.text(), re.MULTILINE) if answer.status == 200 else []

    async def segment(self, name: str) -> bytes:
        async with self._client.get(f"{self._root}{name}") as answer:
            assert answer.status == 200
            return (await answer.read())[TAG_BYTES:]


@pytest.fixture
async def air(world: World) -> AsyncIterator[Air]:
    world.download = spoken_media
    async with world.store.write() as db:
        room = await rooms.room(db, RoomId(ROOM))
        assert room is not None
        await rooms.save_room(db, replace(room, visibility=Visibility.PUBLIC))
    settings = world.settings.model_copy(update={"web": world.settings.web.model_copy(update={"port": 0})})
    server = WebServer(world.store, settings, lambda: True, clock=world.clock)
    await server.start()
    async with ClientSession(f"http://127.0.0.1:{server.port}") as client:
        yield Air(world, client, f"/r/{room.key}/")
    await server.stop()


async def track(world: World) -> Track:
    async with world.store.read() as db:
        found = await tracks.track(db, (await world.recording()).id)
    assert found is not None
    return found


async def test_what_was_heard_live_is_the_episode(world: World, air: Air) -> None:
    """Segments that were heard as they were listed, chunk by chunk, are the frames of the episode, byte for byte."""
    await world.begin()
    live: list[bytes] = []
    for number in (1, 2, 3):
        await world.hear(chunk(f"$c{number}", number))
        await world.work()
        for _ in range(CHUNK_S):
            live += [await air.segment(name) for name in (await air.listed())[len(live) :]]
            world.clock.pass_by(1)
    assert len(live) == 3 * CHUNK_S // 6 - 1  # the last one waits for frames that later sound could change
    await world.hear(info("$stop", "stopped", last_chunk_sequence=3))
    world.clock.pass_by(61)
    await world.work()
    names = await air.listed()
    live += [await air.segment(name) for name in names[len(live) :]]
    async with world.store.read() as db:
        episode = await archive.episode(db, (await world.recording()).id)
    assert episode is not None
    file = folder_of(world.store).read(episode.blob)
    sound = b"".join(live)
    assert file.endswith(sound)
    assert len(sound) // 192 >= 3 * CHUNK_S * 48_000 / 1152
    assert sound == b"".join([await air.segment(name) for name in names])


async def test_the_schedule_moves_with_a_late_chunk_and_stays(world: World, air: Air) -> None:
    """The clock's row changes when the playlist ran dry, and not when chunks are in time."""
    await world.begin(chunk("$c1", 1))
    await world.work()
    began = (await track(world)).live_from
    assert began == world.clock()
    world.clock.pass_by(30)
    await world.hear(chunk("$c2", 2))
    await world.work()
    moved = (await track(world)).live_from
    assert moved == world.clock() - CHUNK_S // 6 * SEGMENT
    world.clock.pass_by(12)
    await world.hear(chunk("$c3", 3))
    await world.work()
    assert (await track(world)).live_from == moved


async def test_what_comes_after_all_was_redacted_has_other_addresses(world: World, air: Air) -> None:
    """A recording whose only chunk was taken back can be heard again when another one comes; no player that had the
    first one takes the second for a part of it."""
    await world.begin(chunk("$c1", 1), info("$stop", "stopped", last_chunk_sequence=1))
    await world.work()
    world.clock.pass_by(61)
    await world.work()
    before = await air.listed()
    await world.hear(heard("$r", "m.room.redaction", {}, redacts=EventId("$c1")))
    await world.work()
    assert await air.listed() == []
    await world.hear(chunk("$c2", 2))
    await world.work()
    world.clock.pass_by(61)
    await world.work()
    after = await air.listed()
    assert len(after) > len(before) > 0
    assert not set(after) & set(before)


async def test_all_is_redacted_while_a_gap_is_waited_for(world: World, air: Air) -> None:
    """No frames of it stay until the broadcast ends, and nothing is looked at again and again."""
    await world.work()
    before = world.files()
    await world.begin(chunk("$c1", 1), chunk("$c3", 3))
    await world.work()
    for number in (1, 3):
        await world.hear(heard(f"$r{number}", "m.room.redaction", {}, redacts=EventId(f"$c{number}")))
    world.clock.pass_by(11)
    tries = 0
    while await world.work_one([orders.Encode.kind, orders.Forget.kind]):
        tries += 1
        assert tries < 20
    async with world.store.read() as db:
        recording = await world.recording()
        assert recording.state is RecordingState.LIVE
        assert await tracks.extents(db, recording.id) == ()
    assert world.files() == before


async def test_a_redacted_chunk_leaves_the_air_at_once(world: World, air: Air) -> None:
    """The frames are made without it before the next chunk comes, under other addresses; the rest is heard on."""
    await world.begin(chunk("$c1", 1), chunk("$c2", 2), chunk("$c3", 3))
    await world.work()
    world.clock.pass_by(60)
    before = await air.listed()
    sound = [await air.segment(name) for name in before]
    await world.hear(heard("$r", "m.room.redaction", {}, redacts=EventId("$c2")))
    assert await air.listed() == []
    await world.work()
    assert (await track(world)).generation == 1
    after = await air.listed()
    assert len(after) == len(before)
    again = [await air.segment(name) for name in after]
    second = CHUNK_S * 48_000 // 1152 // FRAMES + 1  # the first segment that is all in the second chunk
    assert again[0] == sound[0]
    assert again[second] != sound[second]
    assert again[-1] == sound[-1]


async def test_a_message_is_on_the_air_to_its_end(world: World, air: Air) -> None:
    """All of a message is listed while it could be said, whenever the next one comes, if ever; what was listed stays,
    also when the session is over."""
    async with world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        await rooms.save_room(db, replace(room, messages_since=Position(0)))
    live: list[bytes] = []
    names: list[str] = []
    for name in ("m1", "m2"):
        await world.hear(message(world, name, announced_ms=CHUNK_S * 1000))
        await world.work()
        world.clock.pass_by(CHUNK_S)
        assert (await air.listed())[: len(names)] == names
        names = await air.listed()
        live += [await air.segment(name) for name in names[len(live) :]]
        async with world.store.read() as db:
            (recording,) = await archive.recordings(db, ROOM)
            assert sum(map(len, live)) == 192 * await tracks.reach(db, recording.id)
        world.clock.pass_by(100)
    assert [len(part) // 192 for part in live[:3]] == [FRAMES, FRAMES, settled_frames(CHUNK_S * 48_000) - 2 * FRAMES]
    world.clock.pass_by(600)
    await world.work_on()
    assert (await air.listed())[: len(names)] == names
    async with world.store.read() as db:
        episode = await archive.episode(db, recording.id)
    assert episode is not None
    rest = [await air.segment(name) for name in (await air.listed())[len(names) :]]
    assert folder_of(world.store).read(episode.blob).endswith(b"".join(live + rest))
