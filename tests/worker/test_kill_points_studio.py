"""The process may die at each write of a studio's broadcast: its client sends again what was not acknowledged, and the
recording is what it would have been."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from bot import orders
from bot.recording.model import Change
from storage import archive, studios
from storage.records import Studio, StudioState
from tests.booth import Booth
from tests.worker.quick import every, without_ffmpeg
from tests.world import Killed, world_of

SLICES = tuple(f"slice {number}".encode() for number in range(1, 5))


async def story(booth: Booth) -> None:
    """Three slices with a pause become an episode, and a late one heals it; some time later the rows are tidied."""
    world = booth.world
    if (await booth.now()).state is not StudioState.OVER:  # its page asks how far it is
        await booth.start()
    for number in (1, 2):
        await booth.send(SLICES[number - 1], number)
        await world.work()
    for made, change in enumerate((Change.PAUSED, Change.RESUMED)):
        if (await booth.now()).changes == made:
            await booth.change(change)
    await booth.send(SLICES[3], 4)
    await booth.stop(4)
    world.clock.pass_by(61)
    await world.work()
    await booth.send(SLICES[2], 3)
    await world.work()


async def outcome(booth: Booth) -> dict[str, Any]:
    """All that lasts, but for what is random or a time."""
    world = booth.world
    world.clock.pass_by(2 * 86_400)
    await world.keeper.tidy()
    await world.keeper.sweep()
    await world.work()
    recording, episode, chunks = await booth.recording(), await booth.episode(), await booth.chunks()
    async with world.store.read() as db:
        slices = await studios.slices_of(db, booth.studio.id)
        assert await archive.all_ids(db) == (recording.id,)
    return {
        "state": recording.state,
        "chunks": [(one.event_id, one.sequence, one.state, one.blob) for one in chunks],
        "samples": episode.samples,
        "files": len(world.files()),
        "sound": {one.blob for one in chunks} <= set(world.files()),
        "notices": len(await world.waiting(orders.Notice.kind)),
        "scratch": list(world.store.blobs.scratch.iterdir()),
        "slices": slices,
    }


@pytest.mark.parametrize("after_commit", [False, True], ids=["before", "after"])
async def test_whatever_the_process_died_at_nothing_is_lost_or_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after_commit: bool
) -> None:
    """Killed at one of so many writes, or after one of so many commits; with AIRCHECK_KILL_POINTS=all, at each."""
    without_ffmpeg(monkeypatch)
    begun = tmp_path / "begun"
    async with world_of(begun) as world:
        await world.join()
        studio = (await Booth.open(world)).studio
    expected, writes = await undisturbed(shutil.copytree(begun, tmp_path / "undisturbed"), studio)
    assert expected["sound"]
    for number in range(1, writes + 1, every(24)):
        async with world_of(shutil.copytree(begun, tmp_path / str(number))) as world:
            booth = Booth(world, studio)
            world.store.die_at(number, after_commit=after_commit)
            with pytest.raises(Killed):
                await story(booth)
            await world.rise_again()
            await world.work()
            await story(booth)  # the client knows no answer, so it says all of it again
            assert await outcome(booth) == expected, f"died at write {number}"


async def undisturbed(directory: Path, studio: Studio) -> tuple[dict[str, Any], int]:
    async with world_of(directory) as world:
        booth = Booth(world, studio)
        world.store.die_at(-1, after_commit=False)
        await story(booth)
        assert world.store.left is not None
        writes = -1 - world.store.left
        return await outcome(booth), writes
