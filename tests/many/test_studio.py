"""Studios where everything is many: PostgreSQL, a bucket, two web processes and a worker beside the bot."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from bot.demo.slicing import Slicer, speech
from bot.dialects.studio import started_id
from storage import archive, studios
from storage.records import (
    EndedBy,
    Episode,
    Recording,
    RecordingState,
    Studio,
    StudioId,
    StudioSource,
    StudioState,
)
from tests.buckets.servers import TestBucket
from tests.lab import decode
from tests.many.test_web import Web, served
from tests.many.town import Process, Town, rooms_were_read, town, until
from tests.postgresql import Server
from tests.studio.air import Sound, assert_aligned
from tests.web.studio import studio_in
from tests.world import ALICE, ROOM, hearing

pytestmark = pytest.mark.long
FIRST, SECOND = speech(1)[:500], speech(2)[:400]  # 10 s and 8 s


@asynccontextmanager
async def recording_town(server: Server, bucket: TestBucket, folder: Path) -> AsyncIterator[Town]:
    """Provide a town over a bucket, whose bot has read its rooms' state and records what other processes write."""
    async with town(server, folder, bucket.url(), web={"public_url": "https://pod.example"}) as here:
        await rooms_were_read(here.world.store)
        async with hearing(here.world.store, here.world.recorder):
            yield here


@pytest.fixture
async def here(postgresql: Server, bucket: TestBucket, tmp_path: Path) -> AsyncIterator[Town]:
    async with recording_town(postgresql, bucket, tmp_path) as made:
        yield made


async def all_studios(here: Town) -> list[Studio]:
    async with here.world.store.read() as db:
        found = [await studios.get(db, StudioId(number)) for number in range(1, 9)]
    return [studio for studio in found if studio is not None]


async def stored(here: Town, studio: Studio) -> int:
    """Return how many slices are stored."""
    async with here.world.store.read() as db:
        return len(await studios.slices_of(db, studio.id))


async def complete(here: Town, studio: Studio) -> tuple[Recording, Episode]:
    """Wait until a broadcast is an episode."""
    found: list[tuple[Recording, Episode]] = []

    async def is_complete() -> bool:
        async with here.world.store.read() as db:
            recording = await archive.recording_by_event(db, started_id(studio))
            episode = await archive.episode(db, recording.id) if recording is not None else None
        if recording is not None and episode is not None and recording.state is RecordingState.COMPLETE:
            found.append((recording, episode))
        return bool(found)

    await until(is_complete)
    return found[0]


async def assert_whole(here: Town, studio: Studio, truth: Sound) -> None:
    """Check that a broadcast is complete, and its episode this sound."""
    recording, episode = await complete(here, studio)
    assert recording.ended_by is EndedBy.STOPPED
    found = decode(await here.world.store.blobs.read(episode.blob))
    assert len(found) == len(truth)
    assert_aligned(found, truth)


async def test_two_web_processes_take_the_slices_of_one_page_in_turns(here: Town, bucket: TestBucket) -> None:
    """Each request of a page goes to the other process than the one before, and each slice to both, at once or again;
    a worker makes of it what one process would. The bucket has each slice once."""
    studio, token = await studio_in(here.world.store, ROOM, ALICE, here.world.clock())
    first, second = Slicer(1, 2.0), Slicer(2, 2.0)
    takes = [*first.feed(FIRST), first.end()], [*second.feed(SECOND), second.end()]
    async with ClientSession() as client:
        webs = await asyncio.gather(served(here, client), served(here, client))
        await here.work()
        turns = cycle(webs)

        async def step(name: str, **said: Any) -> None:
            body = json.dumps({"client": "page-number-one"} | said).encode()
            assert await next(turns).asked("POST", f"/studio/{token}/{name}", body) == 200

        async def send(number: int, data: bytes) -> None:
            async def put(web: Web) -> int:
                return await web.asked("PUT", f"/studio/{token}/slice-{number}", data)

            both = next(turns), next(turns)
            if number % 2:
                answers = [await put(web) for web in both]
                assert answers == [201, 200]
            else:
                assert sorted(await asyncio.gather(*map(put, both))) == [200, 201]
            next(turns)

        number = 0
        await step("start")
        for name, take in zip(("pause", "stop"), takes, strict=True):
            for piece in take:
                number += 1
                await send(number, piece.data)
            await step(name, last=number)
            if name == "pause":
                await step("resume")
        assert await stored(here, studio) == number
        sound = [decode(each.ogg()) for each in (first, second)]
        recording, episode = await complete(here, studio)
        found = decode(await here.world.store.blobs.read(episode.blob))
        assert len(found) == len(sound[0]) + len(sound[1])
        assert_aligned(found[: len(sound[0])], sound[0])
        assert_aligned(found[len(sound[0]) :], sound[1])
        async with here.world.store.read() as db:
            chunks = await archive.chunks(db, recording.id)
        assert [chunk.sequence for chunk in chunks] == list(range(1, number + 1))
        assert {str(chunk.blob) for chunk in chunks} <= bucket.blobs()
        (after,) = await all_studios(here)
        assert after.bytes == sum(len(piece.data) for take in takes for piece in take)


class Pipe:
    """A named pipe, of which a process reads for as long as it is open."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._end: int | None = os.open(
            path, os.O_RDWR
        )  # open for reading too, so that neither side waits for the other

    async def write(self, data: bytes) -> None:
        assert self._end is not None
        while data:
            data = data[await asyncio.to_thread(os.write, self._end, data) :]

    def close(self) -> None:
        if self._end is not None:
            os.close(self._end)
            self._end = None


@asynccontextmanager
async def piped(here: Town, folder: Path) -> AsyncIterator[tuple[Process, Pipe]]:
    """Run `aircheck broadcast` for Alice, with a pipe for its sound."""
    pipe = Pipe(folder)
    try:
        yield await here.start("broadcast", "--fast", "--as", ALICE, ROOM, str(pipe.path)), pipe
    finally:
        pipe.close()


async def with_slices(here: Town, number: int, count: int) -> Studio:
    """Wait until there are so many studios, and the last of them has so many slices."""

    async def has_so_many() -> bool:
        found = await all_studios(here)
        return len(found) == number and await stored(here, found[-1]) >= count

    await until(has_so_many)
    return (await all_studios(here))[-1]


async def test_a_command_that_is_killed_and_run_again(here: Town, tmp_path: Path) -> None:
    """After kill -9 of `aircheck broadcast` what was written is in the bucket, and nothing of it in a folder of this
    machine; the next run ends that broadcast, and its own is whole. A worker makes both episodes."""
    one, two = Slicer(1, 60.0), Slicer(2, 60.0)
    for slicer, packets in ((one, FIRST), (two, SECOND)):
        slicer.feed(packets)
        slicer.end()
    await here.work()
    async with piped(here, tmp_path / "first") as (process, pipe):
        await pipe.write(one.ogg()[:-2000])
        killed = await with_slices(here, 1, 3)
        await process.kill()
    copies = [file.name for file in (tmp_path / "data" / "tmp").rglob("*") if file.parent.name.startswith("media-")]
    assert copies == []
    async with piped(here, tmp_path / "second") as (process, pipe):
        await pipe.write(two.ogg())
        studio = await with_slices(here, 2, 2)
        pipe.close()
        assert await asyncio.wait_for(process.child.wait(), 60) == 0
        told = process.log.read_text()
        assert "had no end: it ends here" in told
        assert "its episode is ready" in told
    earlier, after = await all_studios(here)
    assert (earlier.state, after.state, after.source) == (StudioState.OVER, StudioState.OVER, StudioSource.SHELL)
    await assert_whole(here, studio, decode(two.ogg()))
    async with here.world.store.read() as db:
        recording = await archive.recording_by_event(db, started_id(killed))
        assert recording is not None
        chunks = await archive.chunks(db, recording.id)
    assert recording.ended_by is EndedBy.STOPPED
    assert len(chunks) == await stored(here, killed)
