"""The wish of a moderator for the call that runs now."""

from collections.abc import AsyncIterator

import pytest

from bot import orders
from bot.event_types import CALL_MEMBER, POWER_LEVELS, RTC_MEMBER
from bot.intake import calls
from bot.recording.model import Ended
from storage import jobs, optouts, rooms
from storage.records import CallProtocol, EndedBy, EventId, OptOut, Position
from tests.calls.stage import ZOE, Stage
from tests.world import ALICE, BOT, ROOM, World


@pytest.fixture
async def stage(world: World) -> AsyncIterator[Stage]:
    made = Stage(world)
    await made.open_room(calls_on=False)
    yield made
    await made.engine.stop()


async def wish(stage: Stage) -> None:
    """Ask for the call that runs now, as `record call` does."""
    await stage.policy(call_wanted=True)
    async with stage.store.write() as db:
        await jobs.add(db, orders.KeepCalls(ROOM).job(), stage.world.clock())
    await stage.work()


async def going_on(stage: Stage) -> dict[CallProtocol, bool | None]:
    async with stage.store.read() as db:
        return await stage.engine.going_on(db, ROOM)


async def is_wished(stage: Stage) -> bool:
    async with stage.store.read() as db:
        room = await rooms.room(db, ROOM)
    assert room is not None
    return room.call_wanted


async def test_the_call_of_a_wish_is_recorded_and_no_other(stage: Stage) -> None:
    """The wish ends with the call's beginning to be recorded; the next call is not."""
    await stage.call()
    assert await going_on(stage) == {}
    await stage.enter(ZOE)
    assert await going_on(stage) == {CallProtocol.MSC3401: False}
    await wish(stage)
    recording = await stage.recording()
    assert recording.chosen
    assert not await is_wished(stage)
    await stage.call(terminated=True)
    await stage.call(call_id="next")
    await stage.enter(ZOE, call_id="next")
    assert [each.id for each in await stage.recordings()] == [recording.id]


async def test_a_wish_for_a_call_that_is_over_is_forgotten(stage: Stage) -> None:
    """A call that begins later is none that a moderator meant."""
    await stage.call()
    await wish(stage)
    assert not await is_wished(stage)
    await stage.enter(ZOE)
    assert await stage.recordings() == []


async def test_a_call_of_members_who_opted_out_does_not_go_on(stage: Stage) -> None:
    """Nobody is in it whose sound may be received."""
    await stage.call()
    await stage.enter(ZOE)
    async with stage.store.write() as db:
        await optouts.add(db, OptOut(ZOE, ROOM, Position(9), True, stage.world.clock(), EventId("$out")))
    assert await going_on(stage) == {}


async def test_a_call_that_was_too_long_is_recorded_again_by_a_wish(stage: Stage) -> None:
    """The limit holds for what the bot does by itself."""
    await stage.policy(calls_on=True)
    await stage.call()
    await stage.enter(ZOE)
    async with stage.store.write() as db:
        await stage.world.recorder.apply(db, (await stage.recording()).id, Ended(EndedBy.LIMIT))
    await stage.work()
    assert len(await stage.recordings()) == 1
    await wish(stage)
    assert len(await stage.recordings()) == 2


async def test_a_wish_that_cannot_be_carried_out_is_for_no_later_call(stage: Stage) -> None:
    """The bot says what it lacks; once it lacks nothing, a moderator asks again."""
    await stage.levels(50)
    await stage.call()
    await stage.enter(ZOE)
    await wish(stage)
    assert any("power" in notice.body for notice in stage.told)
    assert not await is_wished(stage)
    await stage.levels(0)
    await stage.look()
    assert await stage.recordings() == []


async def test_power_counts_for_the_entry_that_the_bot_makes(stage: Stage) -> None:
    """In a call of sticky events the bot needs the power for one, where the homeserver is known to have them; either
    power will do until that is known. Nobody is asked."""
    await stage.join_sticky(ZOE)
    for state, sticky, known, lacks in (
        (50, 0, True, None),
        (50, 0, None, None),
        (50, 0, False, CALL_MEMBER),
        (0, 50, True, RTC_MEMBER),
        (0, 50, None, None),
        (50, 50, None, CALL_MEMBER),
    ):
        await stage.write(POWER_LEVELS, {"users": {ALICE: 100}, "events": {CALL_MEMBER: state, RTC_MEMBER: sticky}})
        stage.known_sticky = known
        assert await going_on(stage) == {CallProtocol.MATRIXRTC: known}
        async with stage.store.read() as db:
            room = await rooms.room(db, ROOM)
            assert room is not None
            told = await calls.hindrance(db, room, CallProtocol.MATRIXRTC, BOT, sticky=known)
        assert (told is None) if lacks is None else (told is not None and lacks in told)


async def test_a_wish_brings_the_bot_back_to_who_was_left(stage: Stage) -> None:
    """A moderator who asks for a call knows who is in it: those with whom the bot was alone, too."""
    await stage.call()
    await stage.enter(ZOE)
    await wish(stage)
    await stage.pass_by(21)
    await stage.pass_by(31)
    assert (await stage.recording()).ended_by is EndedBy.STOPPED
    await wish(stage)
    assert len(await stage.recordings()) == 2
