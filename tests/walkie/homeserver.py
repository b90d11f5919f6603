"""A room with a walkie-talkie on a homeserver that applies power levels, knows delayed events, and may die with the
bot at any request."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from bot import orders
from bot.errors import GiveUp, TryLater
from bot.intake import walkie
from bot.matrix.delayed import DelayedEvents
from bot.matrix.sending import Sending
from bot.settings import WalkieSettings
from bot.walkie import machine
from bot.walkie.model import FloorEvent
from bot.worker.keeping_floor import KeepingFloor
from storage import jobs, walkies
from storage.place import Place
from storage.records import EventId, HeardEvent, Json, Position, RoomId, UserId, Walkie
from tests.clock import Clock
from tests.worker.mortal import MortalHomeserver
from tests.world import BOT, ROOM, Mortal, World, batch, heard, room_state, settings_for, state

LEVELS, FLOOR = "m.room.power_levels", "org.aircheck.walkie.floor"
ANN, BOB, CAT = (UserId(f"@{name}:hs") for name in ("ann", "bob", "cat"))
ALL = (ANN, BOB, CAT)
BEFORE: Json = {
    "users": {BOT: 100, "@alice:hs": 100, ANN: 5},
    "state_default": 50,
    "events": {"m.room.name": 50, "m.reaction": 1},
}
FLOOR_S, GUARD_S = 60.0, 1.0


@dataclass
class Scheduled:
    kind: str
    content: Json
    due: datetime


class Homeserver(MortalHomeserver):
    """The current state of one room, and all that was written to it in the order of the timeline."""

    def __init__(self, clock: Clock, *, longest_ms: int = 86_400_000) -> None:
        super().__init__()
        self.clock = clock
        self.current: dict[tuple[str, str], Json] = {(LEVELS, ""): BEFORE}
        self.written: list[tuple[EventId, str, str, UserId, Json, Json | None]] = []
        self.delayed: dict[str, Scheduled] = {}
        self.longest = longest_ms
        self.between: Json | None = None  # levels that somebody writes just before the bot's next write
        self.told = 0
        self.away = False
        self.failing: dict[str, Exception] = {}  # requests that fail, by their name

    # ---- as the bot's session sees it

    async def state(self, _: RoomId, kind: str) -> Json | None:
        async with self._request(f"get {kind}"):
            pass
        return self.current.get((kind, ""))

    async def set_state(self, _: RoomId, kind: str, content: Json, *, key: str = "") -> EventId:
        async with self._request(f"put {kind}"):
            if len(key.encode()) > 255:
                raise GiveUp("the homeserver refused: 400 M_INVALID_PARAM", reason="refused")
            if self.between is not None and kind == LEVELS:
                between, self.between = self.between, None
                self.write(kind, "", UserId("@alice:hs"), between)
            if not self.may(BOT, 100 if kind == LEVELS else 0):
                raise GiveUp("the homeserver refused: 403 M_FORBIDDEN", reason="forbidden")
            return self.write(kind, key, BOT, content)
        raise AssertionError

    async def replaced(self, _: RoomId, event_id: EventId) -> Json | None:
        async with self._request("replaced"):
            pass
        return next(before for name, *_, before in self.written if name == event_id)

    async def longest_ms(self) -> int:
        return self.longest

    async def schedule(self, _: RoomId, kind: str, content: Json, delay_ms: int) -> str | None:
        async with self._request(f"schedule {kind}"):
            delay_id = f"delay{len(self.asked)}"
            self.delayed[delay_id] = Scheduled(kind, content, self.clock() + timedelta(milliseconds=delay_ms))
        return delay_id

    async def cancel(self, delay_id: str) -> None:
        async with self._request("cancel"):
            self.delayed.pop(delay_id, None)

    async def scheduled(self, _: RoomId, __: object) -> list[str]:
        async with self._request("scheduled"):
            pass
        return list(self.delayed)

    @asynccontextmanager
    async def _request(self, what: str) -> AsyncIterator[None]:
        if self.away:
            raise TryLater("the homeserver can't be reached")
        if what in self.failing:
            raise self.failing[what]
        async with self.request(what):
            yield

    # ---- the room itself

    def write(self, kind: str, key: str, sender: UserId, content: Json) -> EventId:
        event_id = EventId(f"$walkie{len(self.written)}")
        self.written.append((event_id, kind, key, sender, content, self.current.get((kind, key))))
        self.current[kind, key] = content
        if sender != BOT:  # as Synapse does: others' pending events for the same state are cancelled
            self.delayed = {name: event for name, event in self.delayed.items() if event.kind != kind}
        return event_id

    def pass_time(self) -> None:
        """Write the delayed events that are due."""
        for delay_id, event in list(self.delayed.items()):
            if event.due <= self.clock():
                del self.delayed[delay_id]
                self.write(event.kind, "", BOT, event.content)

    @property
    def levels(self) -> Json:
        return self.current[LEVELS, ""]

    @property
    def floor(self) -> Json:
        return self.current.get((FLOOR, ""), {})

    def may(self, user: UserId, level: int | None = None) -> bool:
        """Return whether the homeserver takes a transmission of a member, or what needs this level."""
        needed = self.levels["events"].get("m.room.message", 0) if level is None else level
        return bool(self.levels["users"].get(user, self.levels.get("users_default", 0)) >= needed)

    def speakers(self) -> list[UserId]:
        return [user for user in ALL if self.may(user)]

    def fresh(self) -> list[HeardEvent]:
        """Return what the next sync shows."""
        fresh, self.told = self.written[self.told :], len(self.written)
        return [
            heard(event_id, kind, content, state_key=key, sender=sender)
            for event_id, kind, key, sender, content, _ in fresh
        ]


class Talk(World):
    """A world with a walkie-talkie, over a homeserver that outlives it."""

    def __init__(self, store: Mortal, homeserver: Homeserver) -> None:
        self.homeserver = homeserver
        super().__init__(store, settings_for(store.directory), homeserver.clock)

    def _begin(self) -> None:
        super()._begin()
        self.keeping = KeepingFloor(
            self.store,
            cast("Sending", self.homeserver),
            cast("DelayedEvents", self.homeserver),
            us=BOT,
            terms=WalkieSettings(floor_s=FLOOR_S, guard_s=GUARD_S),
            clock=self.clock,
        )
        self.handlers[orders.KeepFloor.kind] = self.keeping

    async def enter(self) -> None:
        """Let the bot into a room of Alice's with Ann, Bob and Cat."""
        members = [state("m.room.member", {"membership": "join"}, user, user) for user in ALL]
        first = [event for event in room_state(*members) if event["type"] != LEVELS]
        await self.intake.take(batch(before=(*first, state(LEVELS, BEFORE))))

    async def on(self) -> None:
        async with self.store.write() as db:
            await walkie.switch_on(db, ROOM, self.clock(), floor_s=FLOOR_S, guard_s=GUARD_S)
            for user in ALL:
                await walkie.give_permit(db, ROOM, user, until=None, at=Position(1), now=self.clock())

    async def off(self) -> None:
        async with self.store.write() as db:
            await walkie.switch_off(db, ROOM, self.clock())

    async def apply(self, event: FloorEvent) -> None:
        async with self.store.write() as db:
            await walkie.apply(db, ROOM, event, self.clock())

    async def sync(self) -> None:
        """Let the bot hear what was written to the room."""
        if events := self.homeserver.fresh():
            await self.intake.take(batch(*events))
            await self.settle()

    async def keep(self) -> None:
        """Do all that is due for the floor, hearing what comes of it."""
        while True:
            await self.sync()
            if not await self.work_one([orders.KeepFloor.kind]):
                return

    async def later(self, seconds: float) -> None:
        """Let time pass, doing what becomes due on the way."""
        end = self.clock() + timedelta(seconds=seconds)
        while True:
            async with self.store.read() as db:
                due = await jobs.next_due(db, [orders.KeepFloor.kind])
            if due is None or due > end:
                break
            self.clock.now = max(self.clock(), due)
            self.homeserver.pass_time()
            await self.keep()
        self.clock.now = end
        self.homeserver.pass_time()
        await self.keep()

    async def start_again(self) -> None:
        """Start a new process after a death: floors first."""
        self.homeserver.left = None
        await self.rise_again()
        await self.keeping.begin()
        await self.keeping.put_first_right()

    async def row(self) -> Walkie:
        async with self.store.read() as db:
            row = await walkies.get(db, ROOM)
        assert row is not None
        return row

    async def is_known(self) -> bool:
        """Return whether the walkie-talkie was ever switched on."""
        async with self.store.read() as db:
            return await walkies.get(db, ROOM) is not None

    async def check(self) -> None:
        """Check that the homeserver agrees with the row."""
        row, homeserver = await self.row(), self.homeserver
        assert homeserver.speakers() == ([row.floor.holder] if row.floor.holder else [] if row.locked else list(ALL))
        assert homeserver.floor == machine.content(row.floor)
        assert bool(homeserver.delayed) == (row.floor.holder is not None and homeserver.longest > 0)


@asynccontextmanager
async def talk(directory: Path, homeserver: Homeserver | None = None) -> AsyncIterator[Talk]:
    store = await Mortal.own(Place(directory))
    assert isinstance(store, Mortal)
    try:
        yield Talk(store, homeserver or Homeserver(Clock()))
    finally:
        await store.close()


def changed(levels: Json, **changes: Any) -> Json:
    """Return power levels with some entries of their sections changed."""
    return {**levels, **{section: {**levels.get(section, {}), **entries} for section, entries in changes.items()}}
