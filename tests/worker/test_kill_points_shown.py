"""The process may die while it shows a room what is recorded: state, pin, notice and reaction are there once.

Recording is switched off and on again, and a broadcast begins.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from bot import orders
from bot.event_types import DISCLOSURE, PINNED_EVENTS
from bot.matrix.sending import Sending
from bot.worker.pinning import Pinning
from bot.worker.reacting import Reacting
from bot.worker.showing import ShowingRoom
from storage import changes, consent_notices, jobs
from storage.place import Place as StorePlace
from storage.records import EventId, HeardEvent, Json, RoomId
from tests.worker.quick import EVERY, numbered, without_ffmpeg
from tests.worker.test_kill_points_outside import Homeserver, Town, said
from tests.world import ALICE, BOT, ROOM, START, Killed, Mortal, heard

SHOWING = (orders.ShowRoom, orders.Pin, orders.React, orders.Notice)
THEIRS = "$theirs"
"""An event that somebody else has pinned."""


class Wall(Homeserver):
    """A homeserver that holds the state of a room, and what each state event replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.states: dict[str, list[Json]] = {PINNED_EVENTS: [{"pinned": [THEIRS]}]}
        self.reactions: dict[str, Json] = {}  # by transaction

    async def send(self, room_id: RoomId, kind: str, content: Json, *, txn_id: str) -> EventId:
        if kind != "m.reaction":
            return await super().send(room_id, kind, content, txn_id=txn_id)
        async with self.request("react"):
            self.reactions.setdefault(txn_id, content["m.relates_to"])
        return EventId(f"${txn_id}")

    async def state(self, room_id: RoomId, kind: str) -> Json | None:
        async with self.request("state"):
            return self.states[kind][-1] if kind in self.states else None

    async def set_state(self, room_id: RoomId, kind: str, content: Json) -> EventId:
        async with self.request("set_state"):
            self.states.setdefault(kind, []).append(content)
            return EventId(f"${kind}/{len(self.states[kind])}")

    async def replaced(self, room_id: RoomId, event_id: EventId) -> Json | None:
        kind, _, number = event_id.removeprefix("$").partition("/")
        return self.states[kind][int(number) - 2] if int(number) > 1 else None

    async def get_event(self, room_id: RoomId, event_id: EventId) -> HeardEvent:
        kind, _, number = event_id.removeprefix("$").partition("/")
        return heard(event_id, kind, self.states[kind][int(number) - 1], state_key="")


class Place(Town):
    """A town that shows what is recorded."""

    homeserver: Wall

    def _begin(self) -> None:
        super()._begin()
        store, sending, clock = self.store, cast("Sending", self.homeserver), self.clock
        self.handlers[orders.ShowRoom.kind] = ShowingRoom(store, sending, us=BOT, max_days=None, clock=clock)
        self.handlers[orders.Pin.kind] = Pinning(store, sending, us=BOT, clock=clock)
        self.handlers[orders.React.kind] = Reacting(store, sending)


@asynccontextmanager
async def place(directory: Path) -> AsyncIterator[Place]:
    store = await Mortal.own(StorePlace(directory))
    assert isinstance(store, Mortal)
    try:
        yield Place(store, Wall())
    finally:
        await store.close()


async def story(world: Place) -> None:
    """Alice lets the bot write state, switches recording off and on, and goes live. Told again, it is what the
    homeserver tells again."""
    powers = {"users": {ALICE: 100, BOT: 100}}
    await world.hear(heard("$powers", "m.room.power_levels", powers, state_key=""))
    await world.work()
    for words in ("record off", "record on"):
        await world.hear(said(world, f"${words[7:]}", words))
        await world.work()
    await world.begin()
    await world.work()


async def outcome(world: Place) -> dict[str, Any]:
    homeserver = world.homeserver
    bodies = {f"${txn}": body for (_, txn), body in homeserver.said.items()}
    async with world.store.read() as db:
        log = await changes.of_rooms(db, [ROOM])
        notices = await consent_notices.of_room(db, ROOM)
        return {
            "said": Counter(bodies.values()),
            "shown": {key: value for key, value in homeserver.states[DISCLOSURE][-1].items() if key != "since"},
            "pinned": [bodies.get(pin, pin) for pin in homeserver.states[PINNED_EVENTS][-1]["pinned"]],
            "reactions": list(homeserver.reactions.values()),
            "log": [(change.by, change.what, change.before, change.after) for change in log],
            "notices": [(notice.body, notice.pinned) for notice in notices],
            "waits": [job.subject for order in SHOWING for job in await jobs.unfinished(db, order.kind)],
        }


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    without_ffmpeg(monkeypatch)


async def undisturbed(directory: Path) -> tuple[dict[str, Any], int, list[str]]:
    """Run the undisturbed story; return its outcome, its writes and its requests."""
    async with place(directory) as world:
        await world.join()
        world.store.die_at(-1, after_commit=False)
        await story(world)
        assert world.store.left is not None
        return await outcome(world), -1 - world.store.left, list(world.homeserver.asked)


async def once_more(directory: Path, dies: Callable[[Place], None]) -> dict[str, Any]:
    """Run the story until a death, start again, and run the story once more."""
    async with place(directory) as world:
        await world.join()
        dies(world)
        with pytest.raises(Killed):
            await story(world)
        world.homeserver.left = None
        await world.rise_again()
        await story(world)
        return await outcome(world)


@pytest.mark.parametrize("taken", [False, True], ids=["before", "after"])
async def test_a_death_at_a_request_shows_nothing_twice(tmp_path: Path, taken: bool) -> None:
    """Killed before the homeserver took a request, or before its answer was read, every third one in turn."""
    expected, _, asked = await undisturbed(tmp_path / "undisturbed")
    assert {"send", "react", "set_state"} <= set(asked)
    (newest,) = [body for body, pinned in expected["notices"] if pinned]
    assert expected["pinned"] == [THEIRS, newest]
    assert expected["shown"]["records"] == ["broadcasts"]
    assert [relation["event_id"] for relation in expected["reactions"]] == [START]
    assert expected["waits"] == []
    for number, what in numbered(asked):

        def dies(world: Place, number: int = number) -> None:
            world.homeserver.left, world.homeserver.taken = number, taken

        assert await once_more(tmp_path / str(number), dies) == expected, f"died at request {number}, {what}"


async def test_a_death_at_a_write_shows_nothing_twice(tmp_path: Path) -> None:
    """Killed at every few writes in turn: nothing is shown twice, and nothing is left unshown."""
    expected, writes, _ = await undisturbed(tmp_path / "undisturbed")
    for number in range(1, writes + 1, 2 * EVERY):

        def dies(world: Place, number: int = number) -> None:
            world.store.die_at(number, after_commit=False)

        assert await once_more(tmp_path / str(number), dies) == expected, f"died at write {number}"
