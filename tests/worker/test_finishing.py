"""A recording becomes an episode, and stays one however often it is made again."""

import asyncio
from dataclasses import replace
from pathlib import Path

from bot import orders
from bot.errors import GiveUp
from bot.matrix.media import FetchedMedia
from bot.recording.policy import ASKING_MAY_TAKE
from storage import archive, jobs
from storage.records import BlobKey, Episode, EventId, Job, JobId, JobState, MediaSource, RecordingState
from tests.world import START, Shell, chunk, download, heard, info, sealed, shell

C1, C2 = EventId("$c1"), EventId("$c2")


async def episode(stage: Shell) -> Episode | None:
    async with stage.store.read() as db:
        return await archive.episode(db, (await stage.recording()).id)


async def made(stage: Shell) -> Episode:
    found = await episode(stage)
    assert found is not None
    return found


def finish(number: int = 1000) -> Job:
    return Job(JobId(number), orders.Finish.kind, "1", {}, JobState.RUNNING, run_at=None, attempts=0)  # type: ignore[arg-type]


async def spoken(stage: Shell, *events: EventId, last: int = 2) -> None:
    """A broadcast of these chunks that has been quiet for long enough."""
    said = [chunk(event_id, int(event_id[2:])) for event_id in events]
    await stage.hear(info(START, "started"), *said, info("$stop", "stopped", last_chunk_sequence=last))
    await stage.work()
    stage.clock.pass_by(61)
    await stage.work()


async def test_a_whole_broadcast_is_listed_and_announced_once(stage: Shell) -> None:
    """However often it is finished: one GUID, one file, one notice."""
    await spoken(stage, C1, C2)
    first = await made(stage)
    await stage.handlers[orders.Finish.kind](finish())
    assert (await stage.recording()).state is RecordingState.COMPLETE
    assert first.published_at is not None
    assert await made(stage) == first
    assert len([one for one in await stage.waiting(orders.Notice.kind) if one.get("reply_to") == START]) == 1


async def test_what_is_missing_is_held_back_and_heals_under_the_same_guid(stage: Shell) -> None:
    """The old file stays for whoever downloads it, then it goes."""
    await spoken(stage, C1, last=2)
    held = await made(stage)
    assert ((await stage.recording()).state, held.published_at) == (RecordingState.INCOMPLETE, None)
    await stage.hear(chunk(C2, 2))
    await stage.work()
    healed = await made(stage)
    assert (await stage.recording()).state is RecordingState.COMPLETE
    assert healed.guid == held.guid
    assert healed.blob != held.blob
    assert healed.published_at is not None
    assert held.blob in stage.files()
    stage.clock.pass_by(3601)
    await stage.work()
    assert held.blob not in stage.files()


async def test_an_incomplete_episode_is_listed_when_it_was_held_long_enough(stage: Shell) -> None:
    """An hour later by our clock it is in the feed as it is, whatever time its sender says."""
    await spoken(stage, C1, last=2)
    stage.clock.pass_by(3601)
    await stage.work()
    assert (await made(stage)).published_at == stage.clock()


async def test_two_that_finish_the_same_recording_at_once_make_one_episode(stage: Shell) -> None:
    """One waits for the other, and finds its episode there: one GUID, one file, one notice."""
    await stage.hear(info(START, "started"), chunk(C1, 1), info("$stop", "stopped", last_chunk_sequence=1))
    handler, guids = stage.handlers[orders.Finish.kind], []

    async def alone(job: Job) -> None:
        await handler(job)
        guids.append((await made(stage)).guid)

    async def twice(job: Job) -> None:
        await asyncio.gather(alone(job), alone(replace(job, id=JobId(2000))))

    stage.handlers[orders.Finish.kind] = twice
    await stage.work()
    stage.handlers[orders.Finish.kind] = handler
    assert guids == [(await made(stage)).guid] * 2
    assert len([one for one in await stage.waiting(orders.Notice.kind) if one.get("reply_to") == START]) == 1


async def test_a_broadcast_that_is_found_again_has_the_guid_it_had(tmp_path: Path) -> None:
    """Two archives that hear the same broadcast, as before and after a restored backup, give it the same GUID."""
    guids = set()
    for folder in ("before", "restored"):
        async with shell(tmp_path / folder) as stage:
            await stage.join()
            await spoken(stage, C1)
            guids.add((await made(stage)).guid)
    assert len(guids) == 1


async def test_a_redaction_takes_the_old_audio_at_once(stage: Shell) -> None:
    """Nobody's download is worth it to keep what was taken back."""
    await spoken(stage, C1, C2)
    before = await made(stage)
    await stage.hear(heard("$r", "m.room.redaction", {}, redacts=C1))
    await stage.work()
    after = await made(stage)
    assert after.guid == before.guid
    assert set(stage.files()) >= {after.blob}
    assert before.blob not in stage.files()
    assert before.samples == after.samples


async def test_a_deleted_recording_leaves_no_file(stage: Shell) -> None:
    """Chunks and episode go; what is finished after that makes nothing."""
    await spoken(stage, C1, C2)
    audio = {(await made(stage)).blob}
    async with stage.store.read() as db:
        audio |= {BlobKey(str(one.blob)) for one in await archive.chunks(db, (await stage.recording()).id)}
    assert audio <= set(stage.files())
    await stage.hear(heard("$r", "m.room.redaction", {}, redacts=START))
    await stage.work()
    await stage.handlers[orders.Finish.kind](finish())
    assert not audio & set(stage.files())
    assert await episode(stage) is None


async def test_chunks_whose_media_is_not_there_don_t_keep_back_the_rest(stage: Shell) -> None:
    """The episode is made of what there is, and is incomplete."""

    async def half(source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
        if source.mxc.endswith("c2"):
            raise GiveUp("not there", reason="not_found")
        return await download(source, part, max_bytes)

    stage.download = half
    await stage.hear(info(START, "started"), chunk(C1, 1), chunk(C2, 2))
    await stage.hear(info("$stop", "stopped", last_chunk_sequence=2))
    await stage.work_on()
    stage.clock.pass_by(61)
    await stage.work_on()
    assert (await stage.recording()).state is RecordingState.INCOMPLETE
    assert (await made(stage)).samples == 48_000
    async with stage.store.read() as db:
        assert await jobs.count(db, JobState.FAILED) == 0


async def test_what_loses_its_last_sound_before_it_is_joined_becomes_no_episode(stage: Shell) -> None:
    """A key that is still waited for keeps the recording; nothing is joined, and no job fails."""
    await stage.hear(info(START, "started"), chunk(C1, 1), sealed(C2))
    await stage.work()
    await stage.hear(info("$stop", "stopped", last_chunk_sequence=2))
    stage.clock.pass_by(61 + ASKING_MAY_TAKE.total_seconds())
    await stage.handlers[orders.Tick.kind](replace(finish(), kind=orders.Tick.kind))
    assert len(await stage.waiting(orders.Finish.kind)) == 1
    await stage.hear(heard("$r", "m.room.redaction", {}, redacts=C1))
    await stage.work()
    assert (await stage.recording()).state is RecordingState.INCOMPLETE
    assert await episode(stage) is None
    async with stage.store.read() as db:
        assert await jobs.count(db, JobState.FAILED) == 0
