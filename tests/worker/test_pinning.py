"""The pinned notice: the newest one, where the bot may, and nothing of what others pinned is lost."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest

from bot import orders
from bot.event_types import PINNED_EVENTS
from bot.intake import panels, walkie
from bot.matrix.sending import Sending
from bot.worker.pinning import Pinning
from storage import consent_notices, jobs, rooms
from storage.records import ConsentNotice, EventId, HeardEvent, Json, RoomId
from tests.world import ALICE, BOT, ROOM, Killed, World, batch, heard, room_state, state, world_of

LEVELS = {"users": {ALICE: 100, BOT: 50}}
OLD, NEW, PANEL, THEIRS = EventId("$old"), EventId("$new"), EventId("$panel"), "$theirs"


@dataclass
class Homeserver:
    """A room's pinned events. `meanwhile`: what somebody else writes before the bot's next write arrives."""

    content: Json | None = None
    writes: int = 0
    meanwhile: list[Json] = field(default_factory=list)
    before: list[Json | None] = field(default_factory=list)
    wrote: list[Json] = field(default_factory=list)

    async def state(self, room_id: RoomId, kind: str) -> Json | None:
        assert kind == PINNED_EVENTS
        return self.content

    async def set_state(self, room_id: RoomId, kind: str, content: Json) -> EventId:
        if self.meanwhile:
            self.content = self.meanwhile.pop(0)
        self.before.append(self.content)
        self.wrote.append(content)
        self.content, self.writes = content, self.writes + 1
        return EventId(f"$pins{self.writes}")

    async def replaced(self, room_id: RoomId, event_id: EventId) -> Json | None:
        return self.before[int(event_id.removeprefix("$pins")) - 1]

    async def get_event(self, room_id: RoomId, event_id: EventId) -> HeardEvent:
        return heard(event_id, PINNED_EVENTS, self.wrote[int(event_id.removeprefix("$pins")) - 1], state_key="")


@dataclass
class Board:
    """A room that records, and its pinned events."""

    world: World
    homeserver: Homeserver = field(default_factory=Homeserver)

    def begin(self) -> None:
        self.world.handlers[orders.Pin.kind] = Pinning(
            self.world.store, cast("Sending", self.homeserver), us=BOT, clock=self.world.clock
        )

    async def tell(self, event_id: EventId) -> None:
        """Let the bot have said a notice."""
        self.world.clock.pass_by(1)
        async with self.world.store.write() as db:
            await consent_notices.add(db, ConsentNotice(event_id, ROOM, self.world.clock(), "…"))
            await jobs.add(db, orders.Pin(ROOM).job(), self.world.clock())

    async def record(self, *, on: bool) -> None:
        async with self.world.store.write() as db:
            room = await rooms.room(db, ROOM)
            assert room is not None
            await rooms.save_room(db, replace(room, recording_on=on))
            await jobs.add(db, orders.Pin(ROOM).job(), self.world.clock())

    async def post(self, *, on: bool) -> None:
        """Switch the walkie-talkie on and post its panel, or switch it off."""
        now = self.world.clock()
        async with self.world.store.write() as db:
            if on:
                await walkie.switch_on(db, ROOM, now, floor_s=60, guard_s=1)
                await panels.said(db, ROOM, PANEL, now)
            else:
                await panels.close(db, ROOM, now)
                await walkie.switch_off(db, ROOM, now)

    async def work(self) -> object:
        while await self.world.work_one([orders.Pin.kind]):
            pass
        return (self.homeserver.content or {}).get("pinned")


@pytest.fixture
async def board(tmp_path: Path) -> AsyncIterator[Board]:
    async with world_of(tmp_path / "data") as world:
        await world.join()
        made = Board(world)
        made.begin()
        await world.intake.take(batch(before=room_state(state("m.room.power_levels", LEVELS))))
        yield made


async def test_the_newest_notice_is_pinned_and_replaces_the_older_one(board: Board) -> None:
    """Whatever others pinned stays in its place, and so do other fields."""
    board.homeserver.content = {"pinned": [THEIRS], "org.example": 1}
    await board.tell(OLD)
    assert await board.work() == [THEIRS, OLD]
    await board.tell(NEW)
    assert await board.work() == [THEIRS, NEW]
    assert board.homeserver.content == {"pinned": [THEIRS, NEW], "org.example": 1}


async def test_who_unpins_the_notice_is_heeded(board: Board) -> None:
    """A notice is pinned once."""
    await board.tell(OLD)
    await board.work()
    board.homeserver.content = {"pinned": [THEIRS]}
    await board.world.hear(heard("$levels", "m.room.power_levels", LEVELS, state_key=""))
    assert await board.work() == [THEIRS]


async def test_it_is_pinned_once_the_bot_may(board: Board) -> None:
    """The change of the power levels is enough."""
    await board.world.hear(heard("$low", "m.room.power_levels", {"users": {ALICE: 100}}, state_key=""))
    await board.tell(OLD)
    assert await board.work() is None
    await board.world.hear(heard("$high", "m.room.power_levels", LEVELS, state_key=""))
    assert await board.work() == [OLD]


async def test_a_notice_of_a_room_that_is_not_recorded_any_more_is_unpinned(board: Board) -> None:
    """The pinned notice would tell what is not so."""
    board.homeserver.content = {"pinned": [THEIRS]}
    await board.tell(OLD)
    await board.work()
    await board.record(on=False)
    assert await board.work() == [THEIRS]


async def test_the_panel_of_a_walkie_talkie_is_pinned_beside_the_notice(board: Board) -> None:
    """The panel stays until it is switched off. Its unpinning is heeded, also where a newer notice is pinned later."""
    await board.tell(OLD)
    await board.post(on=True)
    assert await board.work() == [OLD, PANEL]
    board.homeserver.content = {"pinned": [THEIRS, OLD]}
    await board.tell(NEW)
    assert await board.work() == [THEIRS, NEW]
    await board.post(on=False)
    assert await board.work() == [THEIRS, NEW]


async def test_the_panel_is_unpinned_when_it_is_switched_off(board: Board) -> None:
    """A room that records nothing has its panel pinned alone."""
    await board.record(on=False)
    await board.post(on=True)
    assert await board.work() == [PANEL]
    await board.post(on=False)
    assert await board.work() == []


async def test_pins_of_somebody_who_pins_at_the_same_time_are_kept(board: Board) -> None:
    """A list that was written between the bot's reading and its writing is written again."""
    board.homeserver.content = {"pinned": ["$a", "$b"]}
    board.homeserver.meanwhile = [{"pinned": ["$b", "$c"]}]
    await board.tell(NEW)
    assert await board.work() == ["$b", "$c", NEW]
    assert board.homeserver.writes == 2
    board.homeserver.meanwhile = [{"pinned": ["$c", "$d"]}, {"pinned": ["$e"]}]
    await board.tell(OLD)
    assert await board.work() == ["$e", OLD]


async def test_the_notice_of_a_direct_chat_that_is_recorded_is_pinned(board: Board) -> None:
    """An invite may call a room of any size a direct chat."""
    async with board.world.store.write() as db:
        room = await rooms.room(db, ROOM)
        assert room is not None
        await rooms.save_room(db, replace(room, direct=True))
    await board.tell(NEW)
    assert await board.work() == [NEW]


@pytest.mark.parametrize("since", [None, {"pinned": ["$f", NEW]}])
async def test_a_death_before_the_look_loses_no_pin_of_others(board: Board, since: Json | None) -> None:
    """The list that was replaced is read again, unless somebody changed the bot's own list since."""
    board.homeserver.content = {"pinned": ["$a"]}
    board.homeserver.meanwhile = [{"pinned": ["$a", "$b"]}]
    await board.tell(NEW)
    board.world.store.die_at(2, after_commit=True)
    with pytest.raises(Killed):
        await board.work()
    assert board.homeserver.content == {"pinned": ["$a", NEW]}
    board.homeserver.content = since or board.homeserver.content
    await board.world.rise_again()
    board.begin()
    assert await board.work() == (["$f", NEW] if since else ["$a", "$b", NEW])


async def test_a_death_after_the_request_pins_nothing_twice(board: Board) -> None:
    """The present list is read first."""
    await board.tell(NEW)
    board.world.store.die_at(2, after_commit=False)
    with pytest.raises(Killed):
        await board.work()
    await board.world.rise_again()
    board.begin()
    assert await board.work() == [NEW]
    assert board.homeserver.writes == 1
    async with board.world.store.read() as db:
        assert [notice.pinned for notice in await consent_notices.of_room(db, ROOM)] == [True]
