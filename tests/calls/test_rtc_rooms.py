"""Rooms with calls of MatrixRTC as the engine looks at them: what the bot lacks there, and when it looks again."""

import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from bot import orders
from bot.event_types import CALL_MEMBER, RTC_MEMBER
from bot.matrix.batch import RoomBatch, SyncBatch
from storage import jobs
from tests.calls.stage import ZOE, Stage
from tests.calls.wire.test_matrixrtc import in_state, ms, sticky_content
from tests.world import ROOM, World, heard


@pytest.fixture
async def stage(world: World) -> AsyncIterator[Stage]:
    made = Stage(world)
    await made.open_room()
    yield made
    await made.die()


async def next_look(world: World) -> datetime | None:
    async with world.store.read() as db:
        waiting = await jobs.unfinished(db, orders.KeepCalls.kind)
    return min((job.run_at for job in waiting), default=None)


def lacks(stage: Stage) -> list[str]:
    """List the types of events that the bot said it may not send."""
    said = (re.search("does not let me send `(.*?)`", notice.body) for notice in stage.told)
    return [found[1] for found in said if found]


async def enter(stage: Stage, *, expires_s: float) -> None:
    now = stage.world.clock()
    content = {**in_state(ZOE).content, "created_ts": ms(now), "expires": round(expires_s * 1000)}
    await stage.write(CALL_MEMBER, content, f"_{ZOE}_DEV_m.call", ZOE)


async def test_a_room_is_looked_at_when_an_entry_expires(stage: Stage) -> None:
    """The expiry of a member's entry, of which no event tells, has the room looked at: at the time of the first."""
    await stage.levels(50)
    await enter(stage, expires_s=600)
    expires = stage.world.clock() + timedelta(seconds=600)
    assert await next_look(stage.world) == expires
    stage.world.clock.pass_by(600)
    await stage.work()
    assert await next_look(stage.world) is None


async def test_a_room_says_that_the_bot_may_not_send_sticky_events(stage: Stage) -> None:
    """In a call by sticky events alone the bot lacks the level of those messages."""
    await stage.write("m.room.power_levels", {"events": {CALL_MEMBER: 50, RTC_MEMBER: 10}})
    sent = {"origin_server_ts": ms(stage.world.clock()), "msc4354_sticky": {"duration_ms": 60_000}, "sender": ZOE}
    event = heard("$sticky", RTC_MEMBER, sticky_content(ZOE), **sent)
    await stage.world.intake.take(SyncBatch("t", (RoomBatch(ROOM, True, sticky=(event,)),)))
    await stage.work()
    assert lacks(stage) == [RTC_MEMBER]
    assert await stage.recordings() == []


async def test_a_room_says_that_the_bot_may_not_send_state(stage: Stage) -> None:
    """In a call by state the bot lacks the level of that state."""
    await stage.levels(50)
    await enter(stage, expires_s=600)
    assert lacks(stage) == [CALL_MEMBER]
    assert await stage.recordings() == []
