"""The process may die at each write while lost files are mended: a chunk, an episode, a cover and a portrait come back,
once, whatever it died at."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from bot import orders
from bot.worker.mending import Mending
from storage import archive, jobs, portraits, rooms
from storage.records import BlobKey, EventId, HeardEvent, Portrait, RoomId
from tests.blobs import add_bytes, folder_of
from tests.worker.quick import every, without_encoder, without_pictures
from tests.world import ALICE, DONE_HERE, ROOM, Forgetful, Killed, World, chunk, info, world_of

CHUNKS = {event.event_id: event for event in (chunk("$c1", 1), chunk("$c2", 2))}
MENDS = (orders.Mend.kind, orders.MendRoom.kind)
PICTURE = b"a picture"


class Homeserver(Forgetful):
    """A homeserver that has the events of the chunks."""

    async def event(self, room_id: RoomId, event_id: EventId) -> HeardEvent:
        return CHUNKS[event_id]


async def begin(world: World) -> None:
    """Make an archive whose files are lost or damaged: of a chunk, the episode, the cover and a portrait."""
    await world.join()
    await world.begin(*CHUNKS.values())
    await world.hear(info("$stop", "stopped", last_chunk_sequence=2))
    await world.work()
    key = BlobKey(hashlib.sha256(PICTURE).hexdigest())
    add_bytes(world.store, PICTURE, key)
    async with world.store.write() as db:
        await portraits.save(db, Portrait(ROOM, ALICE, "mxc://hs/alice", key))
        recording = await world.recording()
        chunks, episode = await archive.chunks(db, recording.id), await archive.episode(db, recording.id)
        room = await rooms.room(db, ROOM)
        for order in (orders.Mend(recording.id), orders.MendRoom(ROOM)):
            await jobs.add(db, order.job(), world.clock())
    assert room is not None
    assert room.cover is not None
    assert episode is not None
    assert chunks[0].blob is not None
    folder = folder_of(world.store)
    folder.path(chunks[0].blob).write_bytes(b"damaged")
    folder.path(room.cover).write_bytes(b"damaged")
    folder.remove(episode.blob)
    folder.remove(key)


def with_mending(world: World) -> World:
    mending = Mending(world.store, world.settings, Homeserver(), download=world.download, clock=world.clock)
    world.handlers |= {orders.Mend.kind: mending, orders.MendRoom.kind: mending.room}
    return world


async def do(world: World) -> None:
    await world.settle()
    while await world.work_one((*MENDS, *DONE_HERE)):
        await world.settle()


async def outcome(world: World) -> dict[str, Any]:
    recording = await world.recording()
    async with world.store.read() as db:
        chunks, episode = await archive.chunks(db, recording.id), await archive.episode(db, recording.id)
        room, faces = await rooms.room(db, ROOM), await portraits.of_room(db, ROOM)
    assert room is not None
    assert episode is not None
    named = {*(each.blob for each in chunks), episode.blob, room.cover}
    whole = [await world.store.blobs.is_whole(blob) for blob in named if blob is not None]
    return {
        "whole": whole,
        "chunks": [(each.event_id, each.state, each.blob) for each in chunks],
        "episode": (episode.guid, episode.blob, episode.published_at is not None),
        "pictures": (room.cover, [face.user_id for face in faces]),
        "files": dict(world.files()),
        "notices": len(await world.waiting(orders.Notice.kind)),
        "waiting": [kind for kind in (*MENDS, *DONE_HERE) if await world.waiting(kind)],
        "scratch": list(world.store.blobs.scratch.iterdir()),
    }


@pytest.mark.parametrize("after_commit", [False, True], ids=["before", "after"])
async def test_whatever_it_died_at_everything_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, after_commit: bool
) -> None:
    """Killed at each write, or after each commit: the same files are whole as without, nothing is left over, nobody is
    told twice."""
    without_pictures(monkeypatch)
    without_encoder(monkeypatch)
    async with world_of(tmp_path / "begun") as world:
        await begin(world)
    async with world_of(shutil.copytree(tmp_path / "begun", tmp_path / "undisturbed")) as world:
        with_mending(world).store.die_at(-1, after_commit=False)
        await do(world)
        assert world.store.left is not None
        writes, expected = -1 - world.store.left, await outcome(world)
    assert expected["whole"]
    assert all(expected["whole"])
    for number in range(1, writes + 1, every(2)):
        async with world_of(shutil.copytree(tmp_path / "begun", tmp_path / str(number))) as world:
            with_mending(world).store.die_at(number, after_commit=after_commit)
            with pytest.raises(Killed):
                await do(world)
            await with_mending(world).rise_again()
            await do(with_mending(world))
            await world.keeper.sweep()
            await do(world)
            assert await outcome(world) == expected, f"died at write {number} of {writes}"
