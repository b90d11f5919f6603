"""Chapters and titles in the file: one source, and the sound is left as it is."""

import asyncio
import io
from dataclasses import replace

import pytest
from mutagen.id3 import ID3

from bot import orders
from bot.audio.grid import frame_bytes
from storage import archive, jobs, tracks
from storage.records import Episode, EventId, Extent, Job, JobId, JobState, RecordingState
from tests.blobs import folder_of
from tests.world import World, chunk, info

Found = list[tuple[int, str]]


async def made(world: World) -> Episode:
    async with world.store.read() as db:
        found = await archive.episode(db, (await world.recording()).id)
    assert found is not None
    return found


async def paused_once(world: World) -> None:
    """Two chunks, a pause, and a third; the second is missing."""
    await world.begin(chunk("$c1", 1), info("$p", "paused"), info("$r", "resumed"))
    await world.hear(chunk("$c2", 2), chunk("$c4", 4), info("$stop", "stopped", last_chunk_sequence=4))
    await world.work()
    world.clock.pass_by(61)
    await world.work()


async def file_of(world: World, episode: Episode) -> bytes:
    return await asyncio.to_thread(folder_of(world.store).read, episode.blob)


def in_the_file(data: bytes) -> Found:
    found = ID3(io.BytesIO(data)).getall("CHAP")
    return sorted((one.start_time, str(one.sub_frames["TIT2"])) for one in found)


def in_the_row(episode: Episode) -> Found:
    return [(mark.at, mark.title) for mark in episode.chapters]


async def named(world: World, title: str) -> None:
    """Change a title as `title RECORDING TEXT` does."""
    recording = await world.recording()
    async with world.store.write() as db:
        await archive.save_recording(db, replace(recording, title=title))
        await jobs.add(db, orders.Finish(recording.id).job(), world.clock())
    await world.work()


async def sound(world: World) -> tuple[Extent, bytes]:
    """Return the one place where all frames are, and the frames."""
    async with world.store.read() as db:
        (extent,) = await tracks.extents(db, (await world.recording()).id)
    data = await asyncio.to_thread(folder_of(world.store).read, extent.blob)
    return extent, data[extent.offset :]


async def test_a_pause_and_a_gap_are_chapters(world: World) -> None:
    """The file has them, and the row that pages and feeds read has the same."""
    await paused_once(world)
    episode = await made(world)
    marked = [(0, "Beginning"), (1000, "Resumed"), (2000, "1 s missing"), (3000, "Resumed")]
    assert in_the_row(episode) == marked
    assert in_the_file(await file_of(world, episode)) == marked


async def test_a_title_is_put_into_the_file_and_the_sound_stays(world: World) -> None:
    """The tag and its first chapter have it, the frames are those that were there, at their places in the file, and so
    is the GUID. Nothing is made twice for one title."""
    await paused_once(world)
    before, (extent, frames) = await made(world), await sound(world)
    first = await file_of(world, before)
    await named(world, "About soup")
    after = await made(world)
    data = await file_of(world, after)
    assert (await sound(world))[1] == frames
    assert (len(data), data[extent.offset :]) == (len(first), first[extent.offset :])
    assert before.head == after.head == extent.offset
    assert str(ID3(io.BytesIO(data))["TIT2"]) == "About soup"
    assert in_the_row(after)[0] == (0, "About soup")
    assert in_the_file(data) == in_the_row(after)
    assert (after.guid, after.samples, after.published_at) == (before.guid, before.samples, before.published_at)
    assert after.blob != before.blob
    world.clock.pass_by(1)
    finish = Job(JobId(1000), orders.Finish.kind, "1", {}, JobState.RUNNING, world.clock(), 0)
    await world.handlers[orders.Finish.kind](finish)
    assert await made(world) == after


async def test_the_sound_of_an_old_episode_keeps_its_place(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of an earlier version, whose tag has no padding and whose row does not know its length, gets a tag of the
    same length."""
    with monkeypatch.context() as earlier:
        earlier.setattr("bot.audio.tags.STEP", 1)
        await paused_once(world)
    before, (extent, frames) = await made(world), await sound(world)
    async with world.store.write() as db:
        await archive.save_episode(db, replace(before, head=0))
    await named(world, "Soup")
    after = await made(world)
    assert after.blob != before.blob
    assert (after.head, after.bytes) == (before.head, before.bytes)
    assert await sound(world) == (replace(extent, blob=after.blob), frames)


async def test_what_heals_keeps_its_title(world: World) -> None:
    """The gap's chapters go, the pause's stays. The sound before the place that healed keeps its place in the file."""
    await paused_once(world)
    await named(world, "About soup")
    before = await file_of(world, await made(world))
    await world.hear(chunk(EventId("$c3"), 3))
    await world.work()
    episode = await made(world)
    assert (await world.recording()).state is RecordingState.COMPLETE
    same = slice(episode.head, episode.head + 70 * frame_bytes(64))  # the gap begins after 2 s
    assert before[same] == (await file_of(world, episode))[same]
    assert in_the_row(episode) == in_the_file(await file_of(world, episode)) == [(0, "About soup"), (1000, "Resumed")]
