"""The process may die while it posts a panel, heeds reactions to it, or makes a room: each is done once.

A moderator switches a walkie-talkie on, Alice joins, asks for the floor and gives it back; then Alice has a room made.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from bot import orders
from bot.errors import GiveUp
from bot.event_types import PINNED_EVENTS
from bot.matrix.batch import RoomBatch, SyncBatch
from bot.matrix.sending import Sending
from bot.worker.making_walkie import MakingWalkie
from bot.worker.panels import PuttingButtons, TakingAway
from storage import changes, jobs, rooms, walkies
from storage.place import Place as StorePlace
from storage.records import EventId, Json, RoomId, UserId
from tests.worker.quick import EVERY, without_ffmpeg
from tests.worker.test_kill_points_outside import chat_state, said
from tests.worker.test_kill_points_shown import Place, Wall
from tests.world import ALICE, BOT, ROOM, Killed, Mortal, heard, state

BEN, CARL = UserId("@ben:hs"), UserId("@carl:elsewhere")
CHAT, MADE = RoomId("!chat:hs"), RoomId("!made:hs")
OURS = {"react", "redact", "create", "invite"}
"""The requests that a panel and the making of rooms add."""
KINDS = (orders.PutButtons, orders.TakeAway, orders.MakeWalkie, orders.Notice, orders.Pin)


class Panelled(Wall):
    """A homeserver that makes rooms, shows each in a sync before it answers, and lets nobody invite Carl."""

    def __init__(self) -> None:
        super().__init__()
        self.redacted: list[EventId] = []
        self.made: list[Json] = []
        self.invited: list[UserId] = []
        self.shows: Callable[[Json], Any] | None = None

    async def redact(self, room_id: RoomId, event_id: EventId, *, txn_id: str) -> None:
        async with self.request("redact"):
            if event_id not in self.redacted:
                self.redacted.append(event_id)

    async def create_walkie(self, name: str, marker: Json, levels: Mapping[str, int]) -> RoomId:
        async with self.request("create"):
            self.made.append({"name": name, "levels": levels, **marker})
            assert self.shows is not None
            await self.shows(marker)
        return MADE

    async def joined_rooms(self) -> tuple[RoomId, ...]:
        return (ROOM, MADE) if self.made else (ROOM,)

    async def invite(self, room_id: RoomId, user_id: UserId) -> None:
        async with self.request("invite"):
            if user_id not in (CARL, *self.invited):
                self.invited.append(user_id)
        if user_id == CARL:
            raise GiveUp("the homeserver refused", reason="forbidden")


class Stage(Place):
    """A place with everything that a panel and the making of rooms need."""

    homeserver: Panelled

    def _begin(self) -> None:
        super()._begin()
        store, sending = self.store, cast("Sending", self.homeserver)
        self.handlers[orders.PutButtons.kind] = PuttingButtons(store, sending)
        self.handlers[orders.TakeAway.kind] = TakingAway(store, sending)
        self.handlers[orders.MakeWalkie.kind] = MakingWalkie(store, sending, self.settings, us=BOT, clock=self.clock)
        self.homeserver.shows = self._show

    async def _show(self, marker: Json) -> None:
        made = [
            state("m.room.create", {"room_version": "12", **marker}, sender=BOT),
            state("m.room.power_levels", {"users": {}}, sender=BOT),
            state("m.room.member", {"membership": "join"}, BOT, BOT),
        ]
        await self.intake.take(SyncBatch("t", (RoomBatch(MADE, True, tuple(made), ()),)))


@asynccontextmanager
async def stage(directory: Path) -> AsyncIterator[Stage]:
    store = await Mortal.own(StorePlace(directory))
    assert isinstance(store, Mortal)
    try:
        world = Stage(store, Panelled())
        chat = [*chat_state("join"), state("m.room.power_levels", {}, sender=BOT)]
        async with store.write() as db:
            await rooms.save_direct(db, ALICE, CHAT, world.clock())
        await world.intake.take(SyncBatch("t", (RoomBatch(CHAT, True, tuple(chat), ()),)))
        yield world
    finally:
        await store.close()


async def story(world: Stage) -> None:
    """Told again, it is what the homeserver tells again."""
    powers = {"users": {ALICE: 100, BOT: 100}}
    await world.hear(heard("$powers", "m.room.power_levels", powers, state_key=""))
    await world.hear(said(world, "$on", "walkie on"))
    await world.work()
    panel = next(event for event, body in bodies(world).items() if "🎙️" in body)
    for event_id, key in (("$in", "✅"), ("$ask", "🎙️"), ("$over", "🛑")):
        relation = {"rel_type": "m.annotation", "event_id": panel, "key": key}
        now = round(world.clock().timestamp() * 1000)
        await world.hear(heard(event_id, "m.reaction", {"m.relates_to": relation}, origin_server_ts=now))
    await world.work()
    command = replace(said(world, "$make", f"walkie create Shift {BEN} {CARL}"), room_id=CHAT)
    await world.intake.take(SyncBatch("t", (RoomBatch(CHAT, True, (), (command,)),)))
    await world.work()


def bodies(world: Stage) -> dict[str, str]:
    return {f"${txn}": body for (_, txn), body in world.homeserver.said.items()}


async def outcome(world: Stage) -> dict[str, Any]:
    homeserver = world.homeserver
    async with world.store.read() as db:
        log = await changes.every(db)
        there, made = await walkies.get(db, ROOM), await walkies.get(db, MADE)
        room = await rooms.room(db, MADE)
        waiting = [job.kind for order in KINDS for job in await jobs.unfinished(db, order.kind)]
    assert there is not None
    assert made is not None
    assert room is not None
    return {
        "said": Counter(homeserver.said.values()),
        "buttons": Counter(relation["key"] for relation in homeserver.reactions.values()),
        "under": {bodies(world)[relation["event_id"]] for relation in homeserver.reactions.values()},
        "pinned": [bodies(world).get(pin, pin) for pin in homeserver.states[PINNED_EVENTS][-1]["pinned"]],
        "redacted": homeserver.redacted,
        "made": homeserver.made,
        "invited": homeserver.invited,
        "on": (there.on, there.floor.serial, there.floor.holder, made.on, room.recording_on, room.direct),
        "log": [(change.room_id, change.by, change.what, change.before, change.after) for change in log],
        "waits": waiting,
    }


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    without_ffmpeg(monkeypatch)


async def once_more(directory: Path, dies: Callable[[Stage], None]) -> dict[str, Any]:
    """Run the story until a death, start again, and run the story once more."""
    async with stage(directory) as world:
        await world.join()
        dies(world)
        with pytest.raises(Killed):
            await story(world)
        world.homeserver.left = None
        await world.rise_again()
        await story(world)
        return await outcome(world)


async def undisturbed(directory: Path) -> tuple[dict[str, Any], list[str]]:
    async with stage(directory) as world:
        await world.join()
        await story(world)
        return await outcome(world), list(world.homeserver.asked)


@pytest.mark.parametrize("taken", [False, True], ids=["before", "after"])
async def test_a_death_at_a_request_does_nothing_twice(tmp_path: Path, taken: bool) -> None:
    """Killed before the homeserver took a request, or before its answer was read, one of each kind in turn."""
    expected, asked = await undisturbed(tmp_path / "undisturbed")
    assert expected["buttons"] == Counter(["✅", "🎙️", "🛑", "🚪"] * 2)
    assert expected["redacted"] == ["$in", "$ask", "$over"]
    assert (len(expected["made"]), expected["invited"]) == (1, [ALICE, BEN])
    assert expected["on"] == (True, 1, None, True, True, False)
    assert expected["waits"] == []
    assert sum("I could not invite @carl:elsewhere" in body for body in expected["said"]) == 1
    numbered = [(number, what) for number, what in enumerate(asked, start=1) if what in OURS]
    last_of_each = {what: number for number, what in numbered}
    for number, what in numbered if EVERY == 1 else [(number, what) for what, number in last_of_each.items()]:

        def dies(world: Stage, number: int = number) -> None:
            world.homeserver.left, world.homeserver.taken = number, taken

        assert await once_more(tmp_path / str(number), dies) == expected, f"died at request {number}, {what}"
