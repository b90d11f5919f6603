"""The process may die at each write while it keeps the original sound, makes a portrait, or cares for a lost file."""

import asyncio
import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from bot import orders
from bot.matrix.media import FetchedMedia
from storage import archive, originals, portraits
from storage.records import MediaSource
from tests.audio.sounds import captured
from tests.blobs import folder_of
from tests.worker.quick import EVERY, every, without_encoder, without_pictures
from tests.world import ALICE, DONE_HERE, ROOM, Killed, World, batch, chunk, info, state, world_of

OURS = (orders.KeepOriginal.kind, orders.MakePortrait.kind, orders.CheckEpisode.kind)
SLICES = captured("plain")[:3]


async def download(source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
    """Download the slices of a real broadcast, and an avatar."""
    name = source.mxc.rpartition("/")[2]
    file = SLICES[int(name[1:]) - 1].path if name.startswith("c") else None
    data = await asyncio.to_thread(file.read_bytes) if file is not None else b"avatar"
    await asyncio.to_thread(part.write_bytes, data)
    return FetchedMedia(len(data), hashlib.sha256(data).hexdigest())


async def do(world: World, kinds: tuple[Any, ...]) -> None:
    await world.settle()
    while await world.work_one(kinds):
        await world.settle()


async def begin(world: World) -> None:
    """Publish an episode; what is ordered then waits, and the episode's file is lost."""
    await world.join()
    world.download = download
    content = {"membership": "join", "avatar_url": "mxc://hs/avatar"}
    await world.intake.take(batch(before=(state("m.room.member", content, ALICE, ALICE, "$face"),)))
    await world.begin(*(chunk(f"$c{number}", number) for number in (1, 2, 3)))
    await world.hear(info("$stop", "stopped", last_chunk_sequence=3))
    await do(world, tuple(kind for kind in DONE_HERE if kind not in OURS))
    async with world.store.read() as db:
        episode = await archive.episode(db, (await world.recording()).id)
    assert episode is not None
    folder_of(world.store).remove(episode.blob)
    await world.keeper.check_files()


async def outcome(world: World) -> dict[str, Any]:
    recording = await world.recording()
    async with world.store.read() as db:
        episode = await archive.episode(db, recording.id)
        original = (await originals.current(db, [recording.id])).get(recording.id)
        faces = await portraits.of_rooms(db, [ROOM])
        listed = len(await archive.published(db, ROOM))
    assert episode is not None
    return {
        "listed": (listed, episode.lost_at, episode.blob),
        "original": original,
        "faces": faces,
        "files": dict(world.files()),
        "notices": len(await world.waiting(orders.Notice.kind)),
        "waiting": [kind for kind in DONE_HERE if await world.waiting(kind)],
        "scratch": list(world.store.blobs.scratch.iterdir()),
    }


@pytest.mark.parametrize("after_commit", [False, True], ids=["before", "after"])
async def test_whatever_it_died_at_all_files_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after_commit: bool
) -> None:
    """Killed at every third write, or after every fourth commit: original, portrait and episode are what they would
    have been, and no file is left over."""
    without_pictures(monkeypatch)
    without_encoder(monkeypatch)
    async with world_of(tmp_path / "begun") as world:
        await begin(world)
    async with world_of(shutil.copytree(tmp_path / "begun", tmp_path / "undisturbed")) as world:
        world.download = download
        world.store.die_at(-1, after_commit=False)
        await do(world, DONE_HERE)
        assert world.store.left is not None
        writes, expected = -1 - world.store.left, await outcome(world)
    assert expected["original"] is not None
    assert expected["listed"][0] == len(expected["faces"]) == 1
    for number in range(2, writes + 1, every(24) if after_commit else EVERY):
        async with world_of(shutil.copytree(tmp_path / "begun", tmp_path / str(number))) as world:
            world.download = download
            world.store.die_at(number, after_commit=after_commit)
            with pytest.raises(Killed):
                await do(world, DONE_HERE)
            await world.rise_again()
            await do(world, DONE_HERE)
            await world.keeper.sweep()
            await do(world, DONE_HERE)
            assert await outcome(world) == expected, f"died at write {number} of {writes}"
