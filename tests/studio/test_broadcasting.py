"""Continuous sound as a broadcast, with the real recorder, worker and ffmpeg behind it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.audio.continuous import sound_of
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.opus_arriving import OpusArriving, Stretch
from bot.demo.slicing import speech
from bot.recording.ledger import Ledger
from bot.studio import broadcasting
from bot.studio.broadcasting import Broadcasting, Pace, TooLongError
from bot.studio.life import Problem
from bot.studio.writing import StudioRefusedError, Writing
from storage import studios
from storage.errors import StoreBusyError, StoreError
from storage.records import RecordingState, Studio, StudioSource, StudioState, Via
from tests.audio.test_opus_arriving import stream
from tests.studio.air import Air, as_file, assert_aligned, on_the_air, pieces, spoken

CLIENT = "a-client"


@pytest.fixture
async def air(tmp_path: Path) -> AsyncIterator[Air]:
    async with on_the_air(tmp_path / "data") as made:
        yield made


def writer(air: Air, studio: Studio, most: float = 3600, writing: Writing | None = None) -> Broadcasting:
    made = writing or Writing(air.bot.store, air.bot.settings, air.bot.clock)
    return Broadcasting(air.bot.store, made, studio.id, CLIENT, most)


async def play(on_air: Broadcasting, data: bytes, most: float = 3600) -> None:
    ffmpeg = await asyncio.to_thread(Ffmpeg.find)
    async with aclosing(pieces(data)) as blocks, aclosing(sound_of(ffmpeg, blocks, max_seconds=most)) as sound:
        await on_air.play(sound)


def stretches(data: bytes) -> list[Stretch]:
    return list(OpusArriving().feed(data))


async def ledger_of(air: Air, studio: Studio) -> Ledger:
    return await air.bot.ledger((await air.recording(studio)).event_id)


async def numbers(air: Air, studio: Studio) -> list[int]:
    async with air.bot.store.read() as db:
        return [piece.number for piece in await studios.slices_of(db, studio.id)]


@pytest.mark.parametrize("form", [("-f", "flac"), ("-f", "ogg", "-c:a", "libopus", "-b:a", "96k")])
async def test_sound_becomes_an_episode_of_the_same_samples(air: Air, form: tuple[str, ...]) -> None:
    """A source of 24 s, encoded or kept, is an episode of its length with each sound in its place, complete at once."""
    truth = spoken(24.3)
    studio = await air.studio(StudioSource.SHELL, title="The morning")
    on_air = writer(air, studio)
    await play(on_air, await as_file(truth, *form))
    await on_air.stop()
    await air.settled()
    recording = await air.recording(studio)
    assert (recording.state, recording.via, recording.title) == (RecordingState.COMPLETE, Via.STUDIO, "The morning")
    found = await air.heard(studio)
    assert len(found) == len(truth)
    assert_aligned(found, truth)
    assert await numbers(air, studio) == list(range(1, on_air.number + 1))
    after = await air.now(studio)
    assert (after.state, after.last) == (StudioState.OVER, on_air.number)


async def test_it_is_live_after_the_first_second(air: Air) -> None:
    """The first slice is on the disk when a little more than a second of sound has come."""
    studio = await air.studio(StudioSource.SHELL)
    on_air = writer(air, studio)
    taken = 0
    for stretch in stretches(stream(speech(1)[:400])):
        await on_air.put(stretch)
        taken += stretch.samples
        if await numbers(air, studio):
            break
    assert taken <= 2.5 * 48_000
    await on_air.stop()


async def test_source_that_comes_back_goes_on(air: Air) -> None:
    """A pause ends the run; the source's next connection goes on with the next number, and both runs are one
    recording without a gap."""
    studio = await air.studio(StudioSource.CLIENT)
    first, second = spoken(8, 1), spoken(7, 2)
    on_air = writer(air, studio)
    await play(on_air, await as_file(first, "-f", "flac"))
    await on_air.pause()
    assert (await air.now(studio)).state is StudioState.PAUSED
    again = writer(air, studio)
    await play(again, await as_file(second, "-f", "flac"))
    await again.stop()
    await air.settled()
    assert (await air.recording(studio)).state is RecordingState.COMPLETE
    found = await air.heard(studio)
    assert len(found) == len(first) + len(second)
    assert_aligned(found[: len(first)], first)
    assert_aligned(found[len(first) :], second)
    assert await numbers(air, studio) == list(range(1, again.number + 1))


async def test_sound_that_goes_on_after_a_pause_loses_no_sample(air: Air) -> None:
    """A source that stalls in the middle of its stream is paused; what it sends then begins another run, which gives
    its decoder what it needs and adds nothing to the sound."""
    truth = spoken(14.3)
    data = await as_file(truth, "-f", "ogg", "-c:a", "libopus", "-b:a", "96k")
    studio = await air.studio(StudioSource.SHELL)
    on_air, came = writer(air, studio), stretches(data)
    for number, stretch in enumerate(came):
        if number in (len(came) // 3, len(came) // 2):
            await on_air.pause()
            assert (await air.now(studio)).state is StudioState.PAUSED
        await on_air.put(stretch)
        assert (await air.now(studio)).state is StudioState.LIVE
    await on_air.stop()
    await air.settled()
    assert (await air.recording(studio)).state is RecordingState.COMPLETE
    found = await air.heard(studio)
    assert len(found) == len(truth)
    assert_aligned(found, truth)


async def test_stream_that_goes_on_behind_its_end_is_taken(air: Air) -> None:
    """Pages of a stream behind its last one are sound like any other: whoever sends them breaks nothing."""
    studio = await air.studio(StudioSource.CLIENT)
    on_air = writer(air, studio)
    came = stretches(stream(speech(1)[:400]))
    for number, stretch in enumerate(came):
        await on_air.put(replace(stretch, ends=stretch.ends or number == 3))
    await on_air.stop()
    await air.settled()
    assert (await air.recording(studio)).state is RecordingState.COMPLETE
    assert len(await air.heard(studio)) == 400 * 960 - 3840


async def test_there_are_never_more_slices_than_a_recording_has(air: Air, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of a broadcast that may be long, or that broke off often, are as long as it takes."""
    monkeypatch.setattr(broadcasting, "MAX_CHUNKS", 6)
    studio = await air.studio(StudioSource.CLIENT)
    for _ in range(2):
        on_air = writer(air, studio, 40)
        await play(on_air, stream(speech(1)[:990]))
        await on_air.pause()
    assert await numbers(air, studio) == [1, 2, 3, 4, 5, 6]


async def test_streams_that_follow_one_another_are_runs(air: Air) -> None:
    """A source that begins a new Ogg stream for each song goes on without a pause."""
    studio = await air.studio(StudioSource.CLIENT)
    on_air = writer(air, studio)
    await play(on_air, stream(speech(1)[:200], 1) + stream(speech(1)[200:450], 2))
    await on_air.stop()
    await air.settled()
    assert (await air.recording(studio)).state is RecordingState.COMPLETE
    assert len(await air.heard(studio)) == (200 + 250) * 960 - 2 * 3840


async def test_process_that_dies_loses_only_what_was_not_acknowledged(air: Air) -> None:
    """Without a last page the ledger does not call the run whole; who comes back goes on behind what is stored."""
    studio = await air.studio(StudioSource.CLIENT)
    on_air = writer(air, studio)
    for stretch in stretches(stream(speech(1)[:600]))[:-3]:
        await on_air.put(stretch)
    stored = await numbers(air, studio)
    assert stored == [1, 2, 3]
    again = writer(air, studio)  # the process was killed here
    await play(again, stream(speech(2)[:300]))
    await again.stop()
    await air.settled()
    assert await numbers(air, studio) == list(range(1, again.number + 1))
    await air.bot.pass_by(air.bot.settings.recording.quiet_period_s + 1)
    recording = await air.recording(studio)
    assert recording.state in (RecordingState.COMPLETE, RecordingState.INCOMPLETE)
    assert len(await air.heard(studio)) > 48_000 * 13


async def test_broken_store_is_waited_for(air: Air, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice that the store refuses is written again, in its place; one that was written twice is there once."""
    monkeypatch.setattr(broadcasting, "TROUBLE_S", (0.0,))

    class Troubled(Writing):
        steps = 0

        async def add(self, *about: Any, **more: Any) -> Any:
            self.steps += 1
            if self.steps % 3 == 0:
                raise StoreBusyError("the database is away")
            if self.steps % 3 == 1:
                await super().add(*about, **more)
                raise FileNotFoundError  # after the commit, or as a starting bot empties its folder
            return await super().add(*about, **more)

    studio = await air.studio(StudioSource.SHELL)
    on_air = writer(air, studio, writing=Troubled(air.bot.store, air.bot.settings, air.bot.clock))
    truth = spoken(21)
    await play(on_air, await as_file(truth, "-f", "wav"))
    await on_air.stop()
    await air.settled()
    found = await air.heard(studio)
    assert len(found) == len(truth)
    assert_aligned(found, truth)


@pytest.mark.parametrize("end", ["stop", "pause"])
@pytest.mark.parametrize("committed", [True, False])
async def test_end_while_it_begins(air: Air, end: str, committed: bool) -> None:
    """A source that is ended before it knows whether its broadcast has begun leaves none on the air."""
    begun = asyncio.Event()

    class Slow(Writing):
        async def start(self, *about: Any, **more: Any) -> Any:
            if committed:
                await super().start(*about, **more)
            begun.set()
            await asyncio.Event().wait()

    studio = await air.studio(StudioSource.SHELL)
    on_air = writer(air, studio, writing=Slow(air.bot.store, air.bot.settings, air.bot.clock))
    playing = asyncio.create_task(play(on_air, stream(speech(1)[:100])))
    await begun.wait()
    playing.cancel()
    await asyncio.gather(playing, return_exceptions=True)
    await getattr(on_air, end)()
    expected = (StudioState.OVER if end == "stop" else StudioState.PAUSED) if committed else StudioState.WAITING
    assert (await air.now(studio)).state is expected


async def test_store_that_stays_away_is_given_up(air: Air, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its patience the writer raises, as no one can acknowledge what comes."""
    monkeypatch.setattr(broadcasting, "TROUBLE_S", (0.0,))

    class Away(Writing):
        async def add(self, *about: Any, **more: Any) -> Any:
            raise OSError(28, "No space left on device")

    studio = await air.studio(StudioSource.SHELL)
    on_air = writer(air, studio, writing=Away(air.bot.store, air.bot.settings, air.bot.clock))
    on_air.patience_s = 0
    with pytest.raises(StoreError, match="No space left"):
        await play(on_air, stream(speech(1)[:400]))


async def test_right_that_ends_ends_the_writer(air: Air) -> None:
    """When the speaker leaves the room the next slice is refused."""
    studio = await air.studio(StudioSource.CLIENT)
    on_air = writer(air, studio)
    sound = stretches(stream(speech(1)[:600]))
    for stretch in sound[:5]:
        await on_air.put(stretch)
    before = await numbers(air, studio)
    await air.leave()

    async def go_on() -> None:
        for stretch in sound[5:]:
            await on_air.put(stretch)

    with pytest.raises(StudioRefusedError) as refused:
        await go_on()
    assert refused.value.problem is Problem.OVER
    assert await numbers(air, studio) == before


async def test_nothing_begins_without_sound(air: Air) -> None:
    """A source from which no sound comes leaves no recording."""
    studio = await air.studio(StudioSource.SHELL)
    on_air = writer(air, studio)
    await on_air.pause()
    await on_air.stop()
    assert (await air.now(studio)).state is StudioState.WAITING


async def test_broadcast_is_no_longer_than_one_may_be(air: Air) -> None:
    """At the limit the writer raises, also when an earlier source sent a part of it."""
    studio = await air.studio(StudioSource.CLIENT)
    first = writer(air, studio, 10)
    await play(first, stream(speech(1)[:350]))
    await first.pause()
    second = writer(air, studio, 10)
    with pytest.raises(TooLongError):
        await play(second, stream(speech(1)[:1000]))
    await second.stop()
    assert 10 <= second.samples / 48_000 < 16


async def test_limit_counts_what_is_in_no_slice_yet(air: Air) -> None:
    """A source whose sound is given up at the limit is too long, wherever the last slice began."""
    studio = await air.studio(StudioSource.SHELL)
    on_air = writer(air, studio, 10)
    taken = 0

    async def take() -> None:
        nonlocal taken
        for stretch in stretches(stream(speech(1)[:600])):
            await on_air.put(stretch)
            taken += stretch.samples

    with pytest.raises(TooLongError):
        await take()
    assert taken < 10 * 48_000
    await on_air.stop()
    assert on_air.samples >= 10 * 48_000


async def test_pace_is_real_time() -> None:
    """Sound is held back until its time has come, but for what may be ahead; after a stall a minute may be caught
    up."""
    now, slept = 1000.0, []

    async def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds

    pace = Pace(2.0, lambda: now, sleep)
    for _ in range(5):
        await pace.keep(48_000)
    assert slept == pytest.approx([1.0, 1.0, 1.0])
    now += 600
    slept.clear()
    for _ in range(70):
        await pace.keep(48_000)
    assert sum(slept) == pytest.approx(8.0)
    strict = Pace(2.0, lambda: now, sleep, catch_up_s=0.0)
    await strict.keep(48_000)
    now += 600
    slept.clear()
    for _ in range(5):
        await strict.keep(48_000)
    assert slept == pytest.approx([1.0, 1.0, 1.0])
