"""A room with a member who may broadcast from a studio, and requests below the studio's address."""

import secrets
from dataclasses import replace
from datetime import datetime
from typing import Any

from aiohttp import ClientSession

from bot.dialects.studio import started_id
from bot.feeds.addresses import look_up_hash, token_for
from bot.studio.writing import new_studio
from storage import archive, journal, rooms, studios
from storage.records import HeardEvent, Recording, Room, RoomId, Studio, StudioSource, UserId
from storage.store import Store
from tests.web.world import ALICE, MOD, NOW, World

PAGE = "page-number-one"
OTHER = "page-number-two"
INFO = "io.element.voice_broadcast_info"


async def speaking_room(world: World, **changes: Any) -> Room:
    """Make a room in which Alice, who is no moderator, may broadcast."""
    room = await world.room(**({"told_at": 0} | changes))
    await world.state(room, "m.room.create", {"room_version": "10"})
    await world.state(room, "m.room.power_levels", {"users": {MOD: 100}, "events": {INFO: 0}})
    await world.member(room, ALICE)
    return room


async def studio_in(store: Store, room_id: RoomId, user_id: UserId = ALICE, now: datetime = NOW) -> tuple[Studio, str]:
    """Give a member a studio; return it and its token."""
    token = token_for(secrets.token_bytes(32), room_id, user_id, 0)
    studio = replace(new_studio(room_id, user_id, StudioSource.PAGE, now), token_sha256=look_up_hash(token))
    async with store.write() as db:
        return await studios.add(db, studio), token


class Page:
    """Requests as a studio's page makes them."""

    def __init__(self, world: World, client: ClientSession, studio: Studio, token: str, name: str = PAGE) -> None:
        self.world = world
        self.studio = studio
        self.root = f"/studio/{token}/"
        self.name = name
        self._client = client

    def as_other(self) -> "Page":
        """Return another page with the same address."""
        return Page(self.world, self._client, self.studio, self.root.split("/")[2], OTHER)

    async def ask(self, method: str, name: str, **options: Any) -> tuple[int, dict[str, Any]]:
        async with self._client.request(method, self.root + name, **options) as answer:
            kind = answer.content_type
            return answer.status, await answer.json() if kind == "application/json" else {}

    async def state(self) -> dict[str, Any]:
        status, state = await self.ask("GET", "state")
        assert status == 200, (status, state)
        return state

    async def step(self, step: str, **said: Any) -> tuple[int, dict[str, Any]]:
        return await self.ask("POST", step, json={"client": self.name, **said})

    async def send(self, number: int, sound: bytes = b"sound", **headers: str) -> tuple[int, dict[str, Any]]:
        headers = {"X-Client": self.name, "X-Duration-Ms": "5000"} | headers
        return await self.ask("PUT", f"slice-{number}", data=sound, headers=headers)

    async def now(self) -> Studio:
        """Return the studio as it is stored."""
        async with self.world.store.read() as db:
            studio = await studios.get(db, self.studio.id)
        assert studio is not None
        return studio

    async def heard(self) -> list[HeardEvent]:
        """Return what the journal has of it, in order."""
        async with self.world.store.read() as db:
            return [each for each in await journal.unhandled(db, 1000) if self.studio.key in each.event_id]

    async def recorded(self, **changes: Any) -> Recording:
        """Have its recording begun, as the recorder does."""
        async with self.world.store.read() as db:
            room = await rooms.room(db, self.studio.room_id)
        assert room is not None
        recording = await self.world.recording(room, **changes)
        renamed = replace(recording, event_id=started_id(self.studio))
        async with self.world.store.write() as db:
            await archive.save_recording(db, renamed)
        return renamed


async def page_of(world: World, client: ClientSession, room: Room | None = None) -> Page:
    """Return the page of a new studio."""
    room = room or await speaking_room(world)
    return Page(world, client, *await studio_in(world.store, room.room_id))
