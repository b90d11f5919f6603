"""The engine of calls: when the bot joins a call, what it keeps of it, when it leaves, and what a crash costs."""

import pytest

from bot.calls.model import HungUp
from bot.recording.kinds import lay_out
from storage import archive
from storage.records import (
    EndedBy,
    LeftBy,
    RecordingState,
)
from tests.calls.stage import ZOE, Stage
from tests.world import World

S = 48_000


@pytest.fixture
async def stage(world: World) -> Stage:
    made = Stage(world)
    await made.open_room()
    return made


async def test_a_call_is_recorded_from_its_notice_to_its_end(stage: Stage) -> None:
    """The bot shows itself once the room was told, calls who is there, and keeps a stem for each until the end."""
    await stage.call()
    assert await stage.recordings() == []
    await stage.enter(ZOE)
    assert [notice.during for notice in stage.told if notice.opens] == [(await stage.recording()).id]
    assert stage.presence.done == ["shown"]
    leg = await stage.connect(ZOE)
    leg.speak(3)
    await stage.pass_by(3)
    await stage.call(terminated=True)
    recording = await stage.recording()
    assert (recording.ended_by, recording.state) == (EndedBy.STOPPED, RecordingState.COMPLETE)
    (stem,) = recording.stems
    assert (stem.user_id, stem.left_by, stem.received) == (ZOE, LeftBy.ENDED, 3 * S)
    assert stem.blob is not None
    assert leg.is_closed
    assert stage.presence.done == ["shown", "hidden"]
    assert isinstance(stage.sent[-1].message, HungUp)
    async with stage.store.read() as db:
        assert lay_out(recording, await archive.chunks(db, recording.id)).sounds
