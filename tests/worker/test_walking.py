"""Gaps in rooms' timelines: read page by page by a job for each room, in order, and given up after so long."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bot import orders
from bot.errors import TryLater
from bot.intake import gapwalk
from bot.matrix.batch import Gap, RoomBatch, SyncBatch
from bot.worker.walking import Walking
from storage import archive, gaps, journal, rooms
from storage.records import EventId, HeardEvent, RoomId
from tests.factories import a_room
from tests.world import ALICE, BOT, ROOM, START, Killed, Shell, chunk, heard, info, room_state, shell

OTHER = RoomId("!other:hs")


class Pages:
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


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Shell]:
    async with shell(tmp_path / "data") as made:
        await made.join()
        yield made


async def limited(stage: Shell, pages: Pages, *timeline: HeardEvent, until: str | None = "since") -> None:
    """A sync whose timeline is limited."""
    stage.handlers[orders.Walk.kind] = Walking(stage.store, pages, stage.intake, clock=stage.clock)
    await stage.intake.take(SyncBatch("t", (RoomBatch(ROOM, True, (), timeline, Gap("0", until)),)))


async def walk(stage: Shell) -> None:
    while await stage.work_one([orders.Walk.kind]):
        pass


async def walking(stage: Shell) -> int:
    async with stage.store.read() as db:
        return len(await gaps.walking(db, ROOM))


async def order(stage: Shell) -> list[str]:
    """The chunks as the recording has them."""
    async with stage.store.read() as db:
        recording = await archive.recording_by_event(db, START)
        return [one.event_id for one in await archive.chunks(db, recording.id)] if recording else []


async def test_what_a_gap_hides_is_dealt_with_before_what_was_heard_after_it(stage: Shell) -> None:
    """Pages come newest first, the broadcast begins on the last one, and its chunks stand in the room's order."""
    pages = Pages([chunk("$c3", 3)], [chunk("$c2", 2)], [info(START, "started"), chunk("$c1", 1)])
    await limited(stage, pages, chunk("$c4", 4))
    await stage.settle()
    assert await order(stage) == []
    await walk(stage)
    await stage.settle()
    assert await order(stage) == ["$c1", "$c2", "$c3", "$c4"]
    assert pages.asked == ["0", "1", "2"]
    assert await stage.waiting(orders.Reread.kind) == []


async def test_a_gap_that_can_not_be_read_holds_its_own_room_up_for_seconds_and_no_other(stage: Shell) -> None:
    """What was heard after it is dealt with then; the page is asked for again, and the state after ten minutes."""
    pages = Pages([])
    pages.error = TryLater("the homeserver answered 500")
    await limited(stage, pages, info(START, "started"), chunk("$c1", 1))
    async with stage.store.write() as db:
        await rooms.save_room(db, a_room(OTHER, at=stage.clock()))
    other = replace(info("$other", "started"), room_id=OTHER)
    await stage.intake.take(SyncBatch("u", (RoomBatch(OTHER, True, (), (other,)),)))
    await walk(stage)
    await stage.settle()
    async with stage.store.read() as db:
        assert await archive.recording_by_event(db, EventId("$other")) is not None
    assert await order(stage) == []
    stage.clock.pass_by(gapwalk.HOLD.total_seconds() + 1)
    await stage.settle()
    assert await order(stage) == ["$c1"]
    assert await stage.waiting(orders.Refresh.kind) == []
    for _ in range(60):
        stage.clock.pass_by(20)
        await walk(stage)
    assert 20 < len(pages.asked) < 60
    assert len(await stage.waiting(orders.Refresh.kind)) == 1


async def test_a_gap_that_can_be_read_hours_later_is(stage: Shell) -> None:
    """What it hides is recorded then, in its place."""
    pages = Pages([chunk("$c2", 2)], [info(START, "started"), chunk("$c1", 1)])
    pages.error = TryLater("the homeserver answered 500")
    await limited(stage, pages)
    await walk(stage)
    for _ in range(5):
        stage.clock.pass_by(5000)
        await walk(stage)
        await stage.settle()
    assert await walking(stage) == 1
    pages.error = None
    stage.clock.pass_by(5000)
    await walk(stage)
    await stage.settle()
    assert await walking(stage) == 0
    assert await order(stage) == ["$c1", "$c2"]


async def test_a_gap_that_was_seen_long_ago_is_asked_for_before_it_is_given_up(stage: Shell) -> None:
    """A bot that was away for a month still reads it; what the homeserver can't give then is given up."""
    pages = Pages([info(START, "started"), chunk("$c1", 1)])
    await limited(stage, pages)
    stage.clock.pass_by(30 * 86_400)
    await walk(stage)
    await stage.settle()
    assert await order(stage) == ["$c1"]
    pages.error = TryLater("the homeserver answered 500")
    await limited(stage, pages)
    stage.clock.pass_by(30 * 86_400)
    await walk(stage)
    assert await walking(stage) == 0


async def test_an_old_command_in_a_gap_is_history_and_what_is_not_wanted_is_not_written(stage: Shell) -> None:
    """It is known as such, so that nobody carries it out."""
    said = {"msgtype": "m.text", "body": "!aircheck record off"}
    talk = heard("$talk", "m.room.message", {"msgtype": "m.text", "body": "secret"})
    await limited(stage, Pages([heard("$command", "m.room.message", said), talk]))
    await walk(stage)
    async with stage.store.read() as db:
        written = await journal.unhandled(db, 10)
    assert [(one.event_id, one.history) for one in written] == [("$command", True)]


async def test_state_in_a_gap_replaces_nothing_newer(stage: Shell) -> None:
    """The state block is what it was when the timeline began."""
    await limited(stage, Pages([heard("$name", "m.room.name", {"name": "Old"}, state_key="")]))
    await walk(stage)
    async with stage.store.read() as db:
        assert await rooms.state(db, ROOM, "m.room.name") is None


@pytest.mark.parametrize("then", ["0", "1", "2"])
async def test_a_history_that_goes_in_circles_is_given_up(stage: Shell, then: str) -> None:
    """However long the circle is; what was found is kept."""
    pages = Pages([chunk("$c2", 2)], [info(START, "started")], [chunk("$c1", 1)], then=then)
    await limited(stage, pages)
    await walk(stage)
    await stage.settle()
    assert await walking(stage) == 0
    assert len(pages.asked) < 12
    assert set(await order(stage)) == {"$c2"} | set(await order(stage))


async def test_a_history_without_an_end_is_given_up(stage: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many pages."""
    monkeypatch.setattr(gapwalk, "MOST_PAGES", 7)
    pages = Pages(*[()] * 100)
    await limited(stage, pages)
    await walk(stage)
    assert await walking(stage) == 0
    assert len(pages.asked) == 7


async def test_strangers_chunks_in_a_gap_are_kept_in_bounds(stage: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows their broadcast; so many are kept until its begin may be found, and the rest leaves no trace."""
    monkeypatch.setattr(gapwalk, "MOST_UNCLAIMED", 20)
    flood = [chunk(f"$f{number}", number + 1) for number in range(300)]
    await limited(stage, Pages(flood[200:], flood[100:200], flood[:100]))
    await walk(stage)
    async with stage.store.read() as db:
        assert len(await journal.unhandled(db, 1000)) == 20
    assert len(await stage.waiting(orders.Reread.kind)) == 1
    await stage.settle()
    assert await order(stage) == []


async def test_what_a_room_shows_anew_is_walked_back_to_what_was_heard(stage: Shell) -> None:
    """Without a token the walk ends at the newest event that was heard, whether it was kept or not."""
    talk = heard("$talk", "m.room.message", {"msgtype": "m.text", "body": "secret"})
    await stage.hear(info(START, "started"), chunk("$c1", 1), talk)
    pages = Pages([chunk("$c3", 3)], [heard("$older", "m.room.message", {}), talk, chunk("$c2", 2)], [chunk("$c0", 9)])
    await limited(stage, pages, chunk("$c4", 4), until=None)
    await walk(stage)
    await stage.settle()
    assert await order(stage) == ["$c1", "$c2", "$c3", "$c4"]
    assert pages.asked == ["0", "1"]


async def test_what_a_room_shows_anew_and_was_heard_is_cut_off(stage: Shell) -> None:
    """Its timeline reaches back to it: there is no gap, and nothing is heard twice."""
    old = heard("$old", "m.room.message", {"msgtype": "m.text", "body": "!aircheck record off"})
    await stage.hear(info(START, "started"), chunk("$c1", 1))
    await limited(stage, Pages([]), old, chunk("$c1", 1), chunk("$c2", 2), until=None)
    await stage.settle()
    assert await order(stage) == ["$c1", "$c2"]
    assert (await walking(stage), await stage.waiting(orders.Command.kind)) == (0, [])


async def test_a_gap_behind_the_bots_own_coming_ends_there(tmp_path: Path) -> None:
    """What was said before it came is none of its business, and what was said since is."""
    async with shell(tmp_path / "data") as stage:
        before = list(room_state())
        before[3] = {**before[3], "event_id": "$in"}
        pages = Pages([heard("$in", "m.room.member", {"membership": "join"}, state_key=BOT), chunk("$c1", 1)], [])
        stage.handlers[orders.Walk.kind] = Walking(stage.store, pages, stage.intake, clock=stage.clock)
        await stage.intake.take(SyncBatch("t", (RoomBatch(ROOM, True, tuple(before), (), Gap("0", "since")),)))
        await walk(stage)
        assert (await walking(stage), pages.asked) == (0, ["0"])


@pytest.mark.parametrize("after_commit", [True, False])
async def test_a_walk_may_die_anywhere(tmp_path: Path, *, after_commit: bool) -> None:
    """It goes on where it was, and everything is there once and in order."""
    for death in range(1, 30):
        async with shell(tmp_path / f"data{death}") as stage:
            await stage.join()
            pages = Pages([chunk("$c3", 3)], [chunk("$c2", 2)], [info(START, "started"), chunk("$c1", 1)])
            await limited(stage, pages)
            stage.store.die_at(death, after_commit=after_commit)
            died = False
            try:
                await walk(stage)
            except Killed:
                died = True
            await stage.rise_again()
            stage.handlers[orders.Walk.kind] = Walking(stage.store, pages, stage.intake, clock=stage.clock)
            await walk(stage)
            await stage.settle()
            assert await order(stage) == ["$c1", "$c2", "$c3"]
        if not died:
            assert death > 4
            return
    raise AssertionError("it never lived")


async def test_who_left_in_a_gap_ends_what_began_before_it_and_nothing_else(stage: Shell) -> None:
    """A broadcast that began after the gap and was heard first goes on."""
    pages = Pages([heard("$left", "m.room.member", {"membership": "leave"}, state_key=ALICE)])
    pages.error = TryLater("the homeserver answered 500")
    await limited(stage, pages, info(START, "started"))
    await walk(stage)
    stage.clock.pass_by(gapwalk.HOLD.total_seconds() + 1)
    await stage.settle()
    pages.error = None
    stage.clock.pass_by(60)
    await walk(stage)
    await stage.settle()
    assert (await stage.recording()).ended_by is None
