"""A call in which only clients that have died are listed: the bot leaves it, and does not come back for them."""

from collections.abc import AsyncIterator

import pytest

from storage.records import EndedBy
from tests.calls.stage import YAN, ZOE, Stage
from tests.world import World


@pytest.fixture
async def stage(world: World) -> AsyncIterator[Stage]:
    made = Stage(world)
    await made.open_room()
    yield made
    await made.engine.stop()


async def leave_alone(stage: Stage) -> None:
    """Let a device be listed that never answers, until the bot has left."""
    await stage.call()
    await stage.enter(ZOE)
    await stage.pass_by(21)
    await stage.pass_by(31)
    assert (await stage.recording()).ended_by is EndedBy.STOPPED


async def test_the_dead_are_not_joined_again(stage: Stage) -> None:
    """Whatever else happens in the room, the bot begins nothing anew with devices that it has waited for in vain."""
    await leave_alone(stage)
    await stage.levels(0)
    await stage.enter(ZOE)
    assert len(await stage.recordings()) == 1


@pytest.mark.parametrize("leaves", [True, False])
async def test_whoever_comes_is_joined(stage: Stage, *, leaves: bool) -> None:
    """A device that comes, or comes back, is recorded."""
    await leave_alone(stage)
    if leaves:
        await stage.leave(ZOE)
        await stage.enter(ZOE)
    else:
        await stage.enter(YAN)
    assert len(await stage.recordings()) == 2
    assert stage.live is not None


async def stay_too_long(stage: Stage) -> None:
    """Let Zoe be in a call that is longer than a recording may be."""
    await stage.call()
    await stage.enter(ZOE)
    (await stage.connect(ZOE)).speak(1)
    await stage.pass_by(121)
    assert (await stage.recording()).ended_by is EndedBy.LIMIT


async def test_another_conversation_is_joined(stage: Stage) -> None:
    """A call that was too long is joined again once nobody is in it who was in it then, though somebody always was."""
    await stay_too_long(stage)
    await stage.enter(YAN)
    assert len(await stage.recordings()) == 1
    await stage.leave(ZOE)
    assert len(await stage.recordings()) == 2


async def test_an_entry_that_lapses_ends_a_conversation(stage: Stage) -> None:
    """No event tells that an entry has lapsed: the bot looks by itself, and joins whoever comes after that."""
    await stay_too_long(stage)
    await stage.look()
    await stage.pass_by(3600)
    await stage.enter(ZOE)
    assert len(await stage.recordings()) == 2


async def test_an_outage_of_the_network_ends_nothing(stage: Stage) -> None:
    """The bot does not take itself for alone while the homeserver does not answer, and calls who was there anew."""
    await stage.call()
    await stage.enter(ZOE)
    leg = await stage.connect(ZOE)
    stage.in_touch = False
    leg.listener.ended()
    for _ in range(2):
        await stage.pass_by(40)
    assert stage.live is not None
    stage.in_touch = True
    await stage.pass_by(1)
    leg = await stage.connect(ZOE)
    assert len(await stage.recordings()) == 1
    assert [what for _, what in await stage.events()] == ["joined", "lost", "rejoined"]
