"""Live sound and stems where media lie in a bucket: what is heard is the same, and it is read in bounded ranges."""

import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession

from bot.audio.grid import SEGMENT_FRAMES as FRAMES
from bot.web import streams
from storage.blobs.s3 import LEAST_RANGE, S3Blobs
from storage.records import BlobKey
from storage.store import Store
from tests.buckets.servers import TestBucket
from tests.callbacks import callbacks_timed
from tests.web import test_stems
from tests.web.on_the_air import SEGMENT_BYTES, broadcast
from tests.web.test_live import got, listed
from tests.web.test_stems import a_call
from tests.web.test_streams import heard
from tests.web.world import World, world_of

LONGEST_S = 0.05
"""CPU time of a callback, on a machine that is busy; a few milliseconds are usual."""


@pytest.fixture
async def served(
    bucket: TestBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[World, ClientSession]]:
    """A web server without local copies of what it stored, as one beside the bot has none."""

    async def keep_no_copy(*_: object) -> None:
        """Leave the file where it is."""

    async with world_of(tmp_path / "data", storage={"media_url": bucket.url()}) as (world, client):
        assert isinstance(world.store.blobs, S3Blobs)
        monkeypatch.setattr(world.store.blobs.cache, "take", keep_no_copy)
        yield world, client


async def test_segments_and_the_episode_are_the_same_sound(served: tuple[World, ClientSession]) -> None:
    """The segments of a broadcast, and of its episode once that holds its frames, are read from the bucket."""
    world, client = served
    live, root = await broadcast(world)
    await live.speak(3 * FRAMES)
    await live.speak(2 * FRAMES)
    world.clock.pass_by(60)
    code = live.recording.code
    with callbacks_timed() as longest:
        names = await listed(client, f"{root}{code}.m3u8")
        before = [await got(client, root + name) for name in names]
    assert len(names) == 5
    sound = [live.sound[start : start + SEGMENT_BYTES] for start in range(0, 5 * SEGMENT_BYTES, SEGMENT_BYTES)]
    assert [body[-SEGMENT_BYTES:] for body in before] == sound
    file = await live.end()
    assert await got(client, f"{root}{code}.mp3") == file
    assert [await got(client, root + name) for name in await listed(client, f"{root}{code}.m3u8")] == before
    assert longest.cpu_s < LONGEST_S, longest.what


async def test_the_endless_stream_comes_from_the_bucket(
    served: tuple[World, ClientSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A player of the endless MP3 gets its first segments, and the next ones by the clock."""
    monkeypatch.setattr(streams, "CHECK_EACH_S", 0.01)
    world, client = served
    live, root = await broadcast(world)
    await live.speak(20 * FRAMES)
    world.clock.pass_by(36)
    with callbacks_timed() as longest:
        async with client.get(f"{root}{live.recording.code}-live.mp3") as answer:
            assert await heard(answer, 4) == live.sound[3 * SEGMENT_BYTES : 7 * SEGMENT_BYTES]
            world.clock.pass_by(6)
            assert await heard(answer, 1) == live.sound[7 * SEGMENT_BYTES : 8 * SEGMENT_BYTES]
    assert longest.cpu_s < LONGEST_S, longest.what


async def test_stems_are_zipped_from_the_bucket(
    served: tuple[World, ClientSession], bucket: TestBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A zip of the stems has each file, of which a megabyte is in memory at once."""
    world, client = served

    def put(_: Store, data: bytes, key: BlobKey) -> None:
        assert bucket.request("PUT", f"/some/media/{key[:2]}/{key}", data)[0] == 200

    monkeypatch.setattr(test_stems, "add_bytes", put)
    room, recording = await a_call(world)
    buffers = []
    opened = S3Blobs.open

    def noted(self: S3Blobs, key: BlobKey, buffer: int = 0) -> object:
        buffers.append(buffer)
        return opened(self, key, buffer)

    monkeypatch.setattr(S3Blobs, "open", noted)
    with callbacks_timed() as longest:
        body = await got(client, f"/r/{room.key}/{recording.code}.stems.zip")
    archive = zipfile.ZipFile(io.BytesIO(body))
    assert archive.testzip() is None
    assert archive.namelist() == ["labels.txt", "01 Ann-Äh.ogg", "02 Bob.ogg", "03 Somebody.ogg"]
    assert len(buffers) == 3
    assert max(buffers) <= LEAST_RANGE
    assert longest.cpu_s < LONGEST_S, longest.what
