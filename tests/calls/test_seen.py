"""The bot's own entry in a call, from the engine's side: nobody is recorded who can't see it, and it does not stay."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bot.calls.model import TimePassed
from bot.errors import TryLater
from bot.recording.model import Ended
from storage.records import EndedBy, LeftBy
from tests.calls.stage import YAN, ZOE, Stage
from tests.world import World

S = 48_000


@pytest.fixture
async def stage(world: World) -> AsyncIterator[Stage]:
    made = Stage(world)
    await made.open_room()
    yield made
    await made.die()


async def test_an_entry_that_is_refused_later_ends_the_recording(stage: Stage) -> None:
    """The bot leaves a call whose members see it no more, and tries again once somebody else comes."""
    await stage.call()
    await stage.enter(ZOE)
    leg = await stage.connect(ZOE)
    stage.presence.lost(True)
    await stage.work()
    assert (leg.is_closed, (await stage.recording()).ended_by) == (True, EndedBy.REMOVED)
    await stage.enter(ZOE)
    assert len(await stage.recordings()) == 1
    await stage.enter(YAN)
    assert len(await stage.recordings()) == 2


async def test_nobody_is_recorded_who_does_not_see_the_bot(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the bot's entry can't be kept it is out of the call: a gap in the same recording."""
    monkeypatch.setattr("bot.calls.engine.AGAIN_S", 0)
    await stage.call()
    await stage.enter(ZOE)
    leg = await stage.connect(ZOE)
    leg.speak(3)
    await stage.pass_by(3)
    stage.presence.lost(False)
    await stage.quiet()
    assert leg.is_closed
    (await stage.connect(ZOE)).speak(1)
    await stage.pass_by(1)
    await stage.call(terminated=True)
    (recording,) = await stage.recordings()
    assert [(stem.left_by, stem.received) for stem in recording.stems] == [(LeftBy.LOST, 3 * S), (LeftBy.ENDED, S)]
    assert stage.presence.done == ["shown", "hidden", "shown", "hidden"]


async def test_what_was_to_be_looked_at_is_looked_at_after_the_first_sync(stage: Stage) -> None:
    """A look that comes before the first sync waits for it: a process that died before it could leave leaves then."""
    await stage.call()
    await stage.enter(ZOE)
    await stage.policy(calls_on=False)
    await stage.apply(Ended(EndedBy.SWITCHED_OFF))
    await stage.crash()
    await stage.look()
    stage.presence.lists = False  # the stored state does not tell of the entry yet
    await stage.engine.after_first_sync()
    await stage.work()
    assert stage.presence.done == ["shown", "hidden"]


async def test_an_entry_is_removed_that_nobody_orders_to(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies once a recording has ended by itself, before its entry is removed, removes it after its next
    start, though no call is to be recorded there."""
    monkeypatch.setattr("bot.calls.engine.AGAIN_S", 0.01)
    await stage.call()
    await stage.enter(ZOE)
    await stage.policy(calls_on=False)
    stage.presence.fails = TryLater("the homeserver can't be reached")
    live = stage.live
    assert live is not None
    stage.world.clock.pass_by(121)
    live.take(TimePassed())
    async with asyncio.timeout(60):
        while (await stage.recording()).ended_by is not EndedBy.LIMIT:  # noqa: ASYNC110 (a row is no event)
            await asyncio.sleep(0.01)
    await stage.crash()
    stage.presence.fails = None
    await stage.engine.after_first_sync()
    await stage.work()
    assert stage.presence.done == ["shown", "hidden"]
