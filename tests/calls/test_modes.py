"""MatrixRTC calls whose members use state, sticky events, or both: the bot records nobody who may not see it."""

from collections.abc import AsyncIterator

import pytest

from bot.calls.wire import matrixrtc_own
from bot.event_types import CALL_MEMBER, POWER_LEVELS, RTC_MEMBER
from storage.records import CallEventKind, CallProtocol, EndedBy, LeftBy
from tests.calls.stage import YAN, ZOE, Stage
from tests.world import ALICE, ROOM, World

JOINED, LEFT, LOST, REJOINED = (
    CallEventKind.JOINED,
    CallEventKind.LEFT,
    CallEventKind.LOST,
    CallEventKind.REJOINED,
)


@pytest.fixture
async def stage(world: World) -> AsyncIterator[Stage]:
    made = Stage(world)
    await made.open_room()
    yield made
    await made.die()


async def may_send(stage: Stage, *, state: bool = True, sticky: bool = True) -> None:
    """Let the room's power levels allow the bot these entries."""
    events = {CALL_MEMBER: 0 if state else 50, RTC_MEMBER: 0 if sticky else 50}
    await stage.write(POWER_LEVELS, {"users": {ALICE: 100}, "events": events})


def is_sticky(stage: Stage) -> bool:
    """Return whether the bot's last entry is a sticky event."""
    assert stage.presence.us is not None
    return matrixrtc_own.is_sticky(stage.presence.us)


async def test_who_reads_state_alone_sees_the_bot_before_they_are_heard(stage: Stage) -> None:
    """The bot leaves a call of sticky events and joins it again by state, in the same recording; it stays there."""
    zoe = await stage.join_sticky(ZOE)
    first = await stage.come(zoe)
    assert is_sticky(stage)
    yan = await stage.join(YAN)
    assert (stage.presence.done, is_sticky(stage)) == (["shown", "hidden", "shown"], False)
    assert first.is_closed
    assert yan not in first.received
    second = await stage.come(zoe)
    await stage.come(yan)
    assert second.received == {zoe, yan}
    await stage.part(YAN)
    (recording,) = await stage.recordings()
    assert [(stem.user_id, stem.left_by) for stem in recording.stems] == [
        (ZOE, LeftBy.LOST),
        (ZOE, None),
        (YAN, LeftBy.LEFT),
    ]
    assert await stage.events() == [(ZOE, JOINED), (ZOE, REJOINED), (YAN, JOINED), (YAN, LEFT)]
    assert len(stage.presence.done) == 3


async def test_who_may_not_see_the_bot_is_not_heard(stage: Stage) -> None:
    """Members who use state are not recorded by a bot that may send sticky events alone, and the room is told why; the
    others are. They are recorded from when the bot gets the power on."""
    await may_send(stage, state=False)
    zoe = await stage.join_sticky(ZOE)
    sfu = await stage.come(zoe)
    yan = await stage.join(YAN)
    await stage.come(yan)
    assert sfu.received == {zoe}
    assert await stage.events() == [(ZOE, JOINED), (YAN, CallEventKind.UNREACHABLE)]
    assert [CALL_MEMBER in notice.body for notice in stage.told if "does not have Yan" in notice.body] == [True]
    assert (await stage.recording()).ended_by is None
    await may_send(stage)
    await stage.come(yan)
    assert (is_sticky(stage), yan in stage.sfu().received) == (False, True)


async def test_the_entry_that_stands_counts_for_the_power_to_be_shown(stage: Stage) -> None:
    """A bot that is shown by state goes on in a call of sticky events, though it may send none; it goes once it may
    not be shown by state either."""
    await may_send(stage, sticky=False)
    await stage.join(YAN)
    zoe = await stage.join_sticky(ZOE)
    await stage.part(YAN)
    await stage.come(zoe)
    assert (await stage.recording()).ended_by is None
    assert stage.presence.done == ["shown"]
    async with stage.store.read() as db:
        assert await stage.engine.going_on(db, ROOM) == {CallProtocol.MATRIXRTC: False}
    await may_send(stage, state=False, sticky=False)
    assert (await stage.recording()).ended_by is EndedBy.REMOVED


async def test_a_homeserver_without_sticky_events(stage: Stage) -> None:
    """The bot is in a call of sticky events by state, as its token names it too, and needs no power for others."""
    stage.has_sticky = False
    await may_send(stage, sticky=False)
    zoe = await stage.join_sticky(ZOE)
    await stage.come(zoe)
    assert [own.identity for own in stage.named] == ["@bot:hs:OURS"]
    assert not is_sticky(stage)
    assert await stage.events() == [(ZOE, JOINED)]


async def test_what_a_bot_lacks_for_a_call_of_sticky_events(stage: Stage) -> None:
    """The room is told which power is missing, and nothing is recorded."""
    await may_send(stage, sticky=False)
    await stage.join_sticky(ZOE)
    assert RTC_MEMBER in stage.told[-1].body
    assert await stage.recordings() == []
