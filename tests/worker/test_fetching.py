"""A chunk's media, whatever the homeserver makes of it: every outcome stands in the ledger."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from bot import words
from bot.errors import GiveUp, TryLater
from bot.matrix.media import FetchedMedia
from storage import archive, jobs, rooms
from storage.records import Chunk, ChunkState, EventId, Job, JobKind, MediaSource
from tests import shell as there
from tests.shell import ROOM, START, Download, Shell, chunk, heard, info, shell

C1 = EventId("$c1")
FETCH = [JobKind.FETCH]


async def the_chunk(stage: Shell) -> Chunk:
    async with stage.store.read() as db:
        found = await archive.chunk(db, C1)
    assert found is not None
    return found


async def claimed(stage: Shell) -> Job:
    """A broadcast of one chunk, and the job to fetch it."""
    await stage.hear(info(START, "started"), chunk(C1, 1))
    async with stage.store.write() as db:
        (job,) = await jobs.claim(db, FETCH, stage.clock(), 10)
    return job


def refusing(error: Exception) -> Download:
    async def download(source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
        await asyncio.to_thread(part.touch)
        raise error

    return download


async def pause_of(stage: Shell, job: Job) -> float | None:
    """What a try asks for that ends with TryLater; the job is as it was written down by then."""
    async with stage.store.read() as db:
        written = await jobs.find(db, JobKind.FETCH, job.subject)
    assert written is not None
    with pytest.raises(TryLater) as later:
        await stage.handlers[JobKind.FETCH](replace(job, payload=written.payload))
    return later.value.after_s


async def test_what_is_stored_is_not_fetched_again(stage: Shell) -> None:
    """Nothing is kept of where it was, nor of its key, and a second job finds nothing to do."""
    job = await claimed(stage)
    await stage.handlers[JobKind.FETCH](job)
    found = await the_chunk(stage)
    assert (found.state, found.source) == (ChunkState.STORED, None)
    assert found.blob is not None
    assert stage.store.blobs.path(found.blob).stat().st_size == found.bytes

    stage.download = refusing(AssertionError("asked again"))
    await stage.handlers[JobKind.FETCH](job)
    assert list(stage.store.blobs.scratch.iterdir()) == []


async def test_media_that_are_not_there_are_asked_for_with_growing_pauses_for_ever(stage: Shell) -> None:
    """However old its sender says that the chunk is, and however often it was asked for."""
    stage.download = refusing(GiveUp("not there", reason="not_found"))
    job = await claimed(stage)
    pauses = [await pause_of(stage, job) for _ in range(14)]
    assert pauses[:3] == [60, 120, 240]
    assert pauses[-2:] == [86_400, 86_400]
    found = await the_chunk(stage)
    assert (found.state, found.reason) == (ChunkState.WAITING_FOR_MEDIA, "not_found")


async def test_an_outage_does_not_lengthen_the_pause_of_media_that_are_not_there(stage: Shell) -> None:
    """Only what the homeserver answered counts, not how often it could not be reached before."""
    job = await claimed(stage)
    stage.download = refusing(GiveUp("not there", reason="not_found"))
    assert await pause_of(stage, replace(job, attempts=12)) == 60
    stage.download = refusing(TryLater("away"))
    assert await pause_of(stage, replace(job, attempts=13)) is None
    stage.download = refusing(GiveUp("not there", reason="not_found"))
    assert await pause_of(stage, replace(job, attempts=14)) == 120


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        ("hash_mismatch", ChunkState.DAMAGED),
        ("bad_key", ChunkState.DAMAGED),
        ("too_large", ChunkState.REFUSED),
        ("too_long", ChunkState.REFUSED),
    ],
)
async def test_what_can_never_be_had_is_said_with_its_reason(stage: Shell, reason: str, state: ChunkState) -> None:
    """The ledger says why, the job is over, and the media's key is not kept."""
    stage.download = refusing(GiveUp("no", reason=reason))
    await stage.handlers[JobKind.FETCH](await claimed(stage))
    found = await the_chunk(stage)
    assert (found.state, found.reason, found.source) == (state, reason, None)
    assert list(stage.store.blobs.scratch.iterdir()) == []


async def test_what_is_no_sound_is_damaged(stage: Shell) -> None:
    """Whatever the sender called it."""

    async def download(source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
        await asyncio.to_thread(part.write_bytes, b"no sound at all")
        return FetchedMedia(15, "0" * 64)

    stage.download = download
    await stage.handlers[JobKind.FETCH](await claimed(stage))
    assert (await the_chunk(stage)).state is ChunkState.DAMAGED
    assert not stage.files()


async def test_a_chunk_that_was_redacted_on_the_way_leaves_nothing(stage: Shell) -> None:
    """Its file goes as soon as it has come."""

    async def download(source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
        await stage.hear(heard("$r", "m.room.redaction", {}, redacts=C1))
        return await there.download(source, part, max_bytes)

    stage.download = download
    await stage.hear(info(START, "started"), chunk(C1, 1))
    await stage.work()
    assert (await the_chunk(stage)).state is ChunkState.REDACTED
    assert (await the_chunk(stage)).blob is None
    async with stage.store.read() as db:
        room = await rooms.room(db, ROOM)
    assert room is not None
    assert set(stage.files()) <= {room.cover}


async def test_a_room_that_has_used_up_its_space_is_told_once(tmp_path: Path) -> None:
    """Its next chunk is refused; the one after that is refused in silence."""
    storage = {"directory": str(tmp_path / "data"), "min_free_bytes": 0, "max_bytes_per_room": 10}
    async with shell(tmp_path / "data", storage=storage) as stage:
        await stage.join()
        await stage.hear(info(START, "started"), chunk("$c0", 1))
        await stage.work()
        await stage.hear(chunk(C1, 2), chunk("$c2", 3))
        await stage.work()
        assert ((await the_chunk(stage)).state, (await the_chunk(stage)).reason) == (ChunkState.REFUSED, "room_full")
        said = [job["body"] for job in await stage.waiting(JobKind.NOTICE)]
    assert said.count(words.TOLD["room_full"]) == 1


async def test_nothing_new_is_fetched_while_the_disk_is_nearly_full(tmp_path: Path) -> None:
    """Each admin is told once a day; the chunk waits and is not asked for."""
    storage = {"directory": str(tmp_path / "data"), "min_free_bytes": 1 << 60}
    async with shell(tmp_path / "data", storage=storage) as stage:
        await stage.join()
        stage.download = refusing(AssertionError("asked"))
        job = await claimed(stage)
        for _ in range(2):
            with pytest.raises(TryLater):
                await stage.handlers[JobKind.FETCH](job)
        told = await stage.waiting(JobKind.DIRECT)
        assert [one["user_id"] for one in told] == ["@admin:hs"]
        assert (await the_chunk(stage)).state is ChunkState.WAITING_FOR_MEDIA
