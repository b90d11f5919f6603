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
from tests.world import ROOM, Shell, batch, state

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


async def the_room(stage: Shell) -> Room:
    async with stage.store.read() as db:
        found = await rooms.room(db, ROOM)
    assert found is not None
    return found


async def cover_of(stage: Shell) -> tuple[str, BlobKey]:
    room = await the_room(stage)
    assert room.cover_of is not None
    assert room.cover is not None
    assert stage.store.blobs.exists(room.cover)
    return room.cover_of, room.cover


async def with_avatar(stage: Shell, data: bytes) -> Homeserver:
    """A room whose avatar is this."""
    homeserver = Homeserver(data)
    stage.download = homeserver.download
    await stage.intake.take(batch(before=(state("m.room.avatar", {"url": AVATAR}),)))
    async with stage.store.write() as db:
        await jobs.add(db, orders.Cover(ROOM).job(), stage.clock())
    return homeserver


async def test_one_answer_says_nothing_of_an_avatar(stage: Shell) -> None:
    """A picture is drawn, and the avatar is asked for again after ten seconds."""
    homeserver = await with_avatar(stage, b"<html>Sign in</html>")
    while await stage.work_one(COVER):
        pass
    assert (await cover_of(stage))[0].startswith("drawn: ")
    assert homeserver.asked == 1
    homeserver.data = picture()
    stage.clock.pass_by(10)
    assert await stage.work_one(COVER)
    assert (await cover_of(stage))[0] == AVATAR


async def test_an_avatar_that_is_none_is_asked_for_during_a_week(stage: Shell) -> None:
    """With growing pauses; the picture that is drawn stays the same file."""
    homeserver = await with_avatar(stage, b"no picture")
    assert await stage.work_one(COVER)
    drawn, began = await cover_of(stage), stage.clock()
    while True:
        async with stage.store.read() as db:
            due = await jobs.next_due(db, COVER)
        if due is None:
            break
        stage.clock.now = max(stage.clock(), due)
        assert await stage.work_one(COVER)
    assert await cover_of(stage) == drawn
    assert homeserver.asked == 17
    assert 7 <= (stage.clock() - began).days <= 8
