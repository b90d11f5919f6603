"""The choice of a podcast's cover: a posted picture, whatever the homeserver gives for it."""

import asyncio
import hashlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bot import orders
from bot.dialects.redaction import carried_out
from bot.errors import GiveUp
from bot.matrix.media import FetchedMedia
from bot.worker.choosing_cover import ChoosingCover
from bot.worker.room_history import RoomHistory
from storage import changes, journal, rooms
from storage.records import EventId, HeardEvent, Job, JobId, JobState, MediaSource, Room, RoomId, UserId
from tests.blobs import folder_of
from tests.world import ALICE, ROOM, World, heard

PICTURE, COMMAND = EventId("$picture"), EventId("$command")
MODERATOR, MALLORY = UserId("@moderator:hs"), UserId("@mallory:hs")
SHOWN = {"msgtype": "m.image", "body": "a.png", "url": "mxc://hs/a"}
UNUSABLE, NO_PICTURE = "I can't use that picture", "I find no picture"


def png(size: tuple[int, int] = (90, 60)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "red").save(out, "PNG")
    return out.getvalue()


class Homeserver(RoomHistory):
    """A homeserver with one message, and media for it."""

    def __init__(self, data: bytes | GiveUp, event: HeardEvent | GiveUp) -> None:
        self.data, self.answer = data, event

    async def event(self, room_id: RoomId, event_id: EventId) -> HeardEvent:
        if isinstance(self.answer, GiveUp):
            raise self.answer
        return self.answer

    async def download(self, source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
        if isinstance(self.data, GiveUp):
            raise self.data
        await asyncio.to_thread(part.write_bytes, self.data)
        return FetchedMedia(len(self.data), hashlib.sha256(self.data).hexdigest())


def job() -> Job:
    order = orders.ChooseCover(COMMAND, ROOM, ROOM, PICTURE, ALICE).job()
    return Job(JobId(1), order.kind, order.subject, order.payload, JobState.RUNNING, None, 0)  # type: ignore[arg-type]


def message(content: Any = SHOWN, event_id: str = PICTURE, **how: Any) -> HeardEvent:
    return replace(heard(event_id, "m.room.message", content), **how)


async def choose(world: World, data: bytes | GiveUp = b"", event: HeardEvent | GiveUp | None = None) -> str:
    """Let the picture be chosen; return what the room is told."""
    homeserver = Homeserver(data or png(), event or message())
    handler = ChoosingCover(world.store, world.ffmpeg, homeserver, download=homeserver.download, clock=world.clock)
    await handler(job())
    (notice,) = [one for one in await world.waiting(orders.Notice.kind) if one.get("reply_to") == COMMAND]
    assert notice["room_id"] == ROOM
    assert not list(world.store.blobs.scratch.iterdir())
    return str(notice["body"])


async def the_room(world: World) -> Room:
    async with world.store.read() as db:
        room = await rooms.room(db, ROOM)
    assert room is not None
    return room


async def test_a_posted_picture_becomes_the_cover(world: World) -> None:
    """The cover is a square that directories accept; the change is logged and told once, however often it is done."""
    before = await the_room(world)
    assert await choose(world) == "The podcast has a new cover: Alice chose it."
    room = await the_room(world)
    assert room.own_cover is not None
    cover = Image.open(io.BytesIO(folder_of(world.store).read(room.own_cover)))
    assert (cover.format, cover.size) == ("JPEG", (3000, 3000))
    assert room.revision > before.revision
    await choose(world, png((10, 10)))
    assert await the_room(world) == room
    async with world.store.read() as db:
        (change,) = await changes.of_rooms(db, [ROOM])
    assert (change.what, change.by, change.before, change.after) == ("podcast cover", ALICE, "default", "given")


@pytest.mark.parametrize(
    "data",
    [b"<svg/>", png()[:-40], GiveUp("too large", reason="too_large"), GiveUp("gone", reason="not_found")],
    ids=["no picture", "cut off", "too large", "gone"],
)
async def test_a_picture_that_cannot_be_used_changes_nothing(world: World, data: bytes | GiveUp) -> None:
    """The room is told why, and keeps the cover that it had."""
    before = await the_room(world)
    assert (await choose(world, data)).startswith(UNUSABLE)
    assert await the_room(world) == before


@pytest.mark.parametrize(
    "event",
    [
        message({"msgtype": "m.text", "body": "no picture"}),
        message({}),
        message(event_id="$other"),
        replace(message(), event={**message().event, "room_id": "!other:hs"}),
        GiveUp("refused", reason="forbidden"),
    ],
    ids=["a text", "redacted", "another event", "another room", "refused"],
)
async def test_a_message_without_a_picture_is_told(world: World, event: HeardEvent | GiveUp) -> None:
    """Nothing else that the homeserver answers becomes the cover."""
    before = await the_room(world)
    assert (await choose(world, event=event)).startswith(NO_PICTURE)
    assert await the_room(world) == before


async def test_in_an_encrypted_room_the_homeserver_chooses_nothing(world: World) -> None:
    """Only an encrypted message counts there."""
    async with world.store.write() as db:
        await rooms.save_room(db, replace(await the_room(world), encrypted=True))
    assert (await choose(world)).startswith(NO_PICTURE)
    assert (await the_room(world)).own_cover is None


def redaction(by: UserId) -> HeardEvent:
    return heard(f"$redaction{by}", "m.room.redaction", {}, redacts=PICTURE, sender=by)


async def with_moderator(world: World) -> None:
    levels = {"users": {ALICE: 100, MODERATOR: 50}}
    await world.hear(heard("$levels", "m.room.power_levels", levels, state_key=""))


@pytest.mark.parametrize("by", [ALICE, MODERATOR])
async def test_the_redaction_of_the_picture_ends_the_cover(world: World, by: UserId) -> None:
    """By its sender, or by who may redact others, in all rooms of the podcast; the file goes, and the log tells it."""
    await with_moderator(world)
    await choose(world)
    chosen = await the_room(world)
    async with world.store.write() as db:
        await rooms.save_room(db, replace(chosen, room_id=RoomId("!later:hs"), key="later"))
    await world.hear(redaction(by))
    room = await the_room(world)
    assert room == replace(chosen.without_own_cover(), revision=chosen.revision + 1, changed_at=world.clock())
    async with world.store.read() as db:
        later = await rooms.room(db, RoomId("!later:hs"))
        change = (await changes.of_rooms(db, [ROOM]))[0]
    assert later is not None
    assert later.own_cover is None
    assert (change.what, change.by, change.before, change.after) == ("podcast cover", None, "given", "default")
    await world.work()
    assert chosen.own_cover not in world.files()


async def test_a_redaction_by_who_may_not_leaves_the_cover(world: World) -> None:
    """A homeserver may deliver it all the same; one of another room names another event."""
    await with_moderator(world)
    await choose(world)
    before = await the_room(world)
    elsewhere = replace(redaction(ALICE), room_id=RoomId("!other:hs"))
    async with world.store.write() as db:
        await journal.add(db, elsewhere, world.clock())
    await world.hear(redaction(MALLORY))
    assert await the_room(world) == before


async def test_whether_a_redactor_may_is_asked_where_it_is_not_known(world: World) -> None:
    """The homeserver's word ends the cover, as it ends recordings."""
    await choose(world)
    async with world.store.write() as db:
        await rooms.forget_state(db, ROOM)
    await world.hear(redaction(MODERATOR))
    assert (await the_room(world)).own_cover is not None
    assert [order.event_id for order in await world.ordered(orders.Redaction)] == [PICTURE]
    shown = carried_out(message({}))
    assert shown is not None
    async with world.store.write() as db:
        await journal.requeue(db, shown, world.clock())
    await world.settle()
    assert (await the_room(world)).own_cover is None


@pytest.mark.parametrize(("by", "chosen"), [(ALICE, False), (MODERATOR, False), (MALLORY, True)])
async def test_a_picture_that_was_redacted_before_it_was_fetched(world: World, by: UserId, chosen: bool) -> None:
    """The homeserver may still show it: it is no cover all the same, unless the redaction does not count."""
    await with_moderator(world)
    await world.hear(redaction(by))
    assert (await choose(world)).startswith(NO_PICTURE) is not chosen
    assert ((await the_room(world)).own_cover is not None) is chosen
