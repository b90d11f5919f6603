"""The bot is killed at writes to PostgreSQL: as with SQLite, nothing is lost or doubled."""

import shutil
from pathlib import Path

import pytest

from tests.postgresql import Server, drop_all_but, in_place_of_files
from tests.worker.quick import EVERY, without_ffmpeg
from tests.worker.test_kill_points import outcome, story, undisturbed
from tests.world import Killed, world_of

SAMPLE = 3
"""Deaths, at writes that lie evenly in the story."""


@pytest.mark.parametrize("after_commit", [False, True], ids=["before", "after"])
async def test_whatever_write_it_died_at_the_same_recording_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgresql: Server, after_commit: bool
) -> None:
    """Killed before or after a commit, the next start goes on, and ends with the same rows and files; with
    AIRCHECK_KILL_POINTS=all, at each write."""
    without_ffmpeg(monkeypatch)
    begun = tmp_path / "begun"
    with in_place_of_files(postgresql) as addresses:
        async with world_of(begun) as world:
            await world.join()
        expected, writes = await undisturbed(shutil.copytree(begun, tmp_path / "undisturbed"))
        sample = range(2 + after_commit, writes + 1, writes // SAMPLE)
        for number in range(1, writes + 1) if EVERY == 1 else sample:
            async with world_of(shutil.copytree(begun, tmp_path / str(number))) as world:
                world.store.die_at(number, after_commit=after_commit)
                with pytest.raises(Killed):
                    await story(world)
                await world.rise_again()
                await world.work()
                await story(world)
                assert await outcome(world) == expected, f"died at write {number}"
            drop_all_but(postgresql, addresses, {begun})
