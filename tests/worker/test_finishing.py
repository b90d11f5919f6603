"""A recording becomes an episode, and stays one however often it is made again."""

import asyncio
import hashlib
import io
from dataclasses import replace
from pathlib import Path

from mutagen.id3 import ID3
from PIL import Image

from bot import orders
from bot.errors import GiveUp
from bot.matrix.media import FetchedMedia
from bot.recording.policy import ASKING_MAY_TAKE
from storage import archive, jobs, rooms
from storage.records import BlobKey, Episode, EventId, Job, JobId, JobState, MediaSource, PodcastTexts, RecordingState
from tests.blobs import add_bytes, folder_of
from tests.world import ROOM, START, World, chunk, download, heard, info, sealed, world_of

C1, C2 = EventId("$c1"), EventId("$c2")


async def episode(world: World) -> Episode | None:
    async with world.store.read() as db:
        return await archive.episode(db, (await world.recording()).id)


async def made(world: World) -> Episode:
    found = await episode(world)
    assert found is not None
    return found


def finish(number: int = 1000) -> Job:
    return Job(JobId(number), orders.Finish.kind, "1", {}, JobState.RUNNING, run_at=None, attempts=0)  # type: ignore[arg-type]


async def spoken(world: World, *events: EventId, last: int = 2) -> None:
    """Tell a broadcast of these chunks and let its quiet period pass."""
    said = [chunk(event_id, int(event_id[2:])) for event_id in events]
    await world.begin(*said, info("$stop", "stopped", last_chunk_sequence=last))
    await world.work()
    world.clock.pass_by(61)
    await world.work()


async def test_a_whole_broadcast_is_listed_and_announced_once(world: World) -> None:
    """However often it is finished: one GUID, one file, one notice."""
    await spoken(world, C1, C2)
    first = await made(world)
    await world.handlers[orders.Finish.kind](finish())
    assert (await world.recording()).state is RecordingState.COMPLETE
    assert first.published_at is not None
    assert await made(world) == first
    assert len([one for one in await world.waiting(orders.Notice.kind) if one.get("reply_to") == START]) == 1


async def test_what_is_missing_is_held_back_and_heals_under_the_same_guid(world: World) -> None:
    """The old file stays for whoever downloads it, then it goes."""
    await spoken(world, C1, last=2)
    held = await made(world)
    assert ((await world.recording()).state, held.published_at) == (RecordingState.INCOMPLETE, None)
    await world.hear(chunk(C2, 2))
    await world.work()
    healed = await made(world)
    assert (await world.recording()).state is RecordingState.COMPLETE
    assert healed.guid == held.guid
    assert healed.blob != held.blob
    assert healed.published_at is not None
    assert held.blob in world.files()
    world.clock.pass_by(3601)
    await world.work()
    assert held.blob not in world.files()


async def test_an_incomplete_episode_is_listed_when_it_was_held_long_enough(world: World) -> None:
    """An hour later by our clock it is in the feed as it is, whatever time its sender says."""
    await spoken(world, C1, last=2)
    world.clock.pass_by(3601)
    await world.work()
    assert (await made(world)).published_at == world.clock()


async def test_two_that_finish_the_same_recording_at_once_make_one_episode(world: World) -> None:
    """The second order waits for the first and finds its episode: one GUID, one file, one notice."""
    await world.begin(chunk(C1, 1), info("$stop", "stopped", last_chunk_sequence=1))
    handler, guids = world.handlers[orders.Finish.kind], []

    async def alone(job: Job) -> None:
        await handler(job)
        guids.append((await made(world)).guid)

    async def twice(job: Job) -> None:
        await asyncio.gather(alone(job), alone(replace(job, id=JobId(2000))))

    world.handlers[orders.Finish.kind] = twice
    await world.work()
    world.handlers[orders.Finish.kind] = handler
    assert guids == [(await made(world)).guid] * 2
    assert len([one for one in await world.waiting(orders.Notice.kind) if one.get("reply_to") == START]) == 1


async def test_a_broadcast_that_is_found_again_has_the_guid_it_had(tmp_path: Path) -> None:
    """Two archives that hear the same broadcast, as before and after a restored backup, give it the same GUID."""
    guids = set()
    for folder in ("before", "restored"):
        async with world_of(tmp_path / folder) as world:
            await world.join()
            await spoken(world, C1)
            guids.add((await made(world)).guid)
    assert len(guids) == 1


async def test_a_redaction_takes_the_old_audio_at_once(world: World) -> None:
    """Nobody's download is worth it to keep what was taken back."""
    await spoken(world, C1, C2)
    before = await made(world)
    await world.hear(heard("$r", "m.room.redaction", {}, redacts=C1))
    await world.work()
    after = await made(world)
    assert after.guid == before.guid
    assert set(world.files()) >= {after.blob}
    assert before.blob not in world.files()
    assert before.samples == after.samples


async def test_a_deleted_recording_leaves_no_file(world: World) -> None:
    """Chunks and episode go; what is finished after that makes nothing."""
    await spoken(world, C1, C2)
    audio = {(await made(world)).blob}
    async with world.store.read() as db:
        audio |= {BlobKey(str(one.blob)) for one in await archive.chunks(db, (await world.recording()).id)}
    assert audio <= set(world.files())
    await world.hear(heard("$r", "m.room.redaction", {}, redacts=START))
    await world.work()
    await world.handlers[orders.Finish.kind](finish())
    assert not audio & set(world.files())
    assert await episode(world) is None


async def test_chunks_whose_media_is_not_there_don_t_keep_back_the_rest(world: World) -> None:
    """The episode is made of what there is, and is incomplete."""

    async def half(source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
        if source.mxc.endswith("c2"):
            raise GiveUp("not there", reason="not_found")
        return await download(source, part, max_bytes)

    world.download = half
    await world.begin(chunk(C1, 1), chunk(C2, 2))
    await world.hear(info("$stop", "stopped", last_chunk_sequence=2))
    await world.work_on()
    world.clock.pass_by(61)
    await world.work_on()
    assert (await world.recording()).state is RecordingState.INCOMPLETE
    assert (await made(world)).samples == 48_000
    async with world.store.read() as db:
        assert await jobs.count(db, JobState.FAILED) == 0


async def test_what_loses_its_last_sound_before_it_is_joined_becomes_no_episode(world: World) -> None:
    """A key that is still waited for keeps the recording; nothing is joined, and no job fails."""
    await world.begin(chunk(C1, 1), sealed(C2))
    await world.work()
    await world.hear(info("$stop", "stopped", last_chunk_sequence=2))
    world.clock.pass_by(61 + ASKING_MAY_TAKE.total_seconds())
    await world.handlers[orders.Tick.kind](replace(finish(), kind=orders.Tick.kind))
    assert len(await world.waiting(orders.Finish.kind)) == 1
    await world.hear(heard("$r", "m.room.redaction", {}, redacts=C1))
    await world.work()
    assert (await world.recording()).state is RecordingState.INCOMPLETE
    assert await episode(world) is None
    async with world.store.read() as db:
        assert await jobs.count(db, JobState.FAILED) == 0


async def test_what_waits_for_approval_is_announced_when_it_is_approved(world: World) -> None:
    """Until then the room is told once that it waits, and how to approve it; it is listed from the approval on."""
    async with world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        await rooms.save_room(db, replace(room, review=True))
    await spoken(world, C1, C2)
    recording, waiting = await world.recording(), await made(world)
    assert (recording.unreviewed, waiting.published_at) == (True, None)
    await world.handlers[orders.Finish.kind](finish())
    (notice,) = await replies_to_start(world)
    assert "waits for approval" in notice
    assert f"`!aircheck approve {recording.code}`" in notice
    async with world.store.write() as db:
        await archive.save_recording(db, replace(recording, unreviewed=False))
    for _ in range(2):
        await world.handlers[orders.Finish.kind](finish())
    approved = await made(world)
    assert approved == replace(waiting, published_at=world.clock(), announced=True)
    assert [("waits" in body, "is ready" in body) for body in await replies_to_start(world)] == [(1, 0), (0, 1)]


async def test_a_given_title_is_announced_and_tagged_with_its_speaker(world: World) -> None:
    """The speaker's name stays beside a title; the podcast's own title is the album."""
    async with world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        await rooms.save_room(db, replace(room, podcast=PodcastTexts(title="Soup & Bread")))
    await world.begin(chunk(C1, 1))
    async with world.store.write() as db:
        await archive.save_recording(db, replace(await world.recording(), title="About soup"))
    await world.hear(info("$stop", "stopped", last_chunk_sequence=1))
    await world.work()
    (notice,) = await replies_to_start(world)
    assert notice.startswith("About soup, by Alice (")
    tag = await asyncio.to_thread(folder_of(world.store).read, (await made(world)).blob)
    for text in ("About soup", "Alice", "Soup & Bread"):
        assert text.encode("utf-16-le") in tag or text.encode() in tag


async def replies_to_start(world: World) -> list[str]:
    """The notices in reply to the started event."""
    return [str(one["body"]) for one in await world.waiting(orders.Notice.kind) if one.get("reply_to") == START]


def colour_of(file: bytes) -> tuple[int, ...]:
    """Return the colour in the middle of the picture in an episode's tag."""
    (tagged,) = ID3(io.BytesIO(file)).getall("APIC")
    with Image.open(io.BytesIO(tagged.data)) as picture:
        side = picture.width
        middle = picture.getpixel((side // 2, side // 2))
    assert isinstance(middle, tuple)
    return middle


async def test_the_tag_holds_the_recordings_own_cover(world: World) -> None:
    """The file of an episode shows the recording's own cover in place of the room's, unless its file is gone."""
    out = io.BytesIO()
    Image.new("RGB", (1400, 1400), "red").save(out, "JPEG")
    own = BlobKey(hashlib.sha256(out.getvalue()).hexdigest())
    await spoken(world, C1, C2)
    of_room = colour_of(await world.store.blobs.read((await made(world)).blob))
    for is_there in (False, True):
        if is_there:
            add_bytes(world.store, out.getvalue(), own)
        async with world.store.write() as db:
            recording = await world.recording()
            await archive.save_recording(db, replace(recording, cover=own))
            await jobs.add(db, orders.Finish(recording.id, anew=True).job(), world.clock())
        await world.work()
        shown = colour_of(await world.store.blobs.read((await made(world)).blob))
        assert shown == of_room if not is_there else (shown[0] > 240 and max(shown[1:]) < 20)
