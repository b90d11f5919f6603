"""Chapters and titles in the file: one source, and the sound is left as it is."""

import asyncio
import io
from dataclasses import replace

from mutagen.id3 import ID3

from bot import orders
from storage import archive, jobs, tracks
from storage.records import Episode, EventId, Extent, Job, JobId, JobState, RecordingState
from tests.world import START, Shell, chunk, info

Found = list[tuple[int, str]]


async def made(stage: Shell) -> Episode:
    async with stage.store.read() as db:
        found = await archive.episode(db, (await stage.recording()).id)
    assert found is not None
    return found


async def paused_once(stage: Shell) -> None:
    """Two chunks, a pause, and a third; the second is missing."""
    await stage.hear(info(START, "started"), chunk("$c1", 1), info("$p", "paused"), info("$r", "resumed"))
    await stage.hear(chunk("$c2", 2), chunk("$c4", 4), info("$stop", "stopped", last_chunk_sequence=4))
    await stage.work()
    stage.clock.pass_by(61)
    await stage.work()


async def file_of(stage: Shell, episode: Episode) -> bytes:
    return await asyncio.to_thread(stage.store.blobs.read, episode.blob)


def in_the_file(data: bytes) -> Found:
    found = ID3(io.BytesIO(data)).getall("CHAP")
    return sorted((one.start_time, str(one.sub_frames["TIT2"])) for one in found)


def in_the_row(episode: Episode) -> Found:
    return [(mark.at, mark.title) for mark in episode.chapters]


async def named(stage: Shell, title: str) -> None:
    """As `title RECORDING TEXT` does it."""
    recording = await stage.recording()
    async with stage.store.write() as db:
        await archive.save_recording(db, replace(recording, title=title))
        await jobs.add(db, orders.Finish(recording.id).job(), stage.clock())
    await stage.work()


async def sound(stage: Shell) -> tuple[Extent, bytes]:
    """The one place where all frames are, and the frames."""
    async with stage.store.read() as db:
        (extent,) = await tracks.extents(db, (await stage.recording()).id)
    data = await asyncio.to_thread(stage.store.blobs.read, extent.blob)
    return extent, data[extent.offset :]


async def test_a_pause_and_a_gap_are_chapters(stage: Shell) -> None:
    """The file has them, and the row that pages and feeds read has the same."""
    await paused_once(stage)
    episode = await made(stage)
    marked = [(0, "Beginning"), (1000, "Goes on"), (2000, "1 s missing"), (3000, "Goes on")]
    assert in_the_row(episode) == marked
    assert in_the_file(await file_of(stage, episode)) == marked


async def test_a_title_is_put_into_the_file_and_the_sound_stays(stage: Shell) -> None:
    """The tag and its first chapter have it, the frames are those that were there, and so is the GUID. Nothing is made
    twice for one title."""
    await paused_once(stage)
    before, (_, frames) = await made(stage), await sound(stage)
    await named(stage, "About soup")
    after = await made(stage)
    data = await file_of(stage, after)
    assert (await sound(stage))[1] == frames
    assert str(ID3(io.BytesIO(data))["TIT2"]) == "About soup"
    assert in_the_row(after)[0] == (0, "About soup")
    assert in_the_file(data) == in_the_row(after)
    assert (after.guid, after.samples, after.published_at) == (before.guid, before.samples, before.published_at)
    assert after.blob != before.blob
    stage.clock.pass_by(1)
    finish = Job(JobId(1000), orders.Finish.kind, "1", {}, JobState.RUNNING, stage.clock(), 0)
    await stage.handlers[orders.Finish.kind](finish)
    assert await made(stage) == after


async def test_what_heals_keeps_its_title(stage: Shell) -> None:
    """The gap's chapters go, the pause's stays."""
    await paused_once(stage)
    await named(stage, "About soup")
    await stage.hear(chunk(EventId("$c3"), 3))
    await stage.work()
    episode = await made(stage)
    assert (await stage.recording()).state is RecordingState.COMPLETE
    assert in_the_row(episode) == in_the_file(await file_of(stage, episode)) == [(0, "About soup"), (1000, "Goes on")]
