"""Tracks: each frame is made once, and stereo is kept where all chunks are stereo."""

import asyncio
import hashlib
import io
import wave
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import mutagen.mp3
import numpy as np
import pytest

from bot import orders
from bot.audio.render import Rendered, Rendering, Warm
from bot.audio.track import ENCODER_PRE_ROLL
from bot.matrix.media import FetchedMedia
from storage import archive, jobs, rooms, tracks
from storage.records import Episode, EventId, MediaSource, MxcUri
from tests.world import ROOM, World, chunk, heard, info

CHUNK_S = 16
FRAMES = CHUNK_S * 48_000 // 1152


def media(channels: Callable[[int], int]) -> Callable[[MediaSource, Path, int], Awaitable[FetchedMedia]]:
    """Return a homeserver whose n-th chunk is noise of 16 s in this many channels."""

    async def download(source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
        number = int(source.mxc[-1])
        noise = np.random.default_rng(number).standard_normal(CHUNK_S * 48_000 * channels(number))
        out = io.BytesIO()
        with wave.open(out, "wb") as file:
            file.setnchannels(channels(number))
            file.setsampwidth(2)
            file.setframerate(48_000)
            file.writeframes((np.convolve(noise, np.hanning(9), "same") * 1500).astype("<i2").tobytes())
        await asyncio.to_thread(part.write_bytes, out.getvalue())
        return FetchedMedia(len(out.getvalue()), hashlib.sha256(out.getvalue()).hexdigest())

    return download


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many frames are made at a time: those that are stored, and the last ones of an episode."""
    counts: list[int] = []
    make, make_to_end, last = Rendering.make, Rendering.make_to_end, Rendering.last

    async def counted(self: Rendering, first: int, frames: int | None, out: Path, warm: Warm | None = None) -> Rendered:
        rendered = await make(self, first, frames, out, warm)
        counts.append(rendered.frames)
        return rendered

    async def counted_to_end(
        self: Rendering, first: int, frames: int, out: Path, warm: Warm | None = None
    ) -> tuple[Rendered, bytes]:
        rendered, rest = await make_to_end(self, first, frames, out, warm)
        counts.append(rendered.frames)
        return rendered, rest

    async def counted_last(self: Rendering, first: int, warm: Warm | None = None) -> bytes:
        frames = await last(self, first, warm)
        counts.append(len(frames) // self.form.frame_bytes)
        return frames

    monkeypatch.setattr(Rendering, "make", counted)
    monkeypatch.setattr(Rendering, "make_to_end", counted_to_end)
    monkeypatch.setattr(Rendering, "last", counted_last)
    return counts


async def spoken(world: World, *numbers: int, last: int) -> None:
    """Send these chunks out of this many, and let the quiet period end."""
    await world.hear(info("$start", "started"))
    for number in numbers:
        await world.hear(chunk(f"$c{number}", number))
        await world.work()
        world.clock.pass_by(11)
        await world.work()
    await world.hear(info("$stop", "stopped", last_chunk_sequence=last))
    await world.work()
    world.clock.pass_by(61)
    await world.work()


async def episode_file(world: World) -> Path:
    recording = await world.recording()
    async with world.store.read() as db:
        episode = await archive.episode(db, recording.id)
    assert episode is not None
    return world.store.directory / world.store.blobs.relative(episode.blob)


async def test_each_chunk_is_worked_on_once(world: World, made: list[int]) -> None:
    """While a broadcast is live a chunk costs its own frames, and at the end only the last few are left to make."""
    world.download = media(lambda _: 1)
    await spoken(world, 1, 2, 3, last=3)
    assert len(made) == 4
    assert max(made[:3]) <= FRAMES + 4
    assert made[3] <= 8
    assert sum(made) == 3 * CHUNK_S * 48_000 // 1152 + 1
    recording = await world.recording()
    async with world.store.read() as db:
        extents = await tracks.extents(db, recording.id)
        episode = await archive.episode(db, recording.id)
    assert episode is not None
    assert [one.blob for one in extents] == [episode.blob]


async def test_a_chunk_that_heals_touches_its_own_frames(world: World, made: list[int]) -> None:
    """When the middle chunk of five comes after the episode, its frames and a second around it are made."""
    world.download = media(lambda _: 1)
    await spoken(world, 1, 2, 4, 5, last=5)
    before = await asyncio.to_thread((await episode_file(world)).read_bytes)
    made.clear()
    await world.hear(chunk("$c3", 3))
    await world.work()
    assert FRAMES <= sum(made) <= FRAMES + ENCODER_PRE_ROLL + 12
    after = await asyncio.to_thread((await episode_file(world)).read_bytes)
    size = 192
    same = [
        before[-(n + 1) * size : len(before) - n * size] == after[-(n + 1) * size : len(after) - n * size]
        for n in range(5 * FRAMES)
    ]
    assert all(same[: 2 * FRAMES - ENCODER_PRE_ROLL - 8])
    assert not any(same[2 * FRAMES + 8 : 3 * FRAMES - 8])
    assert all(same[3 * FRAMES + 8 :])


async def longer_second(source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
    """Return media whose second chunk is longer than the others, by no whole number of frames."""
    fetched = await media(lambda _: 1)(source, part, max_bytes)
    return await asyncio.to_thread(lengthened, part) if source.mxc.endswith("2") else fetched


def lengthened(part: Path) -> FetchedMedia:
    return written(part, lambda sound: sound + sound[: 2 * 62_345])


def written(part: Path, change: Callable[[bytes], bytes]) -> FetchedMedia:
    """Write a WAV file with other sound."""
    with wave.open(str(part), "rb") as file:
        form, sound = file.getparams(), file.readframes(file.getnframes())
    with wave.open(str(part), "wb") as file:
        file.setparams(form)
        file.writeframes(change(sound))
    data = part.read_bytes()
    return FetchedMedia(len(data), hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("listened", [False, True], ids=["nobody listens", "somebody listens"])
async def test_a_late_chunk_takes_its_place_while_it_is_live(world: World, made: list[int], listened: bool) -> None:
    """A late chunk of another length is put in its place in the background while nobody listens; else the track only
    grows."""
    world.download = longer_second
    world.listened = listened
    await world.hear(info("$start", "started"))
    for number in (1, 3, 4, 2, 5):
        await world.hear(chunk(f"$c{number}", number))
        await world.work()
        world.clock.pass_by(11)
        await world.work()
    recording = await world.recording()
    async with world.store.read() as db:
        lengths = [cut.samples for cut in await tracks.cuts(db, recording.id)]
    assert (62_345 + CHUNK_S * 48_000 in lengths) is not listened
    made.clear()
    await world.hear(info("$stop", "stopped", last_chunk_sequence=5))
    world.clock.pass_by(61)
    await world.work()
    assert (sum(made) <= 8) is not listened
    assert (await archived(world)).samples == 5 * CHUNK_S * 48_000 + 62_345
    before = await asyncio.to_thread((await episode_file(world)).read_bytes)
    async with world.store.write() as db:
        await jobs.add(db, orders.Finish(recording.id, anew=True).job(), world.clock())
    await world.work()
    assert await asyncio.to_thread((await episode_file(world)).read_bytes) == before


async def test_a_mono_chunk_behind_stereo_ones_is_taken_in_at_once(world: World, made: list[int]) -> None:
    """The whole track becomes mono while it is live, if nobody listens."""
    world.download = media(lambda number: 1 if number == 4 else 2)
    world.listened = False
    await world.hear(info("$start", "started"))
    for number in (1, 2, 3, 4):
        await world.hear(chunk(f"$c{number}", number))
        await world.work()
    made.clear()
    await world.hear(info("$stop", "stopped", last_chunk_sequence=4))
    world.clock.pass_by(61)
    await world.work()
    assert sum(made) <= 8


async def test_the_shortest_recording_has_its_waveform(world: World) -> None:
    """A piece too short to settle a frame before the end is decided there, and that is kept."""

    async def download(source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
        await media(lambda _: 1)(source, part, max_bytes)
        return await asyncio.to_thread(shortened, part)

    world.download = download
    await spoken(world, 1, last=1)
    recording = await world.recording()
    async with world.store.read() as db:
        ((samples, peaks),) = await tracks.peaks(db, recording.id)
    assert samples == 1440
    assert peaks is not None
    assert len(peaks) == 3
    assert max(peaks) > 0


def shortened(part: Path) -> FetchedMedia:
    return written(part, lambda sound: sound[: 2 * 1440])


async def test_chunks_of_the_same_bytes_are_all_heard_live(world: World) -> None:
    """Chunks of the same digital silence, as of a muted microphone, are one blob and all heard."""

    async def download(source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
        return await media(lambda _: 1)(replace(source, mxc=MxcUri("mxc://hs/1")), part, max_bytes)

    world.download = download
    await world.hear(info("$start", "started"), *(chunk(f"$c{number}", number) for number in range(1, 6)))
    await world.work()
    for number in (6, 7):
        await world.hear(chunk(f"$c{number}", number))
        await world.work()
    recording = await world.recording()
    async with world.store.read() as db:
        assert len(await tracks.cuts(db, recording.id)) == 7


async def archived(world: World) -> Episode:
    async with world.store.read() as db:
        episode = await archive.episode(db, (await world.recording()).id)
    assert episode is not None
    return episode


async def test_what_is_redacted_stays_in_no_file(world: World) -> None:
    """Frames with the sound of a redacted chunk are deleted with it, also while it is live."""
    world.download = media(lambda _: 1)
    await world.hear(info("$start", "started"), chunk("$c1", 1), chunk("$c2", 2))
    await world.work()
    before = set(world.files())
    await world.hear(heard("$r", "m.room.redaction", {}, redacts=EventId("$c2")))
    await world.work()
    recording = await world.recording()
    async with world.store.read() as db:
        blobs = {extent.blob for extent in await tracks.extents(db, recording.id)}
        chunks = {one.blob for one in await archive.chunks(db, recording.id) if one.blob}
    assert blobs <= set(world.files())
    assert not (before - blobs - chunks) & set(world.files()) - {await cover(world)}


async def cover(world: World) -> str | None:
    async with world.store.read() as db:
        room = await rooms.room(db, ROOM)
    return room.cover if room else None


@pytest.mark.parametrize(("mono", "channels"), [((), 2), ((2,), 1)], ids=["throughout", "not throughout"])
async def test_stereo_is_kept_where_all_is_stereo(world: World, mono: tuple[int, ...], channels: int) -> None:
    """A mono chunk makes the whole episode mono, and its length stays."""
    world.download = media(lambda number: 1 if number in mono else 2)
    await spoken(world, 1, 2, 3, last=3)
    file = mutagen.mp3.MP3(await episode_file(world))
    assert file.info.channels == channels
    assert file.info.bitrate == 64_000 * channels
    assert file.info.length == pytest.approx(3 * CHUNK_S, abs=1e-3)
