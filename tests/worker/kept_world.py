"""A bot whose homeserver keeps its account data, and a store that is restored."""

import json
from dataclasses import dataclass, field
from typing import cast

from bot import orders
from bot.errors import GiveUp, TryLater
from bot.event_types import WISHES
from bot.intake import catching_up, disclosing
from bot.intake import sealed_wishes as notes
from bot.intake.sealed_wishes import Wishes
from bot.matrix.sending import Sending
from bot.worker.catching_up import CatchingUp
from bot.worker.keeping_wishes import KeepingWishes
from storage import archive, optouts
from storage import kept_wishes as own
from storage.records import EVERYWHERE, Change, EventId, Json, OptOut, Position, Recording, RoomId, UserId
from tests.factories import ALICE, NOW, ROOM
from tests.world import BOT, World

BOB = UserId("@bob:hs")


@dataclass
class Homeserver:
    """A homeserver that keeps the account data of the bot."""

    data: dict[tuple[RoomId | None, str], Json] = field(default_factory=dict)
    written: int = 0
    joined: tuple[RoomId, ...] = (ROOM,)
    trouble: Exception | None = None
    unlisted: Exception | None = None
    withheld: set[RoomId | None] = field(default_factory=set)
    state: list[Json] = field(default_factory=list)

    async def account_data(self, room_id: RoomId | None, kind: str) -> Json | None:
        if self.trouble is not None:
            raise self.trouble
        if room_id in self.withheld:
            raise TryLater("away")
        return self.data.get((room_id, kind))

    async def set_account_data(self, room_id: RoomId | None, kind: str, content: Json) -> None:
        if self.trouble is not None:
            raise self.trouble
        if room_id in self.withheld:
            raise GiveUp("no", reason="too large")
        self.data[room_id, kind] = json.loads(json.dumps(content))
        self.written += 1

    async def room_state(self, room_id: RoomId) -> list[Json]:
        return self.state

    async def joined_rooms(self) -> tuple[RoomId, ...]:
        if self.unlisted is not None:
            raise self.unlisted
        return self.joined


@dataclass
class Keeping:
    """A bot in a public room, and the homeserver that keeps its wishes."""

    world: World
    homeserver: Homeserver = field(default_factory=Homeserver)

    def begin(self) -> KeepingWishes:
        """Make the handler, as a process does that begins."""
        world = self.world
        handler = KeepingWishes(
            world.store,
            cast("Sending", self.homeserver),
            us=BOT,
            apply=world.recorder.apply,
            clock=world.clock,
        )
        world.handlers[orders.KeepWishes.kind] = handler
        world.handlers[orders.CatchUp.kind] = CatchingUp(
            world.store,
            world.settings,
            cast("Sending", self.homeserver),
            us=BOT,
            take_state=world.intake.refresh,
            in_touch=lambda: True,
            apply=world.recorder.apply,
            clock=world.clock,
        )
        return handler

    async def work(self) -> int:
        """Do what waits; return how often something was written."""
        before = self.homeserver.written
        while await self.world.work_one([orders.KeepWishes.kind]):
            pass
        return self.homeserver.written - before

    async def note(
        self, what: str, *, subject: str | None = None, after: str | None = None, everywhere: bool = False
    ) -> None:
        room_id = None if everywhere else ROOM
        async with self.world.store.write() as db:
            await disclosing.note(db, Change(0, self.world.clock(), room_id, ALICE, what, subject, after=after))

    async def opt_out(self, room_id: RoomId = ROOM, user_id: UserId = BOB, position: int = 1) -> None:
        async with self.world.store.write() as db:
            await optouts.add(db, OptOut(user_id, room_id, Position(position), out=True, at=self.world.clock()))
        await self.note("optout", subject=user_id, everywhere=room_id == EVERYWHERE)

    async def kept(self, room_id: RoomId | None = ROOM) -> Wishes | None:
        async with self.world.store.read() as db:
            key = await own.key(db)
        assert key is not None
        return notes.unseal(key, BOT, room_id or EVERYWHERE, self.homeserver.data[room_id, WISHES])

    async def keep(self, wishes: Wishes, room_id: RoomId | None = ROOM) -> None:
        """Let another life of the bot have kept wishes."""
        async with self.world.store.read() as db:
            key = await own.key(db)
        assert key is not None
        self.homeserver.data[room_id, WISHES] = notes.seal(key, BOT, room_id or EVERYWHERE, wishes)

    async def restored(self) -> KeepingWishes:
        """Make the store one that was restored from a backup of now, and begin."""
        async with self.world.store.write() as db:
            await catching_up.begin(db, NOW, NOW)
        return self.begin()

    async def recording(self, event: str) -> Recording:
        async with self.world.store.read() as db:
            found = await archive.recording_by_event(db, EventId(event))
        assert found is not None
        return found
