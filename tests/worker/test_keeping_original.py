"""The original sound: one file of the slices that a client sent, and none where they are not one stream."""

import asyncio
import base64
import hashlib
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bot import orders
from bot.matrix.media import FetchedMedia
from storage import archive, jobs, originals
from storage.records import BlobKey, EventId, MediaSource, Original
from tests.audio.sounds import captured
from tests.blobs import folder_of
from tests.worker import session_world
from tests.worker.quick import without_encoder, without_pictures
from tests.world import World, chunk, heard, info, world_of

SLICES = captured("plain")[:3]  # a pause follows, and with it another stream


async def slices(source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
    """Download a slice of a real broadcast: `c1` is the first."""
    number = int(source.mxc.rpartition("/c")[2])
    data = await asyncio.to_thread(SLICES[number - 1].path.read_bytes)
    await asyncio.to_thread(part.write_bytes, data)
    return FetchedMedia(len(data), hashlib.sha256(data).hexdigest())


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    without_pictures(monkeypatch)
    without_encoder(monkeypatch)
    async with world_of(tmp_path / "data") as world:
        await world.join()
        world.download = slices
        yield world


async def speak(world: World, *numbers: int) -> None:
    """Record a broadcast of these slices, and let it end."""
    await world.begin(*(chunk(f"$c{number}", number) for number in numbers))
    await world.hear(info("$stop", "stopped", last_chunk_sequence=len(SLICES)))
    await world.work()
    world.clock.pass_by(61)
    await world.work()


async def original(world: World) -> Original | None:
    async with world.store.read() as db:
        return (await originals.current(db, [(await world.recording()).id])).get((await world.recording()).id)


def decoded(world: World, data: bytes) -> NDArray[np.float32]:
    command = [world.ffmpeg.exe, "-v", "error", "-i", "pipe:", "-f", "f32le", "-ac", "1", "pipe:"]
    return np.frombuffer(subprocess.run(command, input=data, capture_output=True, check=True).stdout, np.float32)


async def test_the_slices_become_one_file_with_the_same_sound(world: World) -> None:
    """The file decodes to the samples of the stream that the client cut, and has its own digests."""
    every = range(1, len(SLICES) + 1)
    await speak(world, *every)
    kept = await original(world)
    assert kept is not None
    data = folder_of(world.store).read(kept.blob)
    assert (kept.bytes, kept.blob) == (len(data), hashlib.sha256(data).hexdigest())
    assert kept.sha384 == base64.b64encode(hashlib.sha384(data).digest()).decode()
    async with world.store.read() as db:
        episode = await archive.episode(db, (await world.recording()).id)
    # What Element Web cut is what its recorder wrote, with copied headers in front of every later slice.
    first, *later = (one.path.read_bytes() for one in SLICES)
    whole = first + b"".join(one[one.index(b"OggS", one.index(b"OggS", 4) + 4) :] for one in later)
    assert episode is not None
    assert len(decoded(world, data)) == episode.samples
    assert np.array_equal(decoded(world, data), decoded(world, whole))
    assert data.count(b"OpusHead") == 1


async def test_there_is_none_of_half_a_stream_until_it_heals(world: World) -> None:
    """With a slice missing in the middle nothing is joined; once it came, the file is there."""
    every = range(1, len(SLICES) + 1)
    await speak(world, *(number for number in every if number != 2))
    assert await original(world) is None
    await world.hear(chunk("$c2", 2))
    await world.work()
    kept = await original(world)
    assert kept is not None
    assert kept.blob in world.files()


async def test_a_redaction_takes_the_original_away(world: World) -> None:
    """The file goes from the disk at once, and none is made of what is left."""
    await speak(world, *range(1, len(SLICES) + 1))
    before = await original(world)
    assert before is not None
    await world.hear(heard("$r", "m.room.redaction", {}, redacts=EventId("$c2")))
    await world.work()
    assert await original(world) is None
    assert before.blob not in world.files()


async def test_a_file_that_is_lost_is_joined_again(world: World) -> None:
    """The same bytes come of it."""
    await speak(world, *range(1, len(SLICES) + 1))
    kept = await original(world)
    assert kept is not None
    folder_of(world.store).remove(kept.blob)
    await world.keeper.check_files()
    await world.work()
    assert folder_of(world.store).size(kept.blob) == kept.bytes
    assert await original(world) == kept


@pytest.mark.parametrize("left", [None, 0, 2000])
async def test_an_original_that_can_not_be_joined_again_is_offered_no_more(world: World, left: int | None) -> None:
    """Remove the row of the lost original where the file of a slice is gone too, or cut to so many bytes."""
    await speak(world, *range(1, len(SLICES) + 1))
    kept = await original(world)
    assert kept is not None
    folder_of(world.store).remove(kept.blob)
    slice_ = BlobKey(hashlib.sha256(SLICES[1].path.read_bytes()).hexdigest())
    path = next(folder_of(world.store).directory.glob(f"*/{slice_}"))
    if left is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:left])
    await world.keeper.check_files()
    await world.work()
    async with world.store.read() as db:
        assert await originals.of(db, (await world.recording()).id) is None
        assert await jobs.unfinished(db, orders.KeepOriginal.kind) == ()


async def test_episodes_of_before_get_their_originals_a_few_a_day(world: World) -> None:
    """An episode without one is looked at once: its original is kept, or that it can have none."""
    await speak(world, *range(1, len(SLICES) + 1))
    kept = await original(world)
    assert kept is not None
    recording = await world.recording()
    async with world.store.write() as db:
        await originals.remove(db, recording.id)
    await world.keeper.order_missing()
    await world.work()
    assert await original(world) == kept
    slice_ = next(folder_of(world.store).directory.glob(f"*/{hashlib.sha256(SLICES[1].path.read_bytes()).hexdigest()}"))
    await asyncio.to_thread(slice_.unlink)
    async with world.store.write() as db:
        await originals.remove(db, recording.id)
    wanting = []
    for _ in range(2):
        async with world.store.read() as db:
            wanting.append(await originals.wanting(db, 9))
        await world.keeper.order_missing()
        await world.work()
    assert wanting == [(recording.id,), ()]
    assert await original(world) is None


async def test_one_voice_message_is_a_stream_and_two_are_not(world: World) -> None:
    """A session of one Ogg Opus message has its original; another message, which begins a stream of its own, ends
    that."""
    files = {name: SLICES[0].path.read_bytes() for name in ("one", "two")}
    await session_world.begin(world, files)
    await session_world.say(world, "one", announced_ms=5600)
    await session_world.end(world)
    recording = await session_world.session(world, "one")
    async with world.store.read() as db:
        kept = (await originals.current(db, [recording.id])).get(recording.id)
        episode = await archive.episode(db, recording.id)
    assert kept is not None
    assert episode is not None
    assert len(decoded(world, folder_of(world.store).read(kept.blob))) == episode.samples
    for name in ("three", "four"):
        world.download = session_world.Said(files | {name: files["one"]}).download
        await session_world.say(world, name, announced_ms=5600)
    await session_world.end(world)
    other = await session_world.session(world, "three")
    async with world.store.read() as db:
        assert await archive.episode(db, other.id) is not None
        assert await originals.of(db, other.id) is None
