"""Members of a walkie-talkie on a real homeserver, by plain requests, and a bot that keeps its floor."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from bot.app import Aircheck
from bot.demo.client_api import CLIENT, ClientApi, Refused, part, room_path
from bot.demo.synapse import Homeserver
from bot.event_types import POWER_LEVELS
from bot.intake import walkie
from bot.process import utc_now
from bot.walkie.model import FloorEvent
from storage import rooms, walkies
from storage.records import Json, RoomId, UserId, Walkie
from tests.lab import PASSWORD
from tests.line.world import World, until

FLOOR, PERMIT, REQUEST = (f"org.aircheck.walkie.{name}" for name in ("floor", "permit", "request"))
LEVELS = "m.room.power_levels"

_numbers = itertools.count(1)


class Member:
    """An account with one device, without encryption. Use `member()`."""

    def __init__(self, user_id: str, api: ClientApi) -> None:
        self.user_id = UserId(user_id)
        self.api = api
        self._sent = itertools.count(1)

    async def create(self, version: str, bot: str, *invited: str) -> str:
        """Create a room in which the bot has the power of an administrator."""
        users = {bot: 100} if version == "12" else {bot: 100, self.user_id: 100}
        body = {
            "room_version": version,
            "preset": "private_chat",
            "invite": [bot, *invited],
            "power_level_content_override": {"users": users},
        }
        return str((await self.api.call("POST", f"{CLIENT}/createRoom", body))["room_id"])

    async def join(self, room: str, via: str | None = None) -> None:
        await self.api.call("POST", f"{CLIENT}/join/{part(room)}" + (f"?server_name={part(via)}" if via else ""), {})

    async def permit(self, room: str, **content: Any) -> None:
        """Set the permit of the own client."""
        whole = {"receive": True, "send": True, "expires_ts": None, **content}
        await self.api.call("PUT", room_path(room, "state", PERMIT, self.user_id), whole)

    async def ask(self, room: str) -> None:
        """Ask for the floor."""
        await self._send(room, REQUEST, {"device_id": "PHONE"})

    async def say(self, room: str, body: str) -> bool:
        """Send a message; return whether the homeserver took it. Any refusal but that of missing power is an error."""
        try:
            await self._send(room, "m.room.message", {"msgtype": "m.text", "body": body})
        except Refused as refused:
            if refused.errcode != "M_FORBIDDEN":
                raise
            return False
        return True

    async def state(self, room: str, kind: str, key: str = "") -> Json:
        return await self.api.call("GET", room_path(room, "state", kind) + f"/{part(key)}")

    async def messages(self, room: str) -> list[str]:
        """Return the newest bodies of messages as this homeserver shows them."""
        page = await self.api.call("GET", room_path(room, "messages") + "?dir=b&limit=50")
        return [event["content"]["body"] for event in page["chunk"] if event["type"] == "m.room.message"]

    async def sees(self, room: str, kind: str, check: Callable[[Json], bool]) -> Json:
        """Wait until this homeserver shows state of a type that passes the check."""
        async with asyncio.timeout(60):
            while not check(found := await self.state(room, kind)):  # noqa: ASYNC110 (another server's state)
                await asyncio.sleep(0.01)
        return found

    async def hears(self, room: str, body: str) -> None:
        """Wait until this homeserver shows a message."""
        async with asyncio.timeout(60):
            while body not in await self.messages(room):  # noqa: ASYNC110 (another server's timeline)
                await asyncio.sleep(0.02)

    async def _send(self, room: str, kind: str, content: Json) -> None:
        await self.api.call("PUT", room_path(room, "send", kind, f"t{next(self._sent)}"), content)


@asynccontextmanager
async def members(*places: tuple[Homeserver, str]) -> AsyncIterator[list[Member]]:
    """Register accounts on their homeservers and log them in."""
    made: list[Member] = []
    try:
        for homeserver, name in places:
            localpart = f"{name}-walkie{next(_numbers)}-{os.getpid()}"
            user_id = await homeserver.register(localpart, PASSWORD)
            login = {
                "type": "m.login.password",
                "identifier": {"type": "m.id.user", "user": user_id},
                "password": PASSWORD,
            }
            address = f"{homeserver.address}{CLIENT}/login"
            async with aiohttp.ClientSession() as http, http.post(address, json=login) as answer:
                token = (await answer.json())["access_token"]
            made.append(Member(user_id, ClientApi(homeserver.address, token)))
        yield made
    finally:
        for member in made:
            await member.api.close()


class Bot:
    """A running bot, and the walkie-talkie of one room."""

    def __init__(self, aircheck: Aircheck, room: str, world: World) -> None:
        self.store = aircheck.store
        self._delayed = aircheck.session.delayed
        self.room = RoomId(room)
        self._world = world

    async def joined(self, *users: str) -> None:
        """Wait until the bot is in the room and knows these members."""

        async def check() -> bool | None:
            async with self.store.read() as db:
                known = await rooms.member_states(db, self.room, users)
                room = await rooms.room(db, self.room)
            return True if room and room.joined and len(known) == len(users) else None

        await until(self.store, check)

    async def switch(self, *, on: bool) -> None:
        """Switch the walkie-talkie, and wait until the homeserver has its levels."""
        now, terms = utc_now(), self._world.settings.walkie
        async with self.store.write() as db:
            if on:
                await walkie.switch_on(db, self.room, now, floor_s=terms.floor_s, guard_s=terms.guard_s)
            else:
                await walkie.switch_off(db, self.room, now)
        await self.when(lambda row: row.locked == on)

    async def permitted(self, *users: UserId) -> None:
        """Wait until the bot has heard the permits of these members."""

        async def check() -> bool | None:
            async with self.store.read() as db:
                found = [await walkie.permit_of(db, self.room, user) for user in users]
            return True if all(found) else None

        await until(self.store, check)

    async def when(self, check: Callable[[Walkie], bool]) -> Walkie:
        """Wait until the row passes a check."""

        async def look() -> Walkie | None:
            async with self.store.read() as db:
                row = await walkies.get(db, self.room)
            return row if row is not None and check(row) else None

        return await until(self.store, look)

    async def granted(self, serial: int) -> UserId:
        """Wait until the homeserver shows the floor of a grant; return its holder."""
        row = await self.when(lambda row: row.floor.serial >= serial and (row.shown or {}).get("holder") is not None)
        assert row.floor.holder is not None
        return row.floor.holder

    async def waits(self, user: UserId) -> None:
        """Wait until this member alone is in the queue."""
        await self.when(lambda row: [request.user for request in row.floor.queue] == [user])

    async def free(self) -> None:
        """Wait until nobody has the floor, and nobody is to have it."""
        await self.when(lambda row: (row.shown or {"holder": ""})["holder"] is None and row.floor.holder is None)

    async def nothing_stale(self) -> None:
        """Wait until the releases of former holders are cancelled, which is done after the next one has the floor."""
        await self.when(lambda row: row.delayed is not None and not row.delayed.stale)

    async def nothing_scheduled(self) -> None:
        """Wait until the homeserver has no delayed event of the bot's for the room."""
        async with asyncio.timeout(60):
            while await self._delayed.scheduled(self.room, {FLOOR, POWER_LEVELS}):  # noqa: ASYNC110 (the homeserver's state)
                await asyncio.sleep(0.05)

    async def scheduled(self) -> int:
        """Return the number of the bot's delayed events for the room."""
        return len(await self._delayed.scheduled(self.room, {FLOOR, POWER_LEVELS}))

    async def apply(self, event: FloorEvent) -> None:
        async with self.store.write() as db:
            await walkie.apply(db, self.room, event, utc_now())
