"""A chunk's media, whatever the homeserver makes of it: every outcome stands in the ledger."""

import asyncio
import hashlib
import subprocess
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bot import orders
from bot.audio.ffmpeg import AGAIN, FIRST, Ffmpeg
from bot.audio.inspect import inspect_chunk
from bot.errors import GiveUp, LimitHit, TryLater, WrongBytes
from bot.matrix.media import FetchedMedia
from bot.recording import kinds
from bot.recording.wording import OF_ALL
from bot.worker import fetching
from bot.worker.retries import ask_anew
from storage import archive, jobs, rooms
from storage.records import Chunk, ChunkFacts, ChunkState, EventId, Job, MediaSource, MxcUri
from tests import world as there
from tests.blobs import folder_of
from tests.world import ALICE, ROOM, Download, World, chunk, find_ffmpeg, heard, media_of, world_of

C1 = EventId("$c1")
FETCH = [orders.Fetch.kind]


async def the_chunk(world: World) -> Chunk:
    async with world.store.read() as db:
        found = await archive.chunk_of_event(db, C1)
    assert found is not None
    return found


async def claimed(world: World) -> Job:
    """Begin a broadcast of one chunk and claim the job that fetches it."""
    await world.begin(chunk(C1, 1))
    async with world.store.write() as db:
        (job,) = await jobs.claim(db, FETCH, world.clock(), 10)
    return job


def refusing(error: Exception) -> Download:
    async def download(source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
        await asyncio.to_thread(part.touch)
        raise error

    return download


async def pause_of(world: World, job: Job) -> float | None:
    """Return the pause that a try asks for with TryLater; the job's row is read first."""
    async with world.store.read() as db:
        written = await jobs.find(db, orders.Fetch.of(job).job().name)
    assert written is not None
    with pytest.raises(TryLater) as later:
        await world.handlers[orders.Fetch.kind](replace(job, payload=written.payload))
    return later.value.after_s


async def test_what_is_stored_is_not_fetched_again(world: World) -> None:
    """Nothing is kept of where it was, nor of its key, and a second job finds nothing to do."""
    job = await claimed(world)
    await world.handlers[orders.Fetch.kind](job)
    found = await the_chunk(world)
    assert (found.state, found.source) == (ChunkState.STORED, None)
    assert found.blob is not None
    assert len(folder_of(world.store).read(found.blob)) == found.bytes

    world.download = refusing(AssertionError("asked again"))
    await world.handlers[orders.Fetch.kind](job)
    assert list(world.store.blobs.scratch.iterdir()) == []


async def test_media_that_are_not_there_are_asked_for_with_growing_pauses_for_ever(world: World) -> None:
    """However old its sender says that the chunk is, and however often it was asked for."""
    world.download = refusing(GiveUp("not there", reason="not_found"))
    job = await claimed(world)
    pauses = [await pause_of(world, job) for _ in range(16)]
    assert pauses[:3] == [10, 20, 40]
    assert pauses[-2:] == [86_400, 86_400]
    found = await the_chunk(world)
    assert (found.state, found.reason) == (ChunkState.WAITING_FOR_MEDIA, "not_found")


async def test_an_outage_does_not_lengthen_the_pause_of_media_that_are_not_there(world: World) -> None:
    """Only what the homeserver answered counts, not how often it could not be reached before."""
    job = await claimed(world)
    world.download = refusing(GiveUp("not there", reason="not_found"))
    assert await pause_of(world, replace(job, attempts=12)) == 10
    world.download = refusing(TryLater("away"))
    assert await pause_of(world, replace(job, attempts=13)) is None
    world.download = refusing(GiveUp("not there", reason="not_found"))
    assert await pause_of(world, replace(job, attempts=14)) == 20


@pytest.mark.parametrize("reason", ["bad_key", "bad_address"])
async def test_what_can_never_be_asked_for_is_said_with_its_reason(world: World, reason: str) -> None:
    """The ledger says why, the job is over, and the media's key is not kept."""
    world.download = refusing(GiveUp("no", reason=reason))
    await world.handlers[orders.Fetch.kind](await claimed(world))
    found = await the_chunk(world)
    assert (found.state, found.reason, found.source) == (ChunkState.DAMAGED, reason, None)
    assert list(world.store.blobs.scratch.iterdir()) == []


PAGE = b"<!DOCTYPE html><html><body>Sign in to see this file</body></html>"


def giving(data: bytes, *, mismatch: bool = False) -> Download:
    """Run a homeserver, or a proxy before it, that answers each request like this."""

    async def download(source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
        await asyncio.to_thread(part.write_bytes, data)
        sha256 = hashlib.sha256(data).hexdigest()
        if mismatch:
            raise WrongBytes(len(data), sha256)
        return FetchedMedia(len(data), sha256)

    return download


ANSWERS = {
    "page": (giving(PAGE), ChunkState.DAMAGED, "not_audio"),
    "error": (giving(b'{"errcode": "M_UNKNOWN"}'), ChunkState.DAMAGED, "not_audio"),
    "empty": (giving(b""), ChunkState.DAMAGED, "empty"),
    "hash": (giving(PAGE, mismatch=True), ChunkState.DAMAGED, "hash_mismatch"),
    "cut": (giving(media_of(MediaSource(MxcUri("mxc://hs/c1")))[:5000]), ChunkState.DAMAGED, "truncated"),
    "size": (refusing(GiveUp("no", reason="too_large")), ChunkState.REFUSED, "too_large"),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_one_answer_is_no_verdict(world: World, name: str) -> None:
    """After the first one the chunk waits, and is asked for again after ten seconds; after the same one again it is
    judged, and its bytes, if any, are kept until better ones come: then it heals, and they go."""
    world.download, state, reason = ANSWERS[name]
    await world.begin(chunk(C1, 1))
    assert await world.work_one(FETCH)
    assert (await the_chunk(world)).state is ChunkState.WAITING_FOR_MEDIA
    world.clock.pass_by(9.9)
    assert not await world.work_one(FETCH)
    await world.rise_again()
    world.clock.pass_by(0.1)
    assert await world.work_one(FETCH)
    found = await the_chunk(world)
    assert (found.state, found.reason) == (state, reason)
    if found.blob is not None:
        path = world.store.directory / world.store.blobs.relative(found.blob)
        assert path.stat().st_size == found.bytes
        assert path.stat().st_mode & 0o777 == 0o600
    assert (found.blob is None) == (name in {"empty", "size"})
    assert list(world.store.blobs.scratch.iterdir()) == []

    world.download = there.download
    world.clock.pass_by(20)
    assert await world.work_one(FETCH)
    healed = await the_chunk(world)
    assert (healed.state, healed.source) == (ChunkState.STORED, None)
    while await world.work_one([orders.Forget.kind]):
        pass
    assert found.blob not in world.files()


async def test_what_was_judged_is_asked_for_during_a_week(world: World) -> None:
    """With growing pauses; its bytes are looked into when they are new, and no more."""
    looked = 0

    async def look(*args: Any, **more: Any) -> ChunkFacts:
        nonlocal looked
        looked += 1
        raise GiveUp("no sound", reason="undecodable")

    world.download = giving(PAGE)
    await world.begin(chunk(C1, 1))
    began, asked = world.clock(), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetching, "inspect_chunk", look)
        while (due := await next_due(world)) is not None:
            world.clock.now = max(world.clock(), due)
            assert await world.work_one(FETCH)
            asked.append((world.clock() - began).total_seconds())
    assert asked[:5] == [0, 10, 30, 70, 150]
    assert 7 * 86_400 <= asked[-1] <= 8.1 * 86_400
    assert len(asked) < 25
    assert looked == 1
    assert (await the_chunk(world)).state is ChunkState.DAMAGED


async def next_due(world: World) -> datetime | None:
    async with world.store.read() as db:
        return await jobs.next_due(db, FETCH)


async def test_other_bytes_each_time_are_no_verdict(world: World) -> None:
    """The chunk waits, with growing pauses; no more than the last bytes are kept."""
    await world.begin(chunk(C1, 1))
    for number in range(8):
        world.download = giving(PAGE + bytes([number]))
        due = await next_due(world)
        assert due is not None
        world.clock.now = max(world.clock(), due)
        assert await world.work_one(FETCH)
        assert (await the_chunk(world)).state is ChunkState.WAITING_FOR_MEDIA
    while await world.work_one([orders.Forget.kind]):
        pass
    assert (await the_chunk(world)).reason == "not_audio"
    assert set(world.files()) == {(await the_chunk(world)).blob}


async def test_fewer_bytes_than_announced_are_asked_for_once_more(world: World) -> None:
    """Sound that may lack its end is taken when the homeserver has no more of it."""
    source = MediaSource(MxcUri("mxc://hs/c1"))
    whole = media_of(source)
    event = chunk(C1, 1)
    event = replace(event, event={**event.event, "content": {**event.event["content"], "info": {"size": len(whole)}}})
    short = flac(whole)
    world.download = giving(short)
    await world.begin(event)
    assert await world.work_one(FETCH)
    assert (await the_chunk(world)).state is ChunkState.WAITING_FOR_MEDIA
    world.clock.pass_by(10)
    assert await world.work_one(FETCH)
    found = await the_chunk(world)
    assert (found.state, found.bytes) == (ChunkState.STORED, len(short))


def flac(data: bytes) -> bytes:
    command = [find_ffmpeg().exe, "-v", "error", "-i", "pipe:0", "-f", "flac", "pipe:1"]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


async def test_a_recording_can_be_asked_for_anew(world: World) -> None:
    """At once, however long the pause has become; where no source is kept, its events are read once more."""
    world.download = giving(PAGE)
    await world.begin(chunk(C1, 1))
    for pause_s in (10, 20, 40, 80):
        assert await world.work_one(FETCH)
        world.clock.pass_by(pause_s)
    await world.work_one(FETCH)
    assert not await world.work_one(FETCH)
    recording = await world.recording()
    async with world.store.write() as db:
        assert await ask_anew(db, recording, world.clock()) == 1
    world.download = there.download
    assert await world.work_one(FETCH)
    assert (await the_chunk(world)).state is ChunkState.STORED

    async with world.store.write() as db:
        await archive.save_chunks(db, [replace(await the_chunk(world), state=ChunkState.DAMAGED, source=None)])
        assert await ask_anew(db, recording, world.clock()) == 1
    (read,) = await world.waiting(orders.Reread.kind)
    assert read == {"room_id": ROOM, "sender": ALICE}


async def test_only_related_events_are_read_once_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind of recording whose events do not relate to the first is not read anew for an address that is not kept."""
    await world.begin(chunk(C1, 1))
    unrelated = {kind: replace(parts, related=False) for kind, parts in kinds.KINDS.items()}
    monkeypatch.setattr(kinds, "KINDS", unrelated)
    async with world.store.write() as db:
        await archive.save_chunks(db, [replace(await the_chunk(world), state=ChunkState.DAMAGED, source=None)])
        assert await ask_anew(db, await world.recording(), world.clock()) == 1
    assert await world.waiting(orders.Reread.kind) == []


async def test_a_chunk_that_was_redacted_on_the_way_leaves_nothing(world: World) -> None:
    """Its file goes as soon as it has come."""

    async def download(source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
        await world.hear(heard("$r", "m.room.redaction", {}, redacts=C1))
        return await there.download(source, part, max_bytes)

    world.download = download
    await world.begin(chunk(C1, 1))
    await world.work()
    assert (await the_chunk(world)).state is ChunkState.REDACTED
    assert (await the_chunk(world)).blob is None
    async with world.store.read() as db:
        room = await rooms.room(db, ROOM)
    assert room is not None
    assert set(world.files()) <= {room.cover}


async def test_a_room_that_has_used_up_its_space_is_told_once(tmp_path: Path) -> None:
    """Its next chunk is refused; the one after that is refused in silence."""
    storage = {"directory": str(tmp_path / "data"), "min_free_bytes": 0, "max_bytes_per_room": 10}
    async with world_of(tmp_path / "data", storage=storage) as world:
        await world.join()
        await world.begin(chunk("$c0", 1))
        await world.work()
        await world.hear(chunk(C1, 2), chunk("$c2", 3))
        assert [await world.work_one(FETCH) for _ in range(3)] == [True, True, False]
        assert ((await the_chunk(world)).state, (await the_chunk(world)).reason) == (ChunkState.REFUSED, "room_full")
        said = [job["body"] for job in await world.waiting(orders.Notice.kind)]
    assert said.count(OF_ALL["room_full"]) == 1


async def test_nothing_new_is_fetched_while_the_disk_is_nearly_full(tmp_path: Path) -> None:
    """Each admin is told once a day; the chunk waits and is not asked for."""
    storage = {"directory": str(tmp_path / "data"), "min_free_bytes": 1 << 60}
    async with world_of(tmp_path / "data", storage=storage) as world:
        await world.join()
        world.download = refusing(AssertionError("asked"))
        job = await claimed(world)
        for _ in range(2):
            with pytest.raises(TryLater):
                await world.handlers[orders.Fetch.kind](job)
        told = await world.waiting(orders.Direct.kind)
        assert [one["user_id"] for one in told] == ["@admin:hs"]
        assert (await the_chunk(world)).state is ChunkState.WAITING_FOR_MEDIA


@pytest.mark.parametrize("hits", [1, 2])
async def test_a_limit_that_was_hit_is_tried_again_alone(world: World, hits: int) -> None:
    """A busy machine hits it too: only a chunk that hits it twice is damaged, and then it is decoded no more."""
    tried: list[tuple[bool, ...]] = []

    async def look(path: Path, ffmpeg: Ffmpeg, *, max_seconds: float, tries: tuple[bool, ...]) -> ChunkFacts:
        tried.append(tries)
        if len(tried) <= hits:
            raise LimitHit
        return await inspect_chunk(path, ffmpeg, max_seconds=max_seconds)

    await world.begin(chunk(C1, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetching, "inspect_chunk", look)
        for pause_s in (0, 10, 20, 40):
            world.clock.pass_by(pause_s)
            await world.work_one(FETCH)
    assert tried == [FIRST, AGAIN]
    assert (await the_chunk(world)).state is (ChunkState.STORED if hits == 1 else ChunkState.DAMAGED)


@pytest.mark.parametrize("hits", [1, 2])
async def test_a_crash_after_a_limit_was_hit_takes_no_try_away(world: World, hits: int) -> None:
    """The process dies when the ledger knows of the hit and the job does not: the next try is the one with more."""
    tried: list[tuple[bool, ...]] = []

    async def look(path: Path, ffmpeg: Ffmpeg, *, max_seconds: float, tries: tuple[bool, ...]) -> ChunkFacts:
        tried.append(tries)
        if len(tried) <= hits:
            raise LimitHit
        return await inspect_chunk(path, ffmpeg, max_seconds=max_seconds)

    async def die(*_: Any) -> float:
        raise there.Killed

    job = await claimed(world)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetching, "inspect_chunk", look)
        with pytest.MonkeyPatch.context() as crash:
            crash.setattr(fetching.Fetching, "_pause_after_no", die)
            with pytest.raises(there.Killed):
                await world.handlers[orders.Fetch.kind](job)
        await world.rise_again()
        for pause_s in (0, 10, 20, 40):
            world.clock.pass_by(pause_s)
            await world.work_one(FETCH)
    assert tried == [FIRST, AGAIN]
    assert (await the_chunk(world)).state is (ChunkState.STORED if hits == 1 else ChunkState.DAMAGED)
