"""Gaps in rooms' timelines: read page by page by a job for each room, in order, and given up after so long."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bot import orders
from bot.errors import TryLater
from bot.intake import gapwalk
from bot.matrix.batch import LimitedTimeline, RoomBatch, SyncBatch
from bot.worker.room_history import RoomHistory
from bot.worker.walking import Walking
from storage import archive, gaps, journal, rooms
from storage.records import EventId, HeardEvent, RoomId
from tests.factories import a_room
from tests.world import ALICE, BOT, ROOM, START, Killed, World, chunk, heard, info, room_state, world_of

OTHER = RoomId("!other:hs")


class Pages(RoomHistory):
    """History that is asked for by numbers: page `number` has the events of `of[number]`, oldest first."""

    def __init__(self, *of: Sequence[HeardEvent], then: str | None = None) -> None:
        self._of = of
        self._then = then
        self.asked: list[str] = []
        self.error: Exception | None = None

    async def page(self, room_id: RoomId, start: str, stop: str | None) -> tuple[tuple[HeardEvent, ...], str | None]:
        self.asked.append(start)
        if self.error is not None:
            raise self.error
        number = int(start)
        following = str(number + 1) if number + 1 < len(self._of) else self._then
        return tuple(reversed(self._of[number])), following


async def limited(world: World, pages: Pages, *timeline: HeardEvent, until: str | None = "since") -> None:
    """Take a sync whose timeline is limited."""
    world.handlers[orders.Walk.kind] = Walking(world.store, pages, world.intake, clock=world.clock)
    await world.intake.take(SyncBatch("t", (RoomBatch(ROOM, True, (), timeline, LimitedTimeline("0", until)),)))


async def walk(world: World) -> None:
    while await world.work_one([orders.Walk.kind]):
        pass


async def walking(world: World) -> int:
    async with world.store.read() as db:
        return len(await gaps.walking(db, ROOM))


async def order(world: World) -> list[str]:
    """Return the chunks as the recording has them."""
    async with world.store.read() as db:
        recording = await archive.recording_by_event(db, START)
        return [one.id for one in await archive.chunks(db, recording.id)] if recording else []


async def test_what_a_gap_hides_is_dealt_with_before_what_was_heard_after_it(world: World) -> None:
    """Pages come newest first, the broadcast begins on the last one, and its chunks stand in the room's order."""
    pages = Pages([chunk("$c3", 3)], [chunk("$c2", 2)], [info(START, "started"), chunk("$c1", 1)])
    await limited(world, pages, chunk("$c4", 4))
    await world.settle()
    assert await order(world) == []
    await walk(world)
    await world.settle()
    assert await order(world) == ["$c1", "$c2", "$c3", "$c4"]
    assert pages.asked == ["0", "1", "2"]
    assert await world.waiting(orders.Reread.kind) == []


async def test_a_gap_that_can_not_be_read_holds_its_own_room_up_for_seconds_and_no_other(world: World) -> None:
    """Later events are handled; the page is asked for again, and the state after ten minutes."""
    pages = Pages([])
    pages.error = TryLater("the homeserver answered 500")
    await limited(world, pages, info(START, "started"), chunk("$c1", 1))
    async with world.store.write() as db:
        await rooms.save_room(db, a_room(OTHER, at=world.clock()))
    other = replace(info("$other", "started"), room_id=OTHER)
    await world.intake.take(SyncBatch("u", (RoomBatch(OTHER, True, (), (other,)),)))
    await walk(world)
    await world.settle()
    async with world.store.read() as db:
        assert await archive.recording_by_event(db, EventId("$other")) is not None
    assert await order(world) == []
    world.clock.pass_by(gapwalk.HOLD.total_seconds() + 1)
    await world.settle()
    assert await order(world) == ["$c1"]
    assert await world.waiting(orders.Refresh.kind) == []
    for _ in range(60):
        world.clock.pass_by(20)
        await walk(world)
    assert 20 < len(pages.asked) < 60
    assert len(await world.waiting(orders.Refresh.kind)) == 1


async def test_a_gap_that_can_be_read_hours_later_is(world: World) -> None:
    """Broadcasts in the gap are recorded then, at their place."""
    pages = Pages([chunk("$c2", 2)], [info(START, "started"), chunk("$c1", 1)])
    pages.error = TryLater("the homeserver answered 500")
    await limited(world, pages)
    await walk(world)
    for _ in range(5):
        world.clock.pass_by(5000)
        await walk(world)
        await world.settle()
    assert await walking(world) == 1
    pages.error = None
    world.clock.pass_by(5000)
    await walk(world)
    await world.settle()
    assert await walking(world) == 0
    assert await order(world) == ["$c1", "$c2"]


async def test_a_gap_that_was_seen_long_ago_is_asked_for_before_it_is_given_up(world: World) -> None:
    """A bot that was away for a month still reads it; what the homeserver can't give then is given up."""
    pages = Pages([info(START, "started"), chunk("$c1", 1)])
    await limited(world, pages)
    world.clock.pass_by(30 * 86_400)
    await walk(world)
    await world.settle()
    assert await order(world) == ["$c1"]
    pages.error = TryLater("the homeserver answered 500")
    await limited(world, pages)
    world.clock.pass_by(30 * 86_400)
    await walk(world)
    assert await walking(world) == 0


async def test_an_old_command_in_a_gap_is_history_and_what_is_not_wanted_is_not_written(world: World) -> None:
    """The command is marked as history, so that nobody carries it out."""
    said = {"msgtype": "m.text", "body": "!aircheck record off"}
    talk = heard("$talk", "m.room.message", {"msgtype": "m.text", "body": "secret"})
    await limited(world, Pages([heard("$command", "m.room.message", said), talk]))
    await walk(world)
    async with world.store.read() as db:
        written = await journal.unhandled(db, 10)
    assert [(one.event_id, one.history) for one in written] == [("$command", True)]


async def test_state_in_a_gap_replaces_nothing_newer(world: World) -> None:
    """The state block is what it was when the timeline began."""
    await limited(world, Pages([heard("$name", "m.room.name", {"name": "Old"}, state_key="")]))
    await walk(world)
    async with world.store.read() as db:
        assert await rooms.state(db, ROOM, "m.room.name") is None


@pytest.mark.parametrize("then", ["0", "1", "2"])
async def test_a_history_that_goes_in_circles_is_given_up(world: World, then: str) -> None:
    """However long the circle is; what was found is kept."""
    pages = Pages([chunk("$c2", 2)], [info(START, "started")], [chunk("$c1", 1)], then=then)
    await limited(world, pages)
    await walk(world)
    await world.settle()
    assert await walking(world) == 0
    assert len(pages.asked) < 12
    assert set(await order(world)) == {"$c2"} | set(await order(world))


async def test_a_history_without_an_end_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk ends after a fixed number of pages."""
    monkeypatch.setattr(gapwalk, "MOST_PAGES", 7)
    pages = Pages(*[()] * 100)
    await limited(world, pages)
    await walk(world)
    assert await walking(world) == 0
    assert len(pages.asked) == 7


async def test_strangers_chunks_in_a_gap_are_kept_in_bounds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows their broadcast; so many are kept until its begin may be found, and the rest leaves no trace."""
    monkeypatch.setattr(gapwalk, "MOST_UNCLAIMED", 20)
    flood = [chunk(f"$f{number}", number + 1) for number in range(300)]
    await limited(world, Pages(flood[200:], flood[100:200], flood[:100]))
    await walk(world)
    async with world.store.read() as db:
        assert len(await journal.unhandled(db, 1000)) == 20
    assert len(await world.waiting(orders.Reread.kind)) == 1
    await world.settle()
    assert await order(world) == []


async def test_what_a_room_shows_anew_is_walked_back_to_what_was_heard(world: World) -> None:
    """Without a token the walk ends at the newest event that was heard, whether it was kept or not."""
    talk = heard("$talk", "m.room.message", {"msgtype": "m.text", "body": "secret"})
    await world.begin(chunk("$c1", 1), talk)
    pages = Pages([chunk("$c3", 3)], [heard("$older", "m.room.message", {}), talk, chunk("$c2", 2)], [chunk("$c0", 9)])
    await limited(world, pages, chunk("$c4", 4), until=None)
    await walk(world)
    await world.settle()
    assert await order(world) == ["$c1", "$c2", "$c3", "$c4"]
    assert pages.asked == ["0", "1"]


async def test_what_a_room_shows_anew_and_was_heard_is_cut_off(world: World) -> None:
    """Its timeline reaches back to it: there is no gap, and nothing is heard twice."""
    old = heard("$old", "m.room.message", {"msgtype": "m.text", "body": "!aircheck record off"})
    await world.begin(chunk("$c1", 1))
    await limited(world, Pages([]), old, chunk("$c1", 1), chunk("$c2", 2), until=None)
    await world.settle()
    assert await order(world) == ["$c1", "$c2"]
    assert (await walking(world), await world.waiting(orders.Command.kind)) == (0, [])


async def test_a_gap_behind_the_bots_own_coming_ends_there(tmp_path: Path) -> None:
    """Events from before the bot joined are not kept, later ones are."""
    async with world_of(tmp_path / "data") as world:
        before = list(room_state())
        before[3] = {**before[3], "event_id": "$in"}
        pages = Pages([heard("$in", "m.room.member", {"membership": "join"}, state_key=BOT), chunk("$c1", 1)], [])
        world.handlers[orders.Walk.kind] = Walking(world.store, pages, world.intake, clock=world.clock)
        await world.intake.take(
            SyncBatch("t", (RoomBatch(ROOM, True, tuple(before), (), LimitedTimeline("0", "since")),))
        )
        await walk(world)
        assert (await walking(world), pages.asked) == (0, ["0"])


@pytest.mark.parametrize("after_commit", [True, False])
async def test_a_walk_may_die_anywhere(tmp_path: Path, *, after_commit: bool) -> None:
    """The walk continues where it was, and every event is there once and in order."""
    for death in range(1, 30):
        async with world_of(tmp_path / f"data{death}") as world:
            await world.join()
            pages = Pages([chunk("$c3", 3)], [chunk("$c2", 2)], [info(START, "started"), chunk("$c1", 1)])
            await limited(world, pages)
            world.store.die_at(death, after_commit=after_commit)
            died = False
            try:
                await walk(world)
            except Killed:
                died = True
            await world.rise_again()
            world.handlers[orders.Walk.kind] = Walking(world.store, pages, world.intake, clock=world.clock)
            await walk(world)
            await world.settle()
            assert await order(world) == ["$c1", "$c2", "$c3"]
        if not died:
            assert death > 4
            return
    raise AssertionError("it never lived")


async def test_who_left_in_a_gap_ends_what_began_before_it_and_nothing_else(world: World) -> None:
    """A broadcast that began after the gap and was heard first goes on."""
    pages = Pages([heard("$left", "m.room.member", {"membership": "leave"}, state_key=ALICE)])
    pages.error = TryLater("the homeserver answered 500")
    await limited(world, pages, info(START, "started"))
    await walk(world)
    world.clock.pass_by(gapwalk.HOLD.total_seconds() + 1)
    await world.settle()
    pages.error = None
    world.clock.pass_by(60)
    await walk(world)
    await world.settle()
    assert (await world.recording()).ended_by is None
