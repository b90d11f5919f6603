"""Notices about calls in their room, and what has a room's calls looked at."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from bot import orders
from bot.calls import telling
from bot.errors import GiveUp
from bot.intake import disclosing
from bot.matrix.sending import Sending
from bot.recording.model import Deleted, Ended
from bot.worker.notices import Notices
from storage import archive, calls, rooms
from storage.records import (
    CallProtocol,
    Change,
    EndedBy,
    EventId,
    Json,
    Recording,
    RoomId,
    UserId,
)
from tests.recorder.test_calling import begin, switch_on
from tests.world import ALICE, PREFIX, ROOM, Killed, World, heard, world_of

BEN, CARA = UserId("@ben:hs"), UserId("@cara:hs")


@dataclass
class Homeserver:
    """A room that hears the bot, or refuses to."""

    muted: bool = False
    said: dict[str, Json] = field(default_factory=dict)  # by transaction

    async def send(self, room_id: RoomId, kind: str, content: Json, *, txn_id: str) -> EventId:
        if self.muted:
            raise GiveUp("the homeserver refused: 403 M_FORBIDDEN", reason="forbidden")
        self.said.setdefault(txn_id, content)
        return EventId(f"${txn_id}")


@dataclass
class Told:
    """A call in Alice's room, which is recorded, and what the room heard of it."""

    world: World
    room: Homeserver
    call: Recording

    async def begun(self) -> None:
        async with self.world.store.write() as db:
            await telling.begun(db, self.call, self.world.clock(), prefix=PREFIX)

    async def present(self, *users: UserId) -> None:
        async with self.world.store.write() as db:
            await telling.present(db, self.call.id, users, self.world.clock(), prefix=PREFIX)

    async def heard(self) -> list[Json]:
        """Say all that is due, and return what the room has not heard before."""
        before = len(self.room.said)
        while await self.world.work_one([orders.Notice.kind]):
            pass
        return list(self.room.said.values())[before:]

    async def look(self) -> Recording:
        async with self.world.store.read() as db:
            found = await archive.recording(db, self.call.id)
        assert found is not None
        return found


def speak(world: World, room: Homeserver) -> None:
    """Let the bot say its notices in this room."""
    world.handlers[orders.Notice.kind] = Notices(
        world.store, cast("Sending", room), world.settings, apply=world.recorder.apply, clock=world.clock
    )


@pytest.fixture
async def told(tmp_path: Path) -> AsyncIterator[Told]:
    async with world_of(tmp_path / "data") as world:
        await world.join()
        room = Homeserver()
        speak(world, room)
        while await world.work_one([orders.Notice.kind]):
            pass
        room.said.clear()
        await switch_on(world)
        async with world.store.write() as db:
            await disclosing.note(db, Change(0, world.clock(), ROOM, ALICE, "record calls", before="off", after="on"))
        call = await begin(world)
        assert call is not None
        yield Told(world, room, call)


async def woken(world: World) -> bool:
    return bool(await world.ordered(orders.KeepCalls))


async def test_the_notice_says_who_switched_that_on_and_how_to_object(told: Told) -> None:
    """Once it is in the room its event is known, and the engine is woken: only then is sound received."""
    await told.begun()
    await told.begun()
    assert (await told.look()).notice is None
    (notice,) = await told.heard()
    assert notice["body"] == (
        "I am recording this call. Alice switched that on. The recording is for the members of this room only. If you "
        "do not want to be recorded, say `!aircheck optout`: then I receive no sound of yours. A moderator can stop it "
        "with `!aircheck record calls off`."
    )
    assert notice["m.mentions"] == {}
    assert (await told.look()).notice in {f"${txn_id}" for txn_id in told.room.said}
    assert await woken(told.world)


async def test_the_notice_of_a_chosen_call_names_who_chose_it(told: Told) -> None:
    """By `record call` a moderator decides on one call, whoever decided on all calls before."""
    world = told.world
    async with world.store.write() as db:
        await world.recorder.apply(db, told.call.id, Ended(EndedBy.STOPPED))
        await disclosing.note(db, Change(0, world.clock(), ROOM, BEN, "record call", before="off", after="on"))
    await switch_on(world, calls_on=False, call_wanted=True)
    call = await begin(world)
    assert call is not None
    assert call.chosen
    told.call = call
    await told.begun()
    bodies = [notice["body"] for notice in await told.heard()]
    assert any("@ben:hs switched that on." in body for body in bodies)


async def test_each_member_who_joins_later_is_told_once(told: Told) -> None:
    """Members of before the notice read it; each reply to it mentions one member."""
    await told.begun()
    await told.present(ALICE)
    (notice,) = await told.heard()
    assert "I am recording" in notice["body"]
    await told.present(ALICE, BEN)
    await told.present(ALICE, BEN, CARA)
    await told.present(BEN)
    replies = await told.heard()
    event_id = (await told.look()).notice
    assert [reply["m.mentions"] for reply in replies] == [{"user_ids": [BEN]}, {"user_ids": [CARA]}]
    assert [reply["m.relates_to"] for reply in replies] == [{"m.in_reply_to": {"event_id": event_id}}] * 2
    assert all("this call is recorded" in reply["body"] and "optout" in reply["body"] for reply in replies)
    async with told.world.store.read() as db:
        assert await calls.told(db, told.call.id) == {ALICE, BEN, CARA}


async def test_a_death_at_any_write_tells_a_call_once(told: Told) -> None:
    """The row of a member who is told stands with the reply; a notice is known as the event that it is, though its
    homeserver had it before the death."""
    world, deaths = told.world, 0
    for number in range(1, 8):
        told.call = await another(world)
        before = len(told.room.said)
        world.store.die_at(number, after_commit=False)
        for work in (told.begun, told.heard, partial(told.present, BEN), told.heard):
            try:
                await work()
            except Killed:
                deaths += 1
                await world.rise_again()
                speak(world, told.room)
                await work()
        said = list(told.room.said)[before:]
        notice, reply = (txn_id for txn_id in said if "nothing to hear" not in told.room.said[txn_id]["body"])
        assert (await told.look()).notice == f"${notice}"
        assert told.room.said[reply]["m.relates_to"] == {"m.in_reply_to": {"event_id": f"${notice}"}}
    assert deaths == 7


async def another(world: World) -> Recording:
    """End the call that is recorded, and begin another."""
    async with world.store.write() as db:
        (running,) = await calls.running(db, ROOM)
        await world.recorder.apply(db, running.id, Ended(EndedBy.STOPPED))
    call = await begin(world, EventId(f"$after{running.id}"))
    assert call is not None
    return call


@pytest.mark.parametrize("event", [Ended(EndedBy.SWITCHED_OFF), Deleted()])
async def test_nothing_is_said_of_a_call_that_is_not_recorded_any_more(told: Told, event: Ended | Deleted) -> None:
    """A notice that the homeserver refused until the recording had ended is never sent."""
    told.room.muted = True
    await told.begun()
    assert await told.heard() == []
    async with told.world.store.write() as db:
        await told.world.recorder.apply(db, told.call.id, event)
    told.room.muted = False
    unmuted = heard("$loud", "m.room.power_levels", {"users": {ALICE: 100}}, state_key="")
    await told.world.hear(unmuted)
    assert await told.heard() == []


async def test_silence_is_told_once(told: Told) -> None:
    """The notice is a reply to the first one."""
    await told.begun()
    await told.heard()
    call = await told.look()
    for _ in range(2):
        async with told.world.store.write() as db:
            await telling.silent(db, call, told.world.clock(), seconds=60)
    (notice,) = await told.heard()
    assert notice["body"] == "I am recording this call, but have heard nobody for 60 seconds. Is everybody muted?"
    assert notice["m.relates_to"] == {"m.in_reply_to": {"event_id": call.notice}}


async def test_what_the_bot_lacks_is_told_once(told: Told) -> None:
    """Neither other calls nor changes of the power levels tell it again; a call that was recorded since does."""
    await told.begun()
    await told.heard()
    for number in range(3):
        content = {"users": {ALICE: 100}, "users_default": number}
        await told.world.hear(heard(f"$levels{number}", "m.room.power_levels", content, state_key=""))
        async with told.world.store.write() as db:
            await telling.lacks(db, ROOM, CallProtocol.MSC3401, told.world.clock())
            await telling.unencrypted(db, ROOM, told.world.clock())
    first, channel = await told.heard()
    assert "does not let me send `org.matrix.msc3401.call.member`" in first["body"]
    assert "voice channel" in channel["body"]
    await another(told.world)
    async with told.world.store.write() as db:
        await telling.lacks(db, ROOM, CallProtocol.MSC3401, told.world.clock())
    assert first["body"] in [notice["body"] for notice in await told.heard()]
    async with told.world.store.write() as db:
        await telling.lacks(db, ROOM, CallProtocol.MATRIXRTC, told.world.clock(), sticky=True)
    (sticky,) = await told.heard()
    assert "does not let me send `org.matrix.msc4143.rtc.member`" in sticky["body"]


# ---- what has a room's calls looked at


@pytest.mark.parametrize(
    ("kind", "content", "key"),
    [
        ("org.matrix.msc3401.call", {"m.intent": "m.room", "m.type": "m.voice"}, "c"),
        ("m.room.power_levels", {"users": {ALICE: 100}}, ""),
        ("m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"}, ""),
        ("m.room.member", {"membership": "leave"}, BEN),
    ],
)
async def test_what_concerns_a_call_has_it_looked_at(told: Told, kind: str, content: Json, key: str) -> None:
    """Its members, the power to be one, and encryption."""
    await told.world.hear(heard("$new", kind, content, state_key=key))
    assert await woken(told.world)


async def test_nothing_is_looked_at_where_no_call_is_to_be_recorded(told: Told) -> None:
    """Most rooms record no calls: nothing is ordered for what happens in them."""
    async with told.world.store.write() as db:
        await told.world.recorder.apply(db, told.call.id, Ended(EndedBy.STOPPED))
    await switch_on(told.world, calls_on=False)
    while await told.world.work_one([orders.KeepCalls.kind]):
        pass
    before = len(await told.world.ordered(orders.KeepCalls))
    await told.world.hear(heard("$new", "org.matrix.msc3401.call", {"m.intent": "m.room"}, state_key="c"))
    assert len(await told.world.ordered(orders.KeepCalls)) == before


async def test_a_bot_that_is_removed_leaves_the_call(told: Told) -> None:
    """The room wants nothing any more that it had asked for one call."""
    await switch_on(told.world, call_wanted=True)
    await told.world.hear(joined=False)
    assert await woken(told.world)
    async with told.world.store.read() as db:
        room = await rooms.room(db, ROOM)
    assert room is not None
    assert not room.call_wanted
