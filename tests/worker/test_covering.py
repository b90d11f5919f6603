"""A room's picture, whatever the homeserver gives for its avatar."""

import asyncio
import hashlib
import io
from pathlib import Path

from PIL import Image

from bot import orders
from bot.matrix.media import FetchedMedia
from storage import jobs, rooms
from storage.records import BlobKey, MediaSource, Room
from tests.blobs import folder_of
from tests.world import ROOM, World, batch, state

COVER = [orders.Cover.kind]
AVATAR = "mxc://hs/avatar"


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(out, "PNG")
    return out.getvalue()


class Homeserver:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.asked = 0

    async def download(self, source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
        self.asked += 1
        await asyncio.to_thread(part.write_bytes, self.data)
        return FetchedMedia(len(self.data), hashlib.sha256(self.data).hexdigest())


async def the_room(world: World) -> Room:
    async with world.store.read() as db:
        found = await rooms.room(db, ROOM)
    assert found is not None
    return found


async def cover_of(world: World) -> tuple[str, BlobKey]:
    room = await the_room(world)
    assert room.cover_of is not None
    assert room.cover is not None
    assert folder_of(world.store).exists(room.cover)
    return room.cover_of, room.cover


async def with_avatar(world: World, data: bytes) -> Homeserver:
    """Give the room this avatar."""
    homeserver = Homeserver(data)
    world.download = homeserver.download
    await world.intake.take(batch(before=(state("m.room.avatar", {"url": AVATAR}),)))
    async with world.store.write() as db:
        await jobs.add(db, orders.Cover(ROOM).job(), world.clock())
    return homeserver


async def test_one_answer_says_nothing_of_an_avatar(world: World) -> None:
    """A picture is drawn, and the avatar is asked for again after ten seconds."""
    homeserver = await with_avatar(world, b"<html>Sign in</html>")
    while await world.work_one(COVER):
        pass
    assert (await cover_of(world))[0].startswith("drawn: ")
    assert homeserver.asked == 1
    homeserver.data = picture()
    world.clock.pass_by(10)
    assert await world.work_one(COVER)
    assert (await cover_of(world))[0] == AVATAR


async def test_an_avatar_that_is_none_is_asked_for_during_a_week(world: World) -> None:
    """With growing pauses; the picture that is drawn stays the same file."""
    homeserver = await with_avatar(world, b"no picture")
    assert await world.work_one(COVER)
    drawn, began = await cover_of(world), world.clock()
    while True:
        async with world.store.read() as db:
            due = await jobs.next_due(db, COVER)
        if due is None:
            break
        world.clock.now = max(world.clock(), due)
        assert await world.work_one(COVER)
    assert await cover_of(world) == drawn
    assert homeserver.asked == 17
    assert 7 <= (world.clock() - began).days <= 8
