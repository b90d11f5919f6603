"""A recording whose media lie in a bucket: from the first chunk to its deletion, over outages of the bucket."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from bot import orders
from bot.recording.model import Deleted
from storage import archive, rooms
from storage.blobs import s3
from storage.records import EventId, RecordingState
from tests.buckets.faults import Proxy, refused
from tests.buckets.servers import TestBucket
from tests.world import ROOM, World, chunk, info, world_of

C1, C2 = EventId("$c1"), EventId("$c2")


@pytest.fixture
async def world(
    bucket: TestBucket, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    monkeypatch.setattr(s3, "RETRIES", {"max_retries": 1, "backoff": s3.RETRIES["backoff"]})
    async with world_of(tmp_path / "data", storage={"media_url": bucket.url(proxy.endpoint)}) as world:
        await world.join()
        yield world


async def test_a_broadcast_lives_in_the_bucket_and_goes_from_it(world: World, bucket: TestBucket, proxy: Proxy) -> None:
    """While the bucket is away the jobs wait; then chunks, frames and the episode are there, and nowhere else; the
    deleted recording leaves no object of its own."""
    await world.begin(chunk(C1, 1), chunk(C2, 2), info("$stop", "stopped", last_chunk_sequence=2))
    proxy.always = refused(403, "ExpiredToken")
    await world.work_on()
    assert bucket.names() == {}
    assert await world.waiting(orders.Fetch.kind)
    proxy.always = None
    world.clock.pass_by(timedelta(minutes=10).total_seconds())
    await world.work_on()
    world.clock.pass_by(61)
    await world.work_on()
    recording = await world.recording()
    assert recording.state is RecordingState.COMPLETE
    async with world.store.read() as db:
        episode = await archive.episode(db, recording.id)
        chunks = await archive.chunks(db, recording.id)
        room = await rooms.room(db, ROOM)
    assert episode is not None
    assert room is not None
    assert {episode.blob, *(each.blob for each in chunks)} <= bucket.blobs()
    assert not (world.store.directory / "blobs").exists()
    sound = await world.store.blobs.read(episode.blob)
    assert len(sound) == episode.bytes
    async with world.store.write() as db:
        await world.recorder.apply(db, recording.id, Deleted())
    world.clock.pass_by(timedelta(hours=2).total_seconds())
    await world.work_on()
    assert bucket.blobs() == {room.cover}
    assert bucket.uploads() == 0
