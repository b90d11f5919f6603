"""The process may die at each write and each step between: what comes of it after a start is what would have come
of it anyway."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bot import orders
from bot.matrix.media import FetchedMedia
from storage import archive
from storage.blobs.folder import Folder
from storage.records import EventId, MediaSource
from tests import world as there
from tests.worker.quick import EVERY, every, without_ffmpeg
from tests.world import Killed, World, chunk, heard, info, world_of

C1, C2, C3 = EventId("$c1"), EventId("$c2"), EventId("$c3")


async def story(world: World) -> None:
    """Two chunks become an episode, a late third one heals it, and the first one is redacted."""
    await world.begin(chunk(C1, 1), chunk(C2, 2))
    await world.work()
    await world.hear(info("$stop", "stopped", last_chunk_sequence=3))
    world.clock.pass_by(61)
    await world.work()
    await world.hear(chunk(C3, 3))
    await world.work()
    await world.hear(heard("$r", "m.room.redaction", {}, redacts=C1))
    world.clock.pass_by(7200)
    await world.work()


async def outcome(world: World) -> dict[str, Any]:
    """All that lasts, but for what is random or a time."""
    await world.keeper.sweep()
    await world.work()
    recording = await world.recording()
    async with world.store.read() as db:
        chunks = await archive.chunks(db, recording.id)
        episode = await archive.episode(db, recording.id)
    assert episode is not None
    assert {one.blob for one in chunks if one.blob} <= set(world.files()), "a chunk's file is lost"
    return {
        "state": recording.state,
        "chunks": [(one.event_id, one.state, one.blob, one.source) for one in chunks],
        "samples": episode.samples,
        "fingerprint": episode.fingerprint,
        "listed": episode.published_at is not None,
        "files": len(world.files()),
        "episode": episode.blob in world.files(),
        "notices": len(await world.waiting(orders.Notice.kind)),
        "scratch": list(world.store.blobs.scratch.iterdir()),
    }


async def undisturbed(directory: Path) -> tuple[dict[str, Any], int]:
    """Run the undisturbed story; return its outcome and the number of its writes."""
    async with world_of(directory) as world:
        world.store.die_at(-1, after_commit=False)
        await story(world)
        assert world.store.left is not None
        return await outcome(world), -1 - world.store.left


@pytest.mark.parametrize("after_commit", [False, True], ids=["before", "after"])
async def test_whatever_the_process_died_at_nothing_is_lost_or_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after_commit: bool
) -> None:
    """Killed at one of so many writes, or after one of so many commits, the same recording, files and notices are
    there; with AIRCHECK_KILL_POINTS=all, at each write."""
    without_ffmpeg(monkeypatch)
    begun = tmp_path / "begun"
    async with world_of(begun) as world:
        await world.join()
    expected, writes = await undisturbed(shutil.copytree(begun, tmp_path / "undisturbed"))
    assert writes > 20
    for number in range(1, writes + 1, every(24) if after_commit else EVERY):
        async with world_of(shutil.copytree(begun, tmp_path / str(number))) as world:
            world.store.die_at(number, after_commit=after_commit)
            with pytest.raises(Killed):
                await story(world)
            await world.rise_again()
            await world.work()
            await story(world)  # what the homeserver tells again, it being in doubt
            assert await outcome(world) == expected, f"died at write {number}"


# ---- between the writes


class Deaths:
    """The process dies at the n-th thing that is done to files, and from then on does nothing more, tidying neither."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._at: int | None = None
        self._dead = False

    def live(self, until: int | None = None) -> None:
        self.seen, self._at, self._dead = [], until, False

    def step(self, what: str) -> None:
        self.seen.append(what)
        if self._dead or len(self.seen) == self._at:
            self._dead = True
            raise Killed

    def around(self, what: str, act: Callable[..., Any]) -> Callable[..., Any]:
        """Two steps: before the act and after it."""

        def acting(*args: Any, **kwargs: Any) -> Any:
            self.step(f"before {what}")
            done = act(*args, **kwargs)
            self.step(f"after {what}")
            return done

        return acting

    async def download(self, source: MediaSource, part: Path, max_bytes: int) -> FetchedMedia:
        await asyncio.to_thread(part.write_bytes, b"half")
        self.step("half downloaded")
        fetched = await there.download(source, part, max_bytes)
        self.step("downloaded")
        return fetched


OURS = ("fetch-", "frames-", "last-", "episode-")
STEPS = {
    "half downloaded",
    "downloaded",
    "looked into",
    "half encoded",
    "encoded",
    *(f"{when} {what}" for when in ("before", "after") for what in ("add", "tidy", "remove")),
}


@pytest.fixture
def deaths(monkeypatch: pytest.MonkeyPatch) -> Deaths:
    made, unlink = Deaths(), Path.unlink
    without_ffmpeg(monkeypatch, made.step)
    for name in ("add", "remove"):
        monkeypatch.setattr(Folder, name, made.around(name, getattr(Folder, name)))
    tidied = made.around("tidy", unlink)

    def unlinking(path: Path, missing_ok: bool = False) -> None:
        act = tidied if path.name.startswith(OURS) else unlink
        act(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlinking)
    return made


async def test_a_death_between_two_writes_loses_and_doubles_nothing(tmp_path: Path, deaths: Deaths) -> None:
    """Killed at each kind of step of a download, a look, a joining, a move into the archive and a removal, and at one
    of so many steps: the same recording, files and notices are there, and no half of a file."""
    begun = tmp_path / "begun"
    async with world_of(begun) as world:
        await world.join()
    deaths.live()
    async with world_of(shutil.copytree(begun, tmp_path / "undisturbed")) as world:
        world.download = deaths.download
        await story(world)
        steps = list(deaths.seen)
        expected = await outcome(world)
    assert set(steps) == STEPS
    last_of_each = {step: number for number, step in enumerate(steps, start=1)}
    for number in sorted({*range(1, len(steps) + 1, EVERY), *last_of_each.values()}):
        step = steps[number - 1]
        async with world_of(shutil.copytree(begun, tmp_path / str(number))) as world:
            world.download = deaths.download
            deaths.live(until=number)
            with pytest.raises(Killed):
                await story(world)
            deaths.live()
            await world.rise_again()
            await world.work()
            await story(world)
            assert await outcome(world) == expected, f"died {step}, step {number}"
