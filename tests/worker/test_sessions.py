"""Sessions of voice messages: joined with a pause between two, live as they come, and again when one goes or heals."""

from pathlib import Path

import numpy as np
import pytest

from bot import orders
from bot.audio.grid import FRAME
from bot.recording.kinds import lay_out
from bot.recording.ledger import Ledger
from bot.recording.policy import DOWNLOADS_MAY_TAKE
from storage import archive, jobs, tracks
from storage.records import EventId, RecordingState, Samples, to_ms
from tests.worker.session_world import BOB, PAUSE, Tone, begin, end, episode, message, pitch, say, session, sound
from tests.world import ALICE, World, heard

TONES = {
    "a": Tone(400, 96_017),
    "b": Tone(1000, 150_001, height=0.02),
    "c": Tone(600, 40_003),
    "d": Tone(1500, 48_000, height=0.9, channels=2),
}
LENGTHS = [tone.samples for tone in TONES.values()]
FILES = {name: tone.wav() for name, tone in TONES.items()}
SPEAKERS = {"b": BOB, "d": BOB}


async def said(world: World, *names: str) -> None:
    for name in names:
        await say(world, name, SPEAKERS.get(name, ALICE))


async def ledger_of(world: World, first: str = "a") -> Ledger:
    recording = await session(world, first)
    async with world.store.read() as db:
        return lay_out(recording, await archive.chunks(db, recording.id))


def assert_tones(world: World, file: Path, *names: str) -> None:
    """Check that an episode is exactly these messages, with silence of a second between two."""
    heard, at = sound(world, file), 0
    assert len(heard) == sum(TONES[name].samples for name in names) + PAUSE * (len(names) - 1)
    for name in names:
        tone = TONES[name]
        inside = heard[at + 2_000 : at + tone.samples - 2_000]
        assert pitch(inside) == pytest.approx(tone.hz, abs=3)
        assert np.sqrt(np.mean(inside**2)) > 0.05
        at += tone.samples
        assert np.abs(heard[at + 2_000 : at + PAUSE - 2_000]).max(initial=0) < 0.001
        assert pitch(heard[at - 4_000 : at]) == pytest.approx(tone.hz, abs=15)
        at += PAUSE


async def test_messages_are_joined_to_the_sample(world: World) -> None:
    """An episode is as long as its messages and a second between two, and a chapter begins where a speaker is heard.
    Made again it is the same to the byte."""
    await begin(world, FILES)
    await said(world, *TONES)
    await end(world)
    assert (await session(world, "a")).state is RecordingState.COMPLETE
    made, file = await episode(world, "a")
    assert made.samples == sum(LENGTHS) + 3 * PAUSE
    assert_tones(world, file, *TONES)
    starts = np.cumsum([0, *(length + PAUSE for length in LENGTHS[:-1])])
    assert [mark.at for mark in made.chapters] == [to_ms(Samples(start)) for start in starts]
    ledger = await ledger_of(world)
    assert [entry.position for entry in ledger.entries] == starts.tolist()
    assert (ledger.gaps, ledger.samples) == ((), made.samples)
    async with world.store.write() as db:
        await jobs.add(db, orders.Finish((await session(world, "a")).id, anew=True).job(), world.clock())
    await world.work_on()
    assert (await episode(world, "a"))[0].blob == made.blob


async def test_each_message_is_live_at_once_and_goes_with_its_pause(world: World) -> None:
    """The frames of a message are there when it has arrived. Redacted, it leaves the live track and the episode with
    its pause and its chapter; all others sound the same."""
    await begin(world, FILES)
    recorded = 0
    for name in ("a", "b", "c"):
        await world.hear(message(world, name, SPEAKERS.get(name, ALICE)))
        await world.work_on()
        recorded += TONES[name].samples
        recording = await session(world, "a")
        async with world.store.read() as db:
            reach = await tracks.reach(db, recording.id)
        assert recorded - 5 * FRAME < reach * FRAME <= recorded
        recorded += PAUSE
    async with world.store.read() as db:
        before = {cut.key: cut.gains for cut in await tracks.cuts(db, recording.id)}
    await world.hear(heard("$r", "m.room.redaction", {}, redacts=EventId("$b"), sender=BOB))
    await world.work_on()
    async with world.store.read() as db:
        cuts = await tracks.cuts(db, recording.id)
    assert [cut.samples for cut in cuts] == [LENGTHS[0], PAUSE, LENGTHS[2]]
    assert all(before[cut.key] == cut.gains for cut in cuts)
    await said(world, "d")
    await end(world)
    made, file = await episode(world, "a")
    assert_tones(world, file, "a", "c", "d")
    assert [mark.at for mark in made.chapters] == [0, to_ms(Samples(LENGTHS[0] + LENGTHS[2] + 2 * PAUSE))]


async def test_a_message_that_comes_late_heals_the_episode(world: World) -> None:
    """A message whose media are away is a gap as long as it was announced; when they come it is heard in its place."""
    media = await begin(world, FILES)
    media.away = {"b"}
    await said(world, *TONES)
    await end(world)
    for _ in range(2):  # the quiet period, and the time that downloads may take
        world.clock.pass_by(DOWNLOADS_MAY_TAKE.total_seconds() + 61)
        await world.work_on()
    made, _ = await episode(world, "a")
    assert made.samples == sum(LENGTHS) - LENGTHS[1] + 48_000 + 3 * PAUSE
    (gap,) = (await ledger_of(world)).gaps
    assert (gap.position, gap.samples) == (LENGTHS[0] + PAUSE, 48_000)
    assert made.loss.samples == 48_000
    media.away = set()
    world.clock.pass_by(7200)
    await world.work_on()
    healed, file = await episode(world, "a")
    assert (healed.guid, healed.loss.samples) == (made.guid, 0)
    assert_tones(world, file, *TONES)
