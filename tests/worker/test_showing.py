"""The state event `org.aircheck.room`: written when its facts change, where the bot may, and once."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from bot import orders
from bot.commands.handle import Commands
from bot.event_types import DISCLOSURE
from bot.matrix.batch import Invite, SyncBatch
from bot.matrix.sending import Sending
from bot.worker.showing import SAME_AGAIN_AFTER, ShowingRoom
from storage.records import EventId, HeardEvent, Json, RoomId
from tests.factories import always
from tests.world import ALICE, BOT, PREFIX, ROOM, Killed, World, batch, heard, room_state, state, world_of

POWERFUL = state("m.room.power_levels", {"users": {ALICE: 100, BOT: 50}})


@dataclass
class Homeserver:
    """A homeserver that keeps the state event that the bot writes."""

    content: Json | None = None
    written: list[Json] = field(default_factory=list)

    async def state(self, room_id: RoomId, kind: str) -> Json | None:
        assert kind == DISCLOSURE
        return self.content

    async def set_state(self, room_id: RoomId, kind: str, content: Json) -> EventId:
        self.content = content
        self.written.append(content)
        return EventId(f"$state{len(self.written)}")


@dataclass
class Shown:
    """A bot in Alice's room, and what its homeserver has been told of it."""

    world: World
    homeserver: Homeserver = field(default_factory=Homeserver)

    def begin(self) -> None:
        world = self.world
        commands = Commands(world.store, world.settings, always(b"s" * 32), world.clock, apply=world.recorder.apply)
        world.handlers[orders.Command.kind] = commands
        sending = cast("Sending", self.homeserver)
        world.handlers[orders.ShowRoom.kind] = ShowingRoom(
            world.store, sending, us=BOT, max_days=None, clock=world.clock
        )

    async def invited(self, *more: Json, direct: bool = False) -> None:
        await self.world.intake.take(SyncBatch("t", invites=(Invite(ROOM, ALICE, direct=direct, encrypted=False),)))
        await self.world.intake.take(batch(before=room_state(*more)))

    async def work(self) -> list[Json]:
        """Do all that is due; return what was written since."""
        before = len(self.homeserver.written)
        while await self.world.work_one([orders.ShowRoom.kind]):
            pass
        return self.homeserver.written[before:]

    async def say(self, name: str, words: str) -> list[Json]:
        """Let Alice say a command."""
        content = {"msgtype": "m.text", "body": f"{PREFIX} {words}"}
        now = round(self.world.clock().timestamp() * 1000)
        await self.world.hear(heard(name, "m.room.message", content, origin_server_ts=now))
        while await self.world.work_one([orders.Command.kind]):
            pass
        return await self.work()

    def event(self, content: Json, sender: str = BOT) -> HeardEvent:
        self.homeserver.content = content
        return heard(f"$shown{len(self.homeserver.written)}{sender}", DISCLOSURE, content, state_key="", sender=sender)


@pytest.fixture
async def shown(tmp_path: Path) -> AsyncIterator[Shown]:
    async with world_of(tmp_path / "data") as world:
        made = Shown(world)
        made.begin()
        yield made


async def test_each_change_is_shown_once(shown: Shown) -> None:
    """Recording, visibility and who changed it; commands that change nothing write nothing."""
    await shown.invited(POWERFUL)
    (waits,) = await shown.work()
    assert (waits["records"], waits["visibility"], waits["retention"]) == ([], "private", "forever")
    shown.world.clock.pass_by(1)
    (on,) = await shown.say("$on", "record on")
    now = round(shown.world.clock().timestamp() * 1000)
    assert on == {"records": ["broadcasts"], "visibility": "private", "retention": "forever", "since": now, "by": ALICE}
    await shown.world.hear(shown.event(on))
    assert await shown.say("$again", "record on") == []
    (public,) = await shown.say("$public", "publish public")
    assert public == {**on, "visibility": "public"}
    shown.world.clock.pass_by(1)
    (off,) = await shown.say("$off", "record off")
    assert (off["records"], off["since"]) == ([], now + 1000)


async def test_it_is_written_as_soon_as_the_bot_may(shown: Shown) -> None:
    """Without the power nothing is tried; the change of the power levels is enough."""
    await shown.invited()
    assert await shown.say("$on", "record on") == []
    levels = {"users": {ALICE: 100}, "events": {DISCLOSURE: 0}}
    await shown.world.hear(heard("$levels", "m.room.power_levels", levels, state_key=""))
    assert [content["records"] for content in await shown.work()] == [["broadcasts"]]


async def test_somebody_elses_event_is_put_right_without_a_fight(shown: Shown) -> None:
    """The same content is written again at once the first time, and after ten minutes when it is replaced again."""
    await shown.invited(POWERFUL)
    await shown.say("$on", "record on")
    shown.world.clock.pass_by(SAME_AGAIN_AFTER.total_seconds())
    (ours,) = shown.homeserver.written[-1:]
    await shown.world.hear(shown.event(ours))
    assert await shown.work() == []
    await shown.world.hear(shown.event({"records": []}, ALICE))
    assert await shown.work() == [ours]
    await shown.world.hear(shown.event({"records": ["calls"]}, ALICE))
    assert await shown.work() == []
    shown.world.clock.pass_by(SAME_AGAIN_AFTER.total_seconds() * 1.3)
    assert await shown.work() == [ours]
    await shown.world.hear(shown.event({"records": [1]}, ALICE))
    (changed,) = await shown.say("$off", "record off")
    assert changed["records"] == []


async def test_a_death_after_the_request_writes_nothing_twice(shown: Shown) -> None:
    """The room's present state is asked for before it is written."""
    await shown.invited(POWERFUL)
    shown.world.store.die_at(2, after_commit=False)
    with pytest.raises(Killed):
        await shown.work()
    assert len(shown.homeserver.written) == 1
    await shown.world.rise_again()
    shown.begin()
    assert await shown.work() == []


async def test_a_direct_chat_that_is_recorded_is_shown_like_any_room(shown: Shown) -> None:
    """An invite may call a room of any size a direct chat."""
    await shown.invited(POWERFUL, direct=True)
    (on,) = await shown.say("$on", "record on")
    assert (on["records"], on["by"]) == (["broadcasts"], ALICE)
    await shown.world.hear(shown.event(on))
    (off,) = await shown.say("$off", "record off")
    assert off["records"] == []


async def test_a_redacted_event_is_written_again(shown: Shown) -> None:
    """Clients would read nothing there until the next change of a setting."""
    await shown.invited(POWERFUL)
    (on,) = (await shown.say("$on", "record on"))[-1:]
    ours = shown.event(on)
    await shown.world.hear(ours)
    shown.world.clock.pass_by(SAME_AGAIN_AFTER.total_seconds())
    shown.homeserver.content = {}
    await shown.world.hear(heard("$r", "m.room.redaction", {"redacts": ours.event_id}, redacts=ours.event_id))
    assert await shown.work() == [on]


async def test_chats_and_rooms_that_the_bot_left_are_not_written_to(shown: Shown) -> None:
    """A mere chat has no such event, and a room without the bot gets none."""
    await shown.invited(POWERFUL, direct=True)
    assert await shown.work() == []
    await shown.world.hear(heard("$k", "m.room.member", {"membership": "leave"}, state_key=BOT), joined=False)
    await shown.invited(POWERFUL)
    await shown.world.hear(heard("$bye", "m.room.member", {"membership": "leave"}, state_key=BOT), joined=False)
    assert await shown.work() == []
