"""Events of a studio in its room, on a real homeserver."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from bot.app import Aircheck
from bot.demo.people import Person
from bot.demo.received import Received
from bot.demo.slicing import Slice, Slicer, speech
from bot.dialects.studio import started_id
from bot.event_types import MSC3888_CHUNK, MSC3888_INFO, POWER_LEVELS
from bot.recording.model import Change
from bot.studio.writing import Writing, new_studio
from storage import archive, rooms, studio_events, studios
from storage.private import synced
from storage.records import BlobKey, Recording, RecordingState, RoomId, Studio, StudioSource, UserId
from storage.store import Store
from tests.lab import People
from tests.line.conftest import Worlds
from tests.line.world import World, move_in, recorded, until

CLIENT = "page"


def slices_of(packets: Sequence[bytes]) -> list[Slice]:
    """Cut speech into slices of some seconds, the last of which ends the stream."""
    slicer = Slicer(1234, chunk_seconds=5)
    return [*slicer.feed(packets), slicer.end()]


class Client:
    """A page that broadcasts from a studio, over the store of a bot that runs."""

    def __init__(self, store: Store, writing: Writing, studio: Studio) -> None:
        self._store = store
        self._writing = writing
        self.studio = studio
        self.sent = 0

    @property
    def broadcast_id(self) -> str:
        return started_id(self.studio)

    async def start(self) -> None:
        await self._writing.start(self.studio.id, CLIENT)

    async def send(self, pieces: Sequence[Slice]) -> None:
        for piece in pieces:
            self.sent += 1
            file = self._store.blobs.part(f"slice-{self.sent}")
            await asyncio.to_thread(_write, file, piece.data)
            blob = BlobKey(hashlib.sha256(piece.data).hexdigest())
            await self._writing.add(
                self.studio.id, CLIENT, self.sent, file, blob, len(piece.data), int(piece.duration_ms)
            )

    async def change(self, change: Change) -> None:
        await self._writing.change(self.studio.id, CLIENT, change, self.sent if change is Change.STOPPED else None)


def _write(file: Path, data: bytes) -> None:
    with synced(file) as out:
        out.write(data)


async def studio_of(aircheck: Aircheck, bot: World, room: str, member: Person) -> Client:
    """Let the room have events, and make a studio for a member."""
    async with aircheck.store.write() as db:
        known = await rooms.room(db, RoomId(room))
        assert known is not None
        await rooms.save_room(db, replace(known, studio_events=True))
        now = datetime.now(UTC)
        studio = await studios.add(db, new_studio(RoomId(room), UserId(member.user_id), StudioSource.PAGE, now))
    writing = Writing(aircheck.store, bot.settings, lambda: datetime.now(UTC))
    return Client(aircheck.store, writing, studio)


async def may_broadcast(person: Person, room: str) -> None:
    """Let everybody in the room begin broadcasts."""
    levels = dict(await person.state(room, POWER_LEVELS))
    await person.send_state(room, POWER_LEVELS, levels | {"events": {**levels.get("events", {}), MSC3888_INFO: 0}})


async def all_sent(store: Store, studio: Studio) -> None:
    """Wait until the room has all events of a studio."""

    async def check() -> bool | None:
        async with store.read() as db:
            return True if await studio_events.unsent(db, studio.key) is None else None

    await until(store, check)


def is_of(bot: World, kind: str, **content: object) -> Callable[[Received], bool]:
    def check(event: Received) -> bool:
        said = all(event.content.get(name) == value for name, value in content.items())
        return event.type == kind and event.sender == bot.user_id and said

    return check


async def recordings(store: Store) -> tuple[Recording, ...]:
    async with store.read() as db:
        return await archive.recordings(db)


@pytest.mark.parametrize(
    "encrypted", [pytest.param(True, id="encrypted"), pytest.param(False, id="plain", marks=pytest.mark.long)]
)
async def test_another_client_follows_a_studio(world: Worlds, person: People, *, encrypted: bool) -> None:
    """Another client follows it live, opens each chunk, and has the same bytes as the archive. The bot records it once,
    also after a restart and when the history is searched; another bot in the room records it as a broadcast of this
    bot. With its recording it goes from the room."""
    bot, other, alice = await world(), await world(), await person("alice")
    pieces = slices_of(speech(1))
    async with bot.running() as aircheck:
        room = await move_in(bot, alice, encrypted=encrypted)
        await may_broadcast(alice, room)
        async with other.running() as second:
            await alice.invite(room, other.user_id)
            await alice.wait_for(lambda event: event.room_id == room and event.is_notice_of(other.user_id))
            page = await studio_of(aircheck, bot, room, alice)
            await page.start()
            started = await alice.wait_for(is_of(bot, MSC3888_INFO, state="started"))
            assert started.event["state_key"] == bot.user_id
            assert started.content["org.aircheck.speaker"]["user_id"] == alice.user_id
            await page.send(pieces[:2])
            heard = [await alice.wait_for(is_of(bot, MSC3888_CHUNK, sequence=number)) for number in (1, 2)]
            await page.change(Change.PAUSED)
            await alice.wait_for(is_of(bot, MSC3888_INFO, state="paused", last_chunk_sequence=2))
            await page.change(Change.RESUMED)
            await page.send(pieces[2:])
            await page.change(Change.STOPPED)
            numbers = range(3, page.sent + 1)
            heard += [await alice.wait_for(is_of(bot, MSC3888_CHUNK, sequence=number)) for number in numbers]
            await alice.wait_for(is_of(bot, MSC3888_INFO, state="stopped", last_chunk_sequence=page.sent))
            for chunk, piece in zip(heard, pieces, strict=True):
                assert ("file" in chunk.content, "url" in chunk.content) == (encrypted, not encrypted)
                assert await alice.open_media(chunk) == piece.data
                assert chunk.content["m.relates_to"] == {"rel_type": "m.reference", "event_id": started.event_id}
                assert chunk.content["info"] == {
                    "mimetype": "audio/ogg",
                    "size": len(piece.data),
                    "duration": piece.duration_ms,
                }
            recording, ledger = await recorded(aircheck.store, page.broadcast_id, RecordingState.COMPLETE)
            theirs, same = await recorded(second.store, started.event_id, RecordingState.COMPLETE)
            assert (theirs.broadcaster, theirs.via) == (bot.user_id, None)
            assert same.samples == ledger.samples
        await all_sent(aircheck.store, page.studio)
        assert len(await recordings(aircheck.store)) == 1
    async with bot.running() as aircheck:
        await alice.say(room, "!aircheck backfill")
        await alice.wait_for(lambda event: event.is_notice_of(bot.user_id) and "no past broadcasts" in event.body)
        assert [one.id for one in await recordings(aircheck.store)] == [recording.id]
        await alice.say(room, f"!aircheck delete {recording.code}")
        question = await alice.wait_for(lambda event: event.is_notice_of(bot.user_id) and "yes" in event.body)
        await alice.say(room, "!aircheck yes", reply_to=question.event_id)
        for event in (started, *heard):
            await alice.wait_for(partial(redacts, event_id=event.event_id))


def redacts(event: Received, event_id: str) -> bool:
    return event.type == "m.room.redaction" and event_id in (event.event.get("redacts"), event.content.get("redacts"))
