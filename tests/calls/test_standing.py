"""Members whose sound may be received: also of devices in a voice channel whose entry in the state has lapsed."""

from collections.abc import AsyncIterator

import pytest

from bot.calls.model import Device, LegId, Offered, Received
from bot.calls.silence import Told
from bot.event_types import CALL_STATE
from storage import optouts
from storage.records import CallEventKind, CallProtocol, OptOut, Position
from tests.calls.stage import ZOE, FakeLeg, Stage
from tests.world import ROOM, World


@pytest.fixture
async def stage(world: World) -> AsyncIterator[Stage]:
    made = Stage(world)
    await made.open_room()
    yield made
    await made.engine.stop()


async def lapse(stage: Stage) -> FakeLeg:
    """Let Zoe be heard in a voice channel while her entry lapses."""
    stamp = round(stage.world.clock().timestamp() * 1000)
    await stage.write(CALL_STATE, {"join_state": "JOINED", "timestamp": stamp}, "Chrome", ZOE)
    stage.hear(Received("", Device(ZOE, "Chrome"), LegId(""), Offered("their offer")))
    await stage.quiet()
    leg = stage.media.legs[-1]
    leg.connect()
    for _ in range(3):
        leg.speak(10)
        leg.listener._told = Told()  # type: ignore[attr-defined]  # time passes in the test alone
        await stage.pass_by(10)
    await stage.look()
    assert (ROOM, CallProtocol.MXVC) in stage.engine._attendance.live
    assert not leg.is_closed
    return leg


@pytest.mark.parametrize("membership", ["ban", "leave"])
async def test_who_leaves_the_room_is_not_received(stage: Stage, membership: str) -> None:
    """The leg of a member who is banned or leaves is closed, whatever their entry says."""
    leg = await lapse(stage)
    await stage.write("m.room.member", {"membership": membership}, ZOE, ZOE)
    assert leg.is_closed
    assert await stage.events() == [(ZOE, CallEventKind.JOINED), (ZOE, CallEventKind.LEFT)]


@pytest.mark.parametrize("is_taken", [True, False])
async def test_who_objects_is_not_received(stage: Stage, *, is_taken: bool) -> None:
    """The leg of a member who opts out is closed, also if somebody else has taken the name of their device."""
    leg = await lapse(stage)
    if is_taken:
        await stage.write(CALL_STATE, {"join_state": "LEFT"}, "Chrome")
    async with stage.store.write() as db:
        await optouts.add(db, OptOut(ZOE, ROOM, Position(stage.next_position()), True, stage.world.clock()))
    await stage.look()
    assert leg.is_closed
    assert await stage.events() == [(ZOE, CallEventKind.JOINED), (ZOE, CallEventKind.DECLINED)]
