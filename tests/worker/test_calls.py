"""Calls: the stems of each window are mixed while the call runs, and the episode is made of the windows."""

import numpy as np
import pytest
from numpy.typing import NDArray

from bot import orders
from bot.audio import mix
from bot.audio.track import message_ends, settled_frames
from bot.recording.call.layout import WINDOW
from bot.recording.model import Forgotten
from storage import jobs, tracks
from storage.records import SAMPLE_RATE, RecordingState
from tests.audio.sounds import lag, signal
from tests.audio.voices import TARGET, at, measured, room, voice
from tests.worker.calls_world import BEN, CARL, Call, begin
from tests.worker.session_world import sound
from tests.world import ALICE, Killed, World


def placed(length: int, *sounds: tuple[int, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the sum of sounds at their places."""
    row = np.zeros(length, np.float32)
    for place, some in sounds:
        row[place : place + len(some)] += some[: max(0, length - place)]
    return row


async def test_a_call_with_two_stems_becomes_an_episode(world: World) -> None:
    """Each window is in the live track when it is over. The episode lasts to the last sound, and each stem is at its
    place in it."""
    one, other = signal(SAMPLE_RATE * 24, 1), signal(SAMPLE_RATE * 9, 2)
    call = await begin(world)
    await call.speak(one, 2 * SAMPLE_RATE)
    await call.speak(other, 14 * SAMPLE_RATE + 77, BEN)
    await call.run(2)
    assert [len(cut.parts) for cut in await call.cuts()] == [1, 2]
    async with world.store.read() as db:
        assert await tracks.reach(db, call.id) == settled_frames(2 * WINDOW)
        assert message_ends(await tracks.lengths(db, call.id)) == ()  # live segments are as long as in a broadcast
    await call.end()
    assert (await call.recording()).state is RecordingState.COMPLETE
    made, file = await call.episode()
    heard = sound(world, file)
    assert abs(made.samples - 26 * SAMPLE_RATE) < 2_000
    assert len(heard) == made.samples
    alone = placed(made.samples, (2 * SAMPLE_RATE, one))
    both = placed(made.samples, (14 * SAMPLE_RATE + 77, other))
    for place in range(3, 13, 3):
        assert abs(lag(alone, heard, place * SAMPLE_RATE)) <= 1
    for place in range(15, 22, 3):
        assert abs(lag(both, heard, place * SAMPLE_RATE)) <= 1


def seconds(sound: NDArray[np.float32], first: float, last: float) -> NDArray[np.float32]:
    return sound[int(first * SAMPLE_RATE) : int(last * SAMPLE_RATE)]


async def talk(world: World) -> Call:
    """Let Alice speak for twelve seconds, then Ben, 20 dB softer; Carl's microphone picks up the noise of his room."""
    call = await begin(world)
    await call.speak(at(-18, voice(1)[: 12 * SAMPLE_RATE])[:, 0], SAMPLE_RATE)
    await call.speak(at(-38, voice(2)[: 12 * SAMPLE_RATE])[:, 0], 15 * SAMPLE_RATE, BEN)
    await call.speak(room(-45)[: 28 * SAMPLE_RATE, 0], 0, CARL)
    return call


async def test_each_speaker_is_levelled_alone(world: World) -> None:
    """Two speakers who are 20 dB apart are within 2 LU of each other in the mix, and the noise of an open microphone is
    not raised. Speakers and chapters are those who speak, and their turns of ten seconds or more."""
    call = await talk(world)
    assert {one.credit.user_id for one in await call.speakers()} == set()
    await call.run(2)
    assert {one.credit.user_id for one in await call.speakers()} == {ALICE, BEN, CARL}
    await call.end()
    made, file = await call.episode()
    heard = sound(world, file)[:, None]
    first, second = measured(seconds(heard, 2, 12)), measured(seconds(heard, 16, 26))
    assert abs(first - second) < 2
    assert abs(first - TARGET) < 2
    assert measured(seconds(heard, 13.5, 14.5)) < -40
    recording = await call.recording()
    assert [(credit.user_id, credit.name) for credit in recording.speakers] == [(ALICE, "Alice"), (BEN, "Ben")]
    assert [one.heard == pytest.approx(11 * SAMPLE_RATE, rel=0.15) for one in await call.speakers()] == [True, True]
    assert [mark.title for mark in made.chapters] == ["Alice", "Ben"]
    assert [mark.at for mark in made.chapters] == [pytest.approx(1000, abs=500), pytest.approx(15_000, abs=500)]


async def test_a_call_sounds_the_same_however_it_is_made(world: World) -> None:
    """A rebuilt episode is the same to the byte, and so is one whose windows were not made while the call ran."""
    call = await begin(world)
    await call.speak(at(-18, voice(1)[: 5 * SAMPLE_RATE])[:, 0], 7 * SAMPLE_RATE)
    await call.speak(at(-38, voice(2)[: 3 * SAMPLE_RATE])[:, 0], 9 * SAMPLE_RATE, BEN)
    await call.run(1)
    await call.end()
    made, _ = await call.episode()
    async with world.store.write() as db:
        await jobs.add(db, orders.Finish(call.id, anew=True).job(), world.clock())
    await world.work_on()
    assert (await call.episode())[0].blob == made.blob
    cuts = await call.cuts()
    async with world.store.write() as db:
        await tracks.forget(db, call.id)
        await jobs.add(db, orders.Finish(call.id, anew=True).job(), world.clock())
    await world.work_on()
    assert await call.cuts() == cuts
    assert (await call.episode())[0].blob == made.blob


async def test_a_speaker_who_is_forgotten_leaves_the_mix(world: World) -> None:
    """Whoever wants to be forgotten is heard no more, and is no speaker. The gains of all others stay as they were."""
    call = await talk(world)
    await call.run(3)
    await call.end()
    before = await call.cuts()
    await call.tell(Forgotten(BEN))
    async with world.store.read() as db:
        assert not await tracks.holds(db, call.id)
    await world.work_on()
    async with world.store.read() as db:
        assert await tracks.holds(db, call.id)
    made, file = await call.episode()
    heard = sound(world, file)[:, None]
    assert measured(seconds(heard, 16, 26)) < -40
    assert measured(seconds(heard, 2, 12)) == pytest.approx(TARGET, abs=2)
    assert [mark.title for mark in made.chapters] == ["Alice"]
    assert [credit.user_id for credit in (await call.recording()).speakers] == [ALICE]
    after = await call.cuts()
    assert [sorted(mix.levels_of(cut)) for cut in after] == [[1, 3], [1, 3], [3]]
    for old, new in zip(before, after, strict=True):
        for stem, level in mix.levels_of(new).items():
            assert (level.gains == mix.levels_of(old)[stem].gains).all()
            assert (level.speech == mix.levels_of(old)[stem].speech).all()
        assert set(mix.states_of(new)) <= {1, 3}


async def test_a_slice_that_comes_late_is_heard_once_nobody_listens(world: World) -> None:
    """A late slice waits while somebody listens to the live track. Then it is mixed into its window, and the level of
    the other stems is as it was."""
    call = await talk(world)
    held_back = [each for each in call.window(1) if each.stem == 2]
    call.slices = [each for each in call.slices if each not in held_back]
    await call.keep(call.window(0))
    await call.keep([each for each in call.every if each.at // WINDOW == 1 and each.stem != 2])
    await call.keep(call.window(2))
    early = await call.cuts()
    assert [len(cut.parts) for cut in early] == [2, 2]
    await call.keep(held_back)
    assert await call.cuts() == early
    world.listened = False
    await call.encode()
    late = await call.cuts()
    assert [len(cut.parts) for cut in late] == [2, 3]
    old, new = mix.levels_of(early[1]), mix.levels_of(late[1])
    assert all((new[stem].gains == level.gains).all() for stem, level in old.items())
    await call.end()
    made, _ = await call.episode()
    assert [mark.title for mark in made.chapters] == ["Alice", "Ben"]


async def test_a_late_slice_that_continues_another_waits_too(world: World) -> None:
    """Nothing of the live track is made again while somebody listens, where only the end of a slice reaches into the
    window of the late slice that continues it."""
    call = await begin(world)
    await call.speak(signal(SAMPLE_RATE * 14, 1), 3 * SAMPLE_RATE + 77)
    await call.speak(signal(SAMPLE_RATE * 21, 2), 0, BEN)
    held_back = [each for each in call.window(1) if each.stem == 1]
    await call.keep(call.window(0))
    await call.keep([each for each in call.every if each.at // WINDOW == 1 and each.stem != 1])
    await call.keep(call.window(2))
    early = await call.cuts()
    assert [(part.stem, part.blob is None) for part in early[1].parts] == [(1, True), (2, False)]
    await call.keep(held_back)
    assert await call.cuts() == early
    world.listened = False
    await call.encode()
    assert [part.blob is None for part in (await call.cuts())[1].parts] == [False, False]


async def test_a_device_that_comes_back_keeps_its_level(world: World) -> None:
    """The stem of a device that was in before begins with the gain with which that one ended, after a time without any
    sound too."""
    call = await begin(world)
    said = at(-38, voice(2)[: 7 * SAMPLE_RATE])[:, 0]
    await call.speak(said, 0, BEN)
    await call.leave(1)
    await call.speak(said, 31 * SAMPLE_RATE, BEN)
    await call.speak(said, 41 * SAMPLE_RATE, CARL)
    await call.end()
    first, pause, again, other = await call.cuts()
    assert (pause.samples, pause.parts) == (20 * SAMPLE_RATE, ())
    ended, goes_on = mix.levels_of(first)[1].gains[-1], mix.levels_of(again)[2].gains
    assert abs(int(goes_on[0]) - int(ended)) < 50
    assert [list(mix.states_of(cut)) for cut in (first, again, other)] == [[1], [2], [3]]


async def test_a_death_at_any_write_changes_no_sound(world: World) -> None:
    """The bot dies at a write while it mixes windows and makes the episode, before it is done or after: the same sound
    comes of it, to the byte."""
    call = await begin(world)
    await call.speak(at(-30, voice(2)[: 2 * SAMPLE_RATE])[:, 0], 9 * SAMPLE_RATE)
    await call.run(1)
    await call.end()
    made, _ = await call.episode()
    deaths = 0
    for number in range(1, 40, 3):
        async with world.store.write() as db:
            await tracks.forget(db, call.id)
            await jobs.add(db, orders.Finish(call.id, anew=True).job(), world.clock())
        world.store.die_at(number, after_commit=number % 2 == 0)
        try:
            await world.work()
            world.store.left = None
            break
        except Killed:
            deaths += 1
            await world.rise_again()
            await world.work()
        assert (await call.episode())[0].blob == made.blob
    assert deaths > 1
