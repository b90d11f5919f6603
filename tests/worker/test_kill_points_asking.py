"""The process may die while it asks, is answered, and does what can't be undone: it is done and said once.

A recording is deleted by a reaction, its announcement edited; then the bot is told to leave, by `yes`.
"""

import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from bot import orders
from bot.matrix.sending import Sending
from bot.worker.leaving import Leaving
from storage import archive, changes, jobs, questions
from storage.place import Place as StorePlace
from storage.records import EventId, HeardEvent, RecordingState, RoomId
from tests.worker.quick import every, numbered, without_ffmpeg
from tests.worker.test_kill_points_outside import Homeserver, Town, said
from tests.world import ALICE, BOT, ROOM, Killed, Mortal, chunk, heard, info

THUMB = EventId("$thumb")


class Exit(Homeserver):
    """A homeserver whose rooms can be left, which dies as the others do."""

    def __init__(self, before: "Exit | None" = None) -> None:
        super().__init__()
        self.said = dict(before.said) if before else {}
        self.gone: set[RoomId] = set()

    async def leave(self, room_id: RoomId, reason: str | None = None) -> None:
        async with self.request("leave"):
            self.gone.add(room_id)


class Place(Town):
    """A town that can be left."""

    homeserver: Exit

    def _begin(self) -> None:
        super()._begin()
        sending = cast("Sending", self.homeserver)
        self.handlers[orders.Leave.kind] = Leaving(self.store, sending, clock=self.clock)


@asynccontextmanager
async def place(directory: Path, homeserver: Exit) -> AsyncIterator[Place]:
    store = await Mortal.own(StorePlace(directory))
    assert isinstance(store, Mortal)
    try:
        yield Place(store, homeserver)
    finally:
        await store.close()


async def story(world: Place) -> None:
    """Alice deletes her recording and sends the bot away. Told again, it is what the homeserver tells again."""
    await world.work()
    if ROOM not in world.homeserver.gone:
        await world.hear(said(world, "$delete", "delete last"))
        await world.work()
        await world.hear(thumb(world))
        await world.work()
        await world.hear(said(world, "$leave", "leave"))
        await world.work()
        await world.hear(said(world, "$yes", "yes"))
        await world.work()
        world.clock.pass_by(1)  # the bot leaves after it has said so
        await world.work()
    if ROOM in world.homeserver.gone:
        await world.hear(heard("$out", "m.room.member", {"membership": "leave"}, state_key=BOT), joined=False)
        await world.work()


def thumb(world: Place) -> HeardEvent:
    """Build the reaction to the question of whether to delete."""
    (question,) = [txn for (_, txn), body in world.homeserver.said.items() if body.startswith("Delete this recording?")]
    relation = {"rel_type": "m.annotation", "event_id": f"${question}", "key": "👍"}
    now = round(world.clock().timestamp() * 1000)
    return heard(THUMB, "m.reaction", {"m.relates_to": relation}, origin_server_ts=now)


async def outcome(world: Place) -> dict[str, Any]:
    async with world.store.read() as db:
        (recording,) = await archive.recordings(db)
        log = await changes.of_rooms(db, [ROOM])
        return {
            "said": Counter(world.homeserver.said.values()),
            "gone": world.homeserver.gone,
            "state": recording.state,
            "log": [(change.by, change.what, change.before, change.after, change.event_id) for change in log],
            "asks": await questions.open_of(db, ROOM, ALICE),
            "waits": [(kind, job.subject) for kind in world.handlers for job in await jobs.unfinished(db, kind)],
            "files": world.files(),
        }


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    without_ffmpeg(monkeypatch)


@pytest.fixture
async def begun(tmp_path: Path) -> tuple[Path, Exit]:
    """Record a broadcast and announce it, once, for copies of the store."""
    homeserver, directory = Exit(), tmp_path / "begun"
    async with place(directory, homeserver) as world:
        await world.join()
        await world.begin(chunk("$c1", 1), info("$stop", "stopped", last_chunk_sequence=1))
        await world.work()
        world.clock.pass_by(61)
        await world.work()
    return directory, homeserver


@asynccontextmanager
async def copied(begun: tuple[Path, Exit], name: str) -> AsyncIterator[Place]:
    directory, before = begun
    async with place(shutil.copytree(directory, directory.with_name(name)), Exit(before)) as world:
        world.clock.pass_by(61)
        yield world


async def undisturbed(begun: tuple[Path, Exit]) -> tuple[dict[str, Any], int, list[str]]:
    """Run the undisturbed story; return its outcome, its writes and its requests."""
    async with copied(begun, "undisturbed") as world:
        world.store.die_at(-1, after_commit=False)
        await story(world)
        assert world.store.left is not None
        return await outcome(world), -1 - world.store.left, list(world.homeserver.asked)


async def once_more(begun: tuple[Path, Exit], name: str, dies: Callable[[Place], None]) -> dict[str, Any]:
    """Run the story until a death, start again, and run the story once more."""
    async with copied(begun, name) as world:
        dies(world)
        with pytest.raises(Killed):
            await story(world)
        world.homeserver.left = None
        await world.rise_again()
        await story(world)
        return await outcome(world)


@pytest.mark.parametrize("taken", [False, True], ids=["before", "after"])
async def test_a_death_at_a_request_asks_and_does_nothing_twice(begun: tuple[Path, Exit], taken: bool) -> None:
    """Killed before the homeserver took a request, or before its answer was read, one of each kind and of so many."""
    expected, _, asked = await undisturbed(begun)
    assert set(asked) == {"send", "leave"}
    assert expected["state"] is RecordingState.DELETED
    assert expected["gone"] == {ROOM}
    assert {what for _, what, *_ in expected["log"]} == {"delete", "leave"}
    assert "* This recording was deleted." in expected["said"]
    assert (expected["asks"], expected["waits"]) == (None, [])
    for number, what in numbered(asked):

        def dies(world: Place, number: int = number) -> None:
            world.homeserver.left, world.homeserver.taken = number, taken

        assert await once_more(begun, str(number), dies) == expected, f"died at request {number}, {what}"


async def test_a_death_at_a_write_asks_and_does_nothing_twice(begun: tuple[Path, Exit]) -> None:
    """Killed at one of so many writes: no question is asked twice, and nothing is done that was not confirmed."""
    expected, writes, _ = await undisturbed(begun)
    for number in range(1, writes + 1, every(30)):

        def dies(world: Place, number: int = number) -> None:
            world.store.die_at(number, after_commit=False)

        assert await once_more(begun, str(number), dies) == expected, f"died at write {number}"
