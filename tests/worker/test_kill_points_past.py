"""The process may die while it makes episodes of the past: each message is in one, counted and told once."""

import shutil
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot import orders
from bot.dialects.fields import sent_at
from bot.worker.past_messages import BackfillingMessages, MakingEpisode
from bot.worker.room_history import MessagesPage
from storage import archive, changes, jobs
from storage.place import Place
from storage.records import EventId, HeardEvent, Job, RoomId, SessionId
from tests.worker.quick import EVERY, without_ffmpeg
from tests.worker.test_kill_points_outside import Homeserver, Town, said
from tests.world import BOT, PREFIX, ROOM, Killed, Mortal, heard

PAGE = 2
SEARCHES = (orders.MakeEpisode.kind, orders.BackfillMessages.kind)


def voice(name: str, minute: int, thread: str | None = None) -> HeardEvent:
    content: dict[str, Any] = {"msgtype": "m.audio", "url": f"mxc://hs/{name[1:]}", "org.matrix.msc3245.voice": {}}
    if thread is not None:
        content["m.relates_to"] = {"rel_type": "m.thread", "event_id": thread}
    return replace(heard(name, "m.room.message", content, origin_server_ts=minute * 60_000), history=True)


SEALED = replace(
    heard("$k", "m.room.encrypted", {"ciphertext": "…"}, origin_server_ts=7 * 60_000), session_id=SessionId("s")
)
TIMELINE = (
    voice("$a", 1),
    voice("$b", 5),
    voice("$c", 60),
    voice("$t", 61, "$c"),
    SEALED,
    voice("$d", 100),
    voice("$u", 101, "$c"),
    *(heard(name, "m.room.message", {"msgtype": "m.text"}) for name in ("$episode", "$backfill")),
)


class Library(Homeserver):
    """A homeserver with a room's past, two messages in a page."""

    async def said_in(self, room_id: RoomId, cursor: str | None) -> AsyncIterator[MessagesPage]:
        ahead = int(cursor or len(TIMELINE))
        while ahead > 0:
            async with self.request("back"):
                page = TIMELINE[max(0, ahead - PAGE) : ahead][::-1]
            ahead -= len(page)
            named = tuple((one.event_id, sent_at(one.event)) for one in page)
            yield MessagesPage(named, str(ahead) if ahead else None)

    async def onwards(
        self, room_id: RoomId, event_id: EventId, cursor: str | None
    ) -> AsyncIterator[tuple[tuple[HeardEvent, ...], str | None]]:
        place = int(cursor) if cursor else [one.event_id for one in TIMELINE].index(event_id)
        while place < len(TIMELINE):
            async with self.request("onwards"):
                page = TIMELINE[place : place + PAGE]
            place += len(page)
            yield page, str(place) if place < len(TIMELINE) else None


class Study(Town):
    """A town that makes episodes of the past. `searching`: the numbers of the writes that its searches made."""

    searching: tuple[int, ...] = ()

    def _begin(self) -> None:
        super()._begin()
        parts = (self.store, self.homeserver, self.recorder.gathering, BOT, PREFIX, self.clock)
        self.handlers[orders.MakeEpisode.kind] = MakingEpisode(*parts)
        self.handlers[orders.BackfillMessages.kind] = BackfillingMessages(*parts)

    async def _do(self, job: Job) -> None:
        before = self.store.left or 0
        await super()._do(job)
        if job.kind in SEARCHES and self.store.left is not None:
            self.searching += tuple(range(-before, -self.store.left))

    async def work(self) -> None:
        await super().work()
        self.clock.pass_by(2)
        await super().work()


@asynccontextmanager
async def study(directory: Path) -> AsyncIterator[Study]:
    store = await Mortal.own(Place(directory))
    assert isinstance(store, Mortal)
    try:
        yield Study(store, Library())
    finally:
        await store.close()


async def story(world: Study) -> None:
    """Alice makes an episode of what was said from `$c` on, and then of all that was said before."""
    for name, command, reply_to in (("$episode", "episode", "$c"), ("$backfill", "backfill messages", None)):
        await world.hear(said(world, name, command, reply_to=reply_to))
        await world.work()


async def outcome(world: Study) -> dict[str, Any]:
    async with world.store.read() as db:
        recordings = sorted(await archive.recordings(db), key=lambda one: one.number)
        parts = [[chunk.event_id for chunk in await archive.chunks(db, one.id)] for one in recordings]
        log = await changes.of_rooms(db, [ROOM])
        waits = [kind for kind in world.handlers for _ in await jobs.unfinished(db, kind) if kind != orders.Tick.kind]
    return {
        "said": Counter(world.homeserver.said.values()),
        "recordings": [(one.event_id, one.state, one.ended_by, one.ended_at, one.past) for one in recordings],
        "parts": parts,
        "changes": [(change.what, change.subject, change.event_id) for change in log],
        "waits": waits,
    }


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    without_ffmpeg(monkeypatch)


@pytest.fixture
async def begun(tmp_path: Path) -> Path:
    async with study(tmp_path / "begun") as world:
        await world.join()
        await world.work()
    return tmp_path / "begun"


async def undisturbed(begun: Path) -> tuple[dict[str, Any], tuple[int, ...], int]:
    """Run the undisturbed story; return its outcome, the writes of its searches and the number of its requests."""
    async with study(shutil.copytree(begun, begun.with_name("undisturbed"))) as world:
        world.store.die_at(-1, after_commit=False)
        await story(world)
        return await outcome(world), world.searching, len(world.homeserver.asked)


async def test_the_story_is_what_it_says(begun: Path) -> None:
    """The room from a message on, then the rest of it by time and thread; each is told once."""
    found, searching, _ = await undisturbed(begun)
    assert found["parts"] == [["$a", "$b"], ["$c", "$d"], ["$t"], ["$u"]]
    assert found["waits"] == []
    assert [change[0] for change in found["changes"]] == ["backfill messages", "episode"]
    assert len(found["said"]) == sum(found["said"].values()) == 4
    assert len(searching) > 10


@pytest.mark.parametrize("after_commit", [False, True], ids=["before", "after"])
async def test_a_death_at_a_write_of_a_search_changes_nothing(begun: Path, after_commit: bool) -> None:
    """Killed at writes of the two searches, before or after their commit: no message is lost, none is in two
    recordings, and all is told once."""
    expected, searching, _ = await undisturbed(begun)
    for number in searching[after_commit :: 2 * EVERY]:
        async with study(shutil.copytree(begun, begun.with_name(f"{number}-{after_commit}"))) as world:
            world.store.die_at(number, after_commit=after_commit)
            with pytest.raises(Killed):
                await story(world)
            await world.rise_again()
            await story(world)
            assert await outcome(world) == expected, f"died at write {number}"
