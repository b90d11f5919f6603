"""The process may die at each write of retention, and at each notice: what comes of it after a start is what would have
come of it anyway."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bot.worker import expiring
from storage import archive
from storage.records import RecordingState
from tests.worker.quick import every, without_ffmpeg
from tests.worker.retained import Ears, Retained, broadcast, retained
from tests.world import PREFIX, Killed, heard


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    without_ffmpeg(monkeypatch)
    monkeypatch.setattr(expiring, "AT_ONCE", 1)


@pytest.fixture
async def begun(tmp_path: Path) -> Path:
    """Record a broadcast, with files, beside the rows of two others, of which one is kept."""
    async with retained(tmp_path / "begun") as world:
        await world.join()
        await world.hear(*broadcast("$spoken"))
        await world.done()
        await world.old(3)
        await world.old(4, kept=True)
    return tmp_path / "begun"


async def story(world: Retained) -> None:
    """A moderator makes a rule, the room is told, and a week later two of three recordings go."""
    at = round(world.clock().timestamp() * 1000)
    content = {"msgtype": "m.text", "body": f"{PREFIX} retention 1 day"}
    await world.hear(heard("$rule", "m.room.message", content, origin_server_ts=at))
    await world.done()
    await world.days(8)


async def outcome(world: Retained) -> dict[str, Any]:
    async with world.store.read() as db:
        recordings = await archive.recordings(db)
        left = [one.code for one in recordings if await archive.episode(db, one.id) or await archive.chunks(db, one.id)]
    return {
        "states": await world.states(),
        "left": left,
        "files": len(world.files()),
        "said": Counter(world.ears.words),
        "log": sorted(map(str, await world.log())),
        "waits": await world.unfinished(),
    }


async def undisturbed(begun: Path) -> tuple[dict[str, Any], int, int]:
    """Run the undisturbed story; return its outcome, and the numbers of its writes and notices."""
    async with retained(shutil.copytree(begun, begun.with_name("undisturbed"))) as world:
        world.store.die_at(-1, after_commit=False)
        await story(world)
        assert world.store.left is not None
        return await outcome(world), -1 - world.store.left, len(world.ears.words)


async def once_more(begun: Path, name: str, dies: Callable[[Retained], None]) -> dict[str, Any]:
    """Run the story until a death, start again, and run the story once more."""
    async with retained(shutil.copytree(begun, begun.with_name(name)), Ears()) as world:
        dies(world)
        with pytest.raises(Killed):
            await story(world)
        world.ears.left = None
        await world.rise_again()
        await story(world)
        return await outcome(world)


async def test_the_story_is_what_it_says(begun: Path) -> None:
    """Two recordings go with their files, the kept one stays, and each thing is said once."""
    found, writes, notices = await undisturbed(begun)
    assert Counter(found["states"].values()) == {RecordingState.DELETED: 2, RecordingState.COMPLETE: 1}
    assert (found["left"], found["files"], found["waits"]) == ([], 1, [])  # the room's picture
    assert len(found["log"]) == 3
    # the answer, the warning, the report, and the announcement that is taken back
    assert (notices, len(found["said"]), writes > 20) == (4, 4, True)


@pytest.mark.parametrize("after_commit", [False, True], ids=["before", "after"])
async def test_a_death_at_a_write_of_retention_deletes_and_says_nothing_twice(
    begun: Path, *, after_commit: bool
) -> None:
    """Killed at one of so many writes, before or after its commit: the same recordings, files, notices and rows of the
    log are there."""
    expected, writes, _ = await undisturbed(begun)
    for number in range(1, writes + 1, every(15 if after_commit else 18)):

        def dies(world: Retained, number: int = number) -> None:
            world.store.die_at(number, after_commit=after_commit)

        assert await once_more(begun, str(number), dies) == expected, f"died at write {number}"


@pytest.mark.parametrize("taken", [False, True], ids=["before", "after"])
async def test_a_death_at_a_notice_of_retention_says_nothing_twice(begun: Path, *, taken: bool) -> None:
    """Killed at each notice, before the homeserver took it or before its answer was read: it is said once."""
    expected, _, notices = await undisturbed(begun)
    for number in range(1, notices + 1):

        def dies(world: Retained, number: int = number) -> None:
            world.ears.left, world.ears.taken = number, taken

        assert await once_more(begun, str(number), dies) == expected, f"died at notice {number}"
