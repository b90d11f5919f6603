"""The floor is the homeserver's: power levels and floor event follow the rows, whoever writes them too."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot import orders
from bot.errors import GiveUp, TryLater
from bot.event_types import PERMIT
from bot.intake import succession, walkie
from bot.matrix.batch import Invite, RoomBatch, SyncBatch
from bot.walkie import permits
from bot.walkie.model import Asked, GaveBack, Lapsed, Spoke
from storage import heirs, jobs, walkies
from storage.records import EventId, FloorPhase, Position, RoomId, StateEvent, UserId
from tests.clock import Clock
from tests.walkie.homeserver import (
    ALL,
    ANN,
    BEFORE,
    BOB,
    CAT,
    FLOOR,
    FLOOR_S,
    GUARD_S,
    LEVELS,
    Homeserver,
    Talk,
    changed,
    talk,
)
from tests.world import BOT, ROOM, batch, heard, state

ALICE = UserId("@alice:hs")
NEW = RoomId("!new:hs")


def asks(user: UserId) -> Asked:
    return Asked(user, EventId(f"$ask{user}"), Position(9))


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Talk]:
    async with talk(tmp_path / "data") as world:
        await world.enter()
        await world.on()
        await world.keep()
        yield world


async def test_a_room_is_locked_and_unlocked(room: Talk) -> None:
    """Nobody may speak in the room until somebody has the floor; switched off, all levels are as before."""
    assert room.homeserver.speakers() == []
    assert room.homeserver.floor["holder"] is None
    await room.off()
    await room.keep()
    assert room.homeserver.levels == BEFORE


async def test_a_room_that_is_switched_off_during_a_turn_is_left_alone(room: Talk) -> None:
    """The levels are put back at once; then nothing more is to be done, also after the guard time."""
    await room.apply(asks(ANN))
    await room.keep()
    await room.off()
    await room.keep()
    assert room.homeserver.levels == BEFORE
    async with room.store.read() as db:
        assert await jobs.next_due(db, [orders.KeepFloor.kind]) is None
    await room.check()
    row = await room.row()
    assert (row.saved, row.delayed) == ((), None)


async def test_turns_order_nothing_that_hangs_on_the_rights_of_the_bot(room: Talk) -> None:
    """The state event and the pin of a room are looked at again after a change of its levels, but after no turn."""

    async def ordered() -> int:
        return sum([len(await room.waiting(kind)) for kind in (orders.ShowRoom.kind, orders.Pin.kind)])

    async with room.store.write() as db:
        await jobs.cancel(db, [orders.ShowRoom.about(ROOM), orders.Pin.about(ROOM)])
    await room.apply(asks(ANN))
    await room.keep()
    await room.apply(Spoke(ANN))
    await room.keep()
    assert await ordered() == 0
    room.homeserver.write(LEVELS, "", ALICE, changed(room.homeserver.levels, users={CAT: 10}))
    await room.keep()
    assert await ordered() == 2


async def test_a_late_release_locks_no_room_that_was_switched_off(room: Talk) -> None:
    """The scheduled release could not be cancelled, and locks the room again: that is undone."""
    await room.apply(asks(ANN))
    await room.keep()
    room.homeserver.failing = {"cancel": TryLater("the homeserver can't be reached")}
    await room.off()
    await room.keep()
    assert room.homeserver.levels == BEFORE
    room.clock.pass_by(FLOOR_S + 1)
    room.homeserver.pass_time()
    assert room.homeserver.levels != BEFORE
    room.homeserver.failing = {}
    await room.later(2)
    assert room.homeserver.levels == BEFORE
    assert (await room.row()).saved == ()


async def test_a_late_release_takes_no_later_turn_for_long(room: Talk) -> None:
    """The release of a turn could not be cancelled, and lowers the next holder, whom the bot raises again at once. The
    floor event follows after its pause."""
    await room.apply(asks(ANN))
    await room.keep()
    room.clock.pass_by(FLOOR_S - 5)
    room.homeserver.failing = {"cancel": TryLater("the homeserver can't be reached")}
    await room.apply(Spoke(ANN))
    await room.apply(asks(BOB))
    await room.keep()
    await room.later(GUARD_S)
    assert room.homeserver.speakers() == [BOB]
    room.clock.pass_by(5)
    room.homeserver.pass_time()
    assert room.homeserver.speakers() == []
    await room.keep()
    assert room.homeserver.speakers() == [BOB]
    await room.later(10)
    assert room.homeserver.floor["holder"] == BOB


async def test_a_permit_that_the_homeserver_refuses_hinders_no_floor(room: Talk) -> None:
    """The state key of a member with a very long id would be too long. They have their permit all the same."""
    long = UserId("@" + "e" * 251 + ":hs")
    async with room.store.write() as db:
        await walkie.give_permit(db, ROOM, long, until=None, at=Position(20), now=room.clock())
    await room.keep()
    await room.apply(asks(long))
    await room.keep()
    row = await room.row()
    assert (row.hindered, row.floor.holder) == (False, long)
    async with room.store.read() as db:
        assert await walkies.unwritten_permits(db, ROOM, 1) == ()


async def test_permits_that_can_not_be_written_hold_up_no_floor(room: Talk) -> None:
    """While the homeserver limits how fast the bot writes permits the next in the queue has the floor in time; then all
    permits are written."""
    users = [UserId(f"@u{number}:hs") for number in range(12)]
    room.homeserver.failing = {f"put {PERMIT}": TryLater("the homeserver asks for a pause")}
    async with room.store.write() as db:
        for user in users:
            await walkie.give_permit(db, ROOM, user, until=None, at=Position(20), now=room.clock())
    await room.apply(asks(ANN))
    await room.apply(asks(BOB))
    await room.keep()
    await room.apply(Spoke(ANN))
    await room.keep()
    await room.later(GUARD_S)
    assert room.homeserver.speakers() == [BOB]
    room.homeserver.failing = {}
    await room.later(FLOOR_S)
    assert all((PERMIT, f"_{user}") in room.homeserver.current for user in users)


async def test_a_members_own_newer_permit_is_not_followed_by_one_of_the_bots(room: Talk) -> None:
    """The bot's own event would be older, whichever of the two permits was taken in first."""
    ours, theirs = (PERMIT, f"_{ANN}"), {"receive": False, "send": False}
    written = room.homeserver.current[ours]
    own = permits.read(ROOM, ANN, theirs, Position(40))
    event = StateEvent(ROOM, PERMIT, ANN, ANN, theirs, Position(40))
    async with room.store.write() as db:
        await walkie.permit_heard(db, None, event, room.clock())
        await walkie.end_permit(db, ROOM, ANN, at=Position(30), now=room.clock())
    await room.keep()
    assert room.homeserver.current[ours] == written
    async with room.store.write() as db:
        assert await walkie.permit_of(db, ROOM, ANN) == own
        await walkie.end_permit(db, ROOM, ANN, at=Position(50), now=room.clock())
        await walkie.permit_heard(db, None, replace(event, position=Position(45)), room.clock())
    await room.keep()
    assert room.homeserver.current[ours] != written


@pytest.mark.parametrize("request_", [f"put {FLOOR}", "replaced"])
async def test_whom_the_bot_raised_is_lowered_whatever_the_homeserver_refuses(tmp_path: Path, request_: str) -> None:
    """The turn is over when a part of its grant is refused; the room is told, and the floor tried again later."""
    async with talk(tmp_path / "data", Homeserver(Clock(), longest_ms=0)) as room:
        await room.enter()
        await room.on()
        await room.keep()
        refusal = GiveUp("the homeserver refused: 403 M_FORBIDDEN", reason="forbidden")
        room.homeserver.failing = {request_: refusal}
        await room.apply(asks(ANN))
        await room.keep()
        assert room.homeserver.speakers() == []
        told = [notice["body"] for notice in await room.waiting(orders.Notice.kind) if "floor" in notice["body"]]
        assert len(told) == 1
        room.homeserver.failing = {}
        await room.later(60)
        assert not (await room.row()).hindered
        await room.apply(asks(BOB))
        await room.keep()
        assert room.homeserver.speakers() == [BOB]


async def test_the_holder_alone_may_speak_and_the_next_follows(room: Talk) -> None:
    """The first who asked is raised before the floor event names them; after their transmission nobody may speak for
    the guard time, then the next may."""
    await room.apply(asks(ANN))
    await room.apply(asks(BOB))
    await room.keep()
    assert room.homeserver.speakers() == [ANN]
    assert room.homeserver.floor["holder"] == ANN
    assert room.homeserver.floor["until"] - room.homeserver.floor["since"] == FLOOR_S * 1000
    assert room.homeserver.floor["queue"] == [BOB]
    kinds = [kind for _, kind, *_ in room.homeserver.written]
    assert kinds[-2:] == [LEVELS, FLOOR]
    await room.apply(Spoke(ANN))
    await room.keep()
    assert room.homeserver.speakers() == []
    assert room.homeserver.levels["users"] == BEFORE["users"]
    assert (await room.row()).floor.phase is FloorPhase.GUARD
    await room.later(GUARD_S)
    assert room.homeserver.speakers() == [BOB]
    await room.check()


async def test_a_floor_ends_with_its_time(room: Talk) -> None:
    """A silent holder loses the floor after `walkie.floor_s`; nothing is scheduled any more."""
    await room.apply(asks(ANN))
    await room.keep()
    assert [event.kind for event in room.homeserver.delayed.values()] == [LEVELS, FLOOR]
    await room.later(FLOOR_S - 1)
    assert room.homeserver.speakers() == [ANN]
    await room.later(1)
    assert room.homeserver.speakers() == []
    assert room.homeserver.delayed == {}


async def test_the_homeserver_releases_the_floor_of_a_dead_bot(room: Talk) -> None:
    """While the bot is gone the scheduled release locks the room and shows a free floor."""
    await room.apply(asks(ANN))
    await room.keep()
    room.clock.pass_by(FLOOR_S + 1)
    room.homeserver.pass_time()
    assert room.homeserver.speakers() == []
    assert room.homeserver.floor["holder"] is None
    await room.start_again()
    await room.check()


async def test_without_delayed_events_a_start_puts_the_room_right(tmp_path: Path) -> None:
    """A homeserver without them leaves the holder raised until the bot is back, which releases them first of all."""
    async with talk(tmp_path / "data", Homeserver(Clock(), longest_ms=0)) as world:
        await world.enter()
        await world.on()
        await world.apply(asks(ANN))
        await world.apply(asks(BOB))
        await world.keep()
        assert world.homeserver.delayed == {}
        world.clock.pass_by(FLOOR_S + 100)
        await world.start_again()
        assert world.homeserver.speakers() == []
        await world.later(GUARD_S)
        assert world.homeserver.speakers() == [BOB]


async def test_who_has_the_level_anyway_gets_the_floor_event_alone(room: Talk) -> None:
    """A moderator's level stays as it is, and a release leaves it so."""
    theirs = changed(room.homeserver.levels, users={CAT: 50})
    room.homeserver.write(LEVELS, "", ALICE, theirs)
    await room.apply(asks(CAT))
    await room.keep()
    assert room.homeserver.floor["holder"] == CAT
    await room.apply(GaveBack(CAT))
    await room.keep()
    assert room.homeserver.floor["holder"] is None
    assert room.homeserver.levels == theirs


async def test_what_others_write_at_the_same_moment_is_kept(room: Talk) -> None:
    """A change between the bot's reading and its writing is written again, with the holder raised in it."""
    room.homeserver.between = changed(room.homeserver.levels, events={"m.room.topic": 75})
    await room.apply(asks(ANN))
    await room.keep()
    assert room.homeserver.levels["events"]["m.room.topic"] == 75
    assert room.homeserver.speakers() == [ANN]


async def test_the_release_is_scheduled_anew_when_others_change_the_levels(room: Talk) -> None:
    """The homeserver drops the scheduled release then; the new one has their change in it."""
    await room.apply(asks(ANN))
    await room.keep()
    room.homeserver.write(LEVELS, "", ALICE, changed(room.homeserver.levels, events={"m.room.topic": 75}))
    await room.keep()
    (levels,) = [event.content for event in room.homeserver.delayed.values() if event.kind == LEVELS]
    assert levels["events"]["m.room.topic"] == 75
    assert ANN not in levels["users"] or levels["users"][ANN] == 5


async def test_levels_that_bring_a_former_holder_back_are_put_right(room: Talk) -> None:
    """A client writes the levels that it read while somebody had the floor: there are never two holders for long."""
    await room.apply(asks(ANN))
    await room.keep()
    read = room.homeserver.levels
    await room.apply(Spoke(ANN))
    await room.apply(asks(BOB))
    await room.keep()
    await room.later(GUARD_S)
    room.homeserver.write(LEVELS, "", ALICE, changed(read, events={"m.room.topic": 75}))
    await room.keep()
    assert room.homeserver.speakers() == [BOB]
    assert room.homeserver.levels["events"]["m.room.topic"] == 75


async def test_a_level_that_a_moderator_gives_a_former_holder_stays(room: Talk) -> None:
    """Some time after their floor a member who gets the level of a speaker keeps it."""
    await room.apply(asks(ANN))
    await room.keep()
    await room.apply(Spoke(ANN))
    await room.later(61)
    room.homeserver.write(LEVELS, "", ALICE, changed(room.homeserver.levels, users={ANN: 10}))
    await room.apply(asks(BOB))
    await room.later(5)
    assert room.homeserver.speakers() == [ANN, BOB]


async def test_a_floor_event_of_somebody_else_is_written_over(room: Talk) -> None:
    """The floor is what the bot says."""
    room.homeserver.write(FLOOR, "", ALICE, {"holder": BOB})
    await room.later(10)
    assert room.homeserver.floor["holder"] is None


async def test_two_programs_do_not_write_floors_without_end(room: Talk) -> None:
    """Whoever writes over the bot's floor event at once is answered after a pause, not each time."""
    for _ in range(5):
        room.homeserver.write(FLOOR, "", ALICE, {"holder": BOB})
        await room.keep()
    ours = [event for event in room.homeserver.written if event[1] == FLOOR and event[3] == BOT]
    assert len(ours) == 1
    await room.later(10)
    assert room.homeserver.floor["holder"] is None


async def test_a_lost_right_is_told_once_and_put_right_when_it_is_back(room: Talk) -> None:
    """A bot that was demoted ends floor and queue, says so once, and lowers the holder as soon as it may."""
    await room.apply(asks(ANN))
    await room.apply(asks(BOB))
    await room.keep()
    held = room.homeserver.levels
    room.homeserver.write(LEVELS, "", ALICE, changed(held, users={BOT: 50}))
    await room.keep()
    await room.apply(asks(CAT))
    await room.keep()
    row = await room.row()
    assert (row.hindered, row.floor.holder, row.floor.queue) == (True, None, ())
    told = [notice["body"] for notice in await room.waiting(orders.Notice.kind) if "floor" in notice["body"]]
    assert len(told) == 1
    assert "100" in told[0]
    room.homeserver.write(LEVELS, "", ALICE, held)
    await room.keep()
    assert room.homeserver.speakers() == []
    await room.check()
    await room.apply(asks(CAT))
    await room.later(GUARD_S)
    assert room.homeserver.speakers() == [CAT]


@pytest.mark.parametrize("switched_on_first", [False, True])
async def test_an_upgraded_room_is_an_ordinary_one(room: Talk, switched_on_first: bool) -> None:
    """A homeserver copies the levels of a locked room, with its holder's: the bot puts them back in the new room, or
    does once its walkie-talkie is switched off there, also one that was on before the rooms were known to be one."""
    await room.apply(asks(ANN))
    await room.keep()
    copied = room.homeserver.levels
    tombstone = heard("$tombstone", "m.room.tombstone", {"replacement_room": NEW}, state_key="", sender=ALICE)
    invite = Invite(NEW, UserId("@somebody:hs") if switched_on_first else ALICE, direct=False, encrypted=False)
    predecessor = {"room_id": ROOM, "event_id": "$tombstone"}
    copy = (
        state("m.room.create", {"room_version": "11", "predecessor": predecessor}, sender=ALICE),
        state(LEVELS, copied, sender=ALICE),
        *(state("m.room.member", {"membership": "join"}, user, user) for user in (ALICE, BOT, *ALL)),
    )
    await room.hear(tombstone)
    await room.intake.take(SyncBatch("invited", invites=(invite,)))
    await room.intake.take(SyncBatch("joined", (RoomBatch(NEW, True, copy),)))
    if switched_on_first:
        async with room.store.write() as db:
            await walkie.switch_on(db, NEW, room.clock(), floor_s=FLOOR_S, guard_s=GUARD_S)
        await room.keeping.put_right(NEW)
        async with room.store.write() as db:
            await heirs.let_in(db, NEW, ALICE)
            await succession.settle(db, NEW, room.clock(), publishes=lambda _: False)
            await walkie.switch_off(db, NEW, room.clock())
    await room.keeping.put_right(NEW)
    assert room.homeserver.levels == BEFORE


async def test_who_leaves_loses_the_floor(room: Talk) -> None:
    """Leaving the room ends the floor, and a place in the queue."""
    await room.apply(asks(ANN))
    await room.apply(asks(BOB))
    await room.keep()
    gone = [state("m.room.member", {"membership": "leave"}, user, user, f"$gone{user}") for user in (ANN, BOB)]
    await room.intake.take(batch(before=tuple(gone)))
    await room.keep()
    row = await room.row()
    assert (row.floor.holder, row.floor.queue) == (None, ())
    assert room.homeserver.speakers() == []


async def test_a_permit_that_ends_ends_the_floor(room: Talk) -> None:
    """A member's own event is newer than the bot's; it ends by itself, and the floor with it."""
    ends = round(room.clock().timestamp() * 1000) + 30_000
    permit = {"receive": True, "send": True, "expires_ts": ends}
    room.homeserver.write("org.aircheck.walkie.permit", ANN, ANN, permit)
    await room.keep()
    await room.apply(asks(ANN))
    await room.keep()
    assert room.homeserver.speakers() == [ANN]
    await room.later(29)
    assert room.homeserver.speakers() == [ANN]
    await room.later(1)
    assert room.homeserver.speakers() == []
    await room.apply(asks(ANN))
    await room.keep()
    assert (await room.row()).floor.queue == ()


@pytest.mark.parametrize("heard_of_it", [True, False], ids=["redaction", "state"])
async def test_a_permit_that_was_redacted_counts_no_more(room: Talk, heard_of_it: bool) -> None:
    """Its floor ends, whether the redaction came or the room's state was read anew; what the bot gave later counts."""
    kind, permit = "org.aircheck.walkie.permit", {"receive": True, "send": True}
    for user in (ANN, BOB):
        room.homeserver.write(kind, user, user, permit)
    await room.sync()
    async with room.store.write() as db:
        await walkie.give_permit(db, ROOM, BOB, until=None, at=Position(1000), now=room.clock())
    for user in (ANN, BOB):
        await room.apply(asks(user))
    permits = [event for event in room.homeserver.written if event[1:4] in ((kind, ANN, ANN), (kind, BOB, BOB))]
    for event_id, _, key, *_ in permits:
        if heard_of_it:
            redacts = heard(f"$no{key}", "m.room.redaction", {"redacts": event_id}, redacts=event_id, sender=key)
            await room.hear(redacts)
        else:
            await room.intake.take(batch(before=(state(kind, {}, key, key, event_id),)))
    floor = (await room.row()).floor
    assert (floor.holder, [request.user for request in floor.queue]) == (None, [BOB])


async def test_the_bot_writes_the_permits_that_it_gives(room: Talk) -> None:
    """They stand under `_` and the user id; what somebody else writes there counts for nothing."""
    kind = "org.aircheck.walkie.permit"
    assert room.homeserver.current[kind, f"_{ANN}"] == {"receive": True, "send": True, "expires_ts": None}
    room.homeserver.write(kind, f"_{ANN}", BOB, {"receive": False})
    await room.keep()
    await room.apply(asks(ANN))
    assert (await room.row()).floor.holder == ANN


async def test_who_has_no_permit_gets_no_floor(room: Talk) -> None:
    """Neither somebody who never joined, nor somebody whose own event takes the right back."""
    room.homeserver.write("org.aircheck.walkie.permit", BOB, BOB, {"receive": False, "send": True})
    await room.keep()
    for user in (BOB, UserId("@dan:hs")):
        await room.apply(asks(user))
    assert (await room.row()).floor.holder is None


async def test_an_outage_ends_with_the_room_put_right(room: Talk) -> None:
    """While the homeserver can't be reached the floor waits; then it follows."""
    room.homeserver.away = True
    await room.apply(asks(ANN))
    await room.keep()
    room.homeserver.away = False
    await room.later(3)
    await room.check()
    assert room.homeserver.speakers() == [ANN]


async def test_a_bot_that_was_put_out_of_the_room_puts_it_right_when_it_is_back(room: Talk) -> None:
    """Nobody keeps the floor of a room that the bot left."""
    await room.apply(asks(ANN))
    await room.keep()
    await room.intake.take(batch(joined=False))
    await room.keep()
    assert (await room.row()).floor.holder is None
    members = [state("m.room.member", {"membership": "join"}, user, user) for user in (BOT, *ALL)]
    create = state("m.room.create", {"room_version": "11"})
    await room.intake.take(batch(before=(create, *members, state(LEVELS, room.homeserver.levels))))
    await room.keep()
    await room.check()
    await room.apply(Lapsed(ANN))
    assert room.homeserver.speakers() == []
    assert (await room.row()).room_id == ROOM
