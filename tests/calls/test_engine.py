"""The engine of calls: when the bot joins a call, what it keeps of it, when it leaves, and what a crash costs."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.calls.media.door import Unfit
from bot.calls.model import HungUp, LegId, Offered, Received, Renegotiated
from bot.errors import GiveUp, TryLater
from bot.recording.kinds import lay_out
from bot.recording.model import Deleted, Ended
from storage import archive, optouts
from storage.blobs.folder import Folder
from storage.errors import DiskFullError
from storage.records import (
    CallEventKind,
    ChunkState,
    EndedBy,
    LeftBy,
    OptOut,
    Position,
    RecordingState,
    RoomId,
    UserId,
)
from storage.stem_files import GrowingFile
from tests.calls.stage import YAN, ZOE, Stage
from tests.world import ALICE, ROOM, World

S = 48_000


@pytest.fixture
async def stage(world: World) -> AsyncIterator[Stage]:
    made = Stage(world)
    await made.open_room()
    yield made
    await made.die()


async def opt_out(stage: Stage, user: UserId, room: RoomId = ROOM, *, out: bool = True) -> None:
    """Object, or take it back, and have the calls looked at as the command does."""
    async with stage.store.write() as db:
        await optouts.add(db, OptOut(user, room, Position(stage.next_position()), out=out, at=stage.world.clock()))
    await stage.look()


# ---- a call from its beginning to its end


async def test_a_member_calls_before_the_homeserver_has_answered(stage: Stage) -> None:
    """A member who calls as soon as the bot's entry is seen is answered, though the bot is still joining."""
    offered = Received("a-call", stage.device(ALICE), LegId("leg"), Offered("their offer"), 0, encrypted=True)
    stage.presence.seen = lambda: stage.hear(offered)
    await stage.call()
    await stage.enter(ALICE)
    await stage.quiet()
    assert [leg.done for leg in stage.media.legs] == [["answer"]]


async def test_a_call_is_recorded_from_its_notice_to_its_end(stage: Stage) -> None:
    """The bot shows itself once the room was told, calls who is there, and keeps a stem for each until the end."""
    await stage.call()
    assert await stage.recordings() == []
    await stage.enter(ZOE)
    assert [notice.during for notice in stage.told if notice.opens] == [(await stage.recording()).id]
    assert stage.presence.done == ["shown"]
    leg = await stage.connect(ZOE)
    leg.speak(3)
    await stage.pass_by(3)
    await stage.call(terminated=True)
    recording = await stage.recording()
    assert (recording.ended_by, recording.state) == (EndedBy.STOPPED, RecordingState.COMPLETE)
    (stem,) = recording.stems
    assert (stem.user_id, stem.left_by, stem.received) == (ZOE, LeftBy.ENDED, 3 * S)
    assert stem.blob is not None
    assert leg.is_closed
    assert stage.presence.done == ["shown", "hidden"]
    assert isinstance(stage.sent[-1].message, HungUp)
    async with stage.store.read() as db:
        assert lay_out(recording, await archive.chunks(db, recording.id)).sounds


async def test_since_when_a_call_is_not_written_is_known(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time for which nothing was written of a call grows while that fails, and is over with the next sound that is
    on the disk."""
    assert stage.engine.unwritten_since is None
    await stage.call()
    await stage.enter(ZOE)
    leg = await stage.connect(ZOE)

    async def unwritten_s() -> float:
        """Let the call write, as it does each second, and return for how long it could not."""
        assert stage.live is not None
        leg.speak(1)
        await stage.pass_by(1)
        stage.live.rows.advance(stage.live.now())
        await stage.live.rows.done()
        since = stage.engine.unwritten_since
        assert since is not None
        return round((stage.world.clock() - since).total_seconds(), 2)

    assert await unwritten_s() == 0
    with monkeypatch.context() as patched:
        patched.setattr(GrowingFile, "add", _full)
        assert await unwritten_s() == 1
        stage.world.clock.pass_by(60)
        assert await unwritten_s() == 62
    assert await unwritten_s() == 0
    await stage.call(terminated=True)
    assert stage.engine.unwritten_since is None


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


async def test_nothing_is_shown_before_the_notice_is_in_the_room(stage: Stage) -> None:
    """While the homeserver does not take the notice, the bot is in no call and no leg is made."""
    stage.tells = False
    await stage.call()
    await stage.enter(ZOE)
    assert (await stage.recording()).notice is None
    assert stage.presence.done == []
    stage.tells = True
    await stage.work()
    assert stage.presence.done == ["shown"]


async def test_a_call_that_ended_before_the_notice_is_never_joined(stage: Stage) -> None:
    """If the call is over when the notice is in the room, the recording is empty and the bot was not shown."""
    stage.tells = False
    await stage.call()
    await stage.enter(ZOE)
    await stage.call(terminated=True)
    stage.tells = True
    await stage.work()
    assert (await stage.recording()).state is RecordingState.EMPTY
    assert stage.presence.done == []


@pytest.mark.parametrize("policies", [{"calls_on": False}, {"joined": False}])
async def test_no_call_is_joined_that_is_not_wanted(world: World, policies: dict[str, bool]) -> None:
    """Nothing begins where calls are not recorded, or the bot is not in the room."""
    stage = Stage(world)
    await stage.open_room(**policies)
    await stage.call()
    await stage.enter(ZOE)
    await stage.look()
    assert await stage.recordings() == []


async def test_record_call_is_for_the_call_that_runs(world: World) -> None:
    """A wish for one call records that one, and no later one."""
    stage = Stage(world)
    await stage.open_room(calls_on=False)
    await stage.call()
    await stage.enter(ZOE)
    assert await stage.recordings() == []
    await stage.policy(call_wanted=True)
    await stage.look()
    assert (await stage.recording()).chosen
    await stage.call(terminated=True)
    await stage.call(call_id="another")
    await stage.enter(ZOE, call_id="another")
    assert len(await stage.recordings()) == 1


async def test_a_bot_that_may_not_show_itself_says_so_once(stage: Stage) -> None:
    """Without the power for its own entry the bot joins nothing and tells the room what it lacks, once."""
    await stage.levels(50)
    await stage.call()
    await stage.enter(ZOE)
    await stage.enter(YAN)
    assert await stage.recordings() == []
    assert sum("power" in notice.body for notice in stage.told) == 1
    await stage.levels(0)
    assert len(await stage.recordings()) == 1


async def test_who_comes_later_is_told_once(stage: Stage) -> None:
    """Members of before the notice read that; one who comes later gets a reply, once however often they come."""
    await stage.call()
    await stage.enter(ZOE)
    for _ in range(2):
        await stage.enter(YAN)
        await stage.leave(YAN)
    replies = [notice for notice in stage.told if notice.reply_to is not None]
    assert [notice.mentions for notice in replies] == [(YAN,)]


# ---- legs


async def test_a_call_from_another_device_is_answered(stage: Stage) -> None:
    """A device whose turn it is to call is answered; its mute and the end of its sound are events."""
    await stage.call()
    await stage.enter(ALICE)
    leg = await stage.be_called(ALICE)
    leg.connect()
    leg.speak(1)
    await stage.pass_by(1)
    await stage.leave(ALICE)
    assert leg.is_closed
    assert await stage.events() == [(ALICE, CallEventKind.JOINED), (ALICE, CallEventKind.LEFT)]
    (stem,) = (await stage.recording()).stems
    assert (stem.left_by, stem.received) == (LeftBy.LEFT, S)


@pytest.mark.parametrize("offer", ["bad", "worse"])
async def test_a_bad_leg_ends_alone(stage: Stage, offer: str) -> None:
    """An offer that the media refuse, or fail at, ends its own leg; the others go on."""
    await stage.call()
    await stage.enter(ZOE)
    good = await stage.connect(ZOE)
    await stage.enter(ALICE)
    bad = await stage.be_called(ALICE, offer=offer)
    assert bad.is_closed
    good.speak(1)
    await stage.call(terminated=True)
    assert [stem.received for stem in (await stage.recording()).stems] == [S]


async def test_messages_are_heeded_in_their_order(stage: Stage) -> None:
    """A message that overtook the one before it waits for it."""
    await stage.call()
    await stage.enter(ALICE)
    leg = await stage.be_called(ALICE)
    device = stage.device(ALICE)
    leg.connect()
    await stage.quiet()
    stage.hear(Received("a-call", device, LegId("leg"), HungUp(), 2, encrypted=True))
    await stage.quiet()
    assert not leg.is_closed
    stage.hear(Received("a-call", device, LegId("leg"), Renegotiated(True, "new offer"), 1, encrypted=True))
    await stage.quiet()
    assert leg.done[-1] == "renegotiate"
    assert leg.is_closed


async def test_a_flood_of_messages_is_bounded(stage: Stage) -> None:
    """The messages of others that wait are bounded, and the call goes on."""
    await stage.call()
    await stage.enter(ALICE)
    await stage.enter(YAN)
    live = stage.live
    assert live is not None
    for number in range(5000):
        live.take(Received("a-call", stage.device(YAN), LegId(f"leg{number}"), HungUp(), None, encrypted=True))
    assert len(live._events) <= 1000
    await stage.quiet()
    leg = await stage.be_called(ALICE)
    assert leg.done == ["answer"]


async def test_last_words_are_kept(stage: Stage) -> None:
    """Sound that the media hand on while they close is in the stem."""
    await stage.call()
    await stage.enter(ZOE)
    leg = await stage.connect(ZOE)
    leg.speak(1)
    leg.last_words = lambda: leg.speak(0.1)
    await stage.pass_by(1.1)
    await stage.call(terminated=True)
    assert [stem.received for stem in (await stage.recording()).stems] == [55 * 960]


async def test_a_message_that_cannot_be_sent_ends_its_leg(stage: Stage) -> None:
    """A device that can't be reached by Olm has no leg."""
    stage.refuses = GiveUp("a device of the call has published no keys", reason="no_keys")
    await stage.call()
    await stage.enter(ZOE)
    assert [leg.is_closed for leg in stage.media.legs] == [True]


# ---- consent


async def test_who_opted_out_is_not_received(stage: Stage) -> None:
    """No leg is made to a member who opted out, and the leg of one who does so later is closed."""
    await opt_out(stage, YAN)
    await stage.call()
    await stage.enter(ZOE)
    await stage.enter(YAN)
    leg = await stage.connect(ZOE)
    assert len(stage.media.legs) == 1
    leg.speak(1)
    await stage.pass_by(1)
    await opt_out(stage, ZOE)
    assert leg.is_closed
    assert {what for _, what in await stage.events()} == {CallEventKind.JOINED, CallEventKind.DECLINED}


async def test_a_call_of_none_but_those_who_opted_out_is_not_joined(stage: Stage) -> None:
    """A device that is declined is nobody."""
    await opt_out(stage, ZOE)
    await stage.call()
    await stage.enter(ZOE)
    assert await stage.recordings() == []
    await opt_out(stage, ZOE, out=False)
    assert len(await stage.recordings()) == 1


async def test_who_opted_out_is_no_broadcaster(stage: Stage) -> None:
    """The first member whose sound may be received stands for the speakers while the call runs."""
    await opt_out(stage, YAN)
    await stage.call()
    await stage.enter(YAN)
    await stage.enter(ZOE)
    assert (await stage.recording()).broadcaster == ZOE


# ---- the end


async def test_the_bot_leaves_a_call_that_it_is_alone_in(stage: Stage) -> None:
    """Alone for `calls.empty_s` the recording ends; who comes back is recorded anew, under their member event."""
    await stage.call()
    await stage.enter(ZOE)
    await stage.leave(ZOE)
    await stage.pass_by(29)
    assert (await stage.recording()).state is RecordingState.LIVE
    await stage.pass_by(2)
    assert (await stage.recording()).ended_by is EndedBy.STOPPED
    assert stage.presence.done == ["shown", "hidden"]
    event_id = await stage.enter(ZOE)
    first, second = await stage.recordings()
    assert second.event_id == event_id != first.event_id


async def test_a_call_that_was_too_long_is_not_joined_again(stage: Stage) -> None:
    """After `recording.max_broadcast_s` the bot stays away until nobody was in the call once."""
    await stage.call()
    await stage.enter(ZOE)
    leg = await stage.connect(ZOE)
    leg.speak(1)
    await stage.pass_by(121)
    assert (await stage.recording()).ended_by is EndedBy.LIMIT
    await stage.enter(YAN)
    assert len(await stage.recordings()) == 1
    await stage.leave(YAN)
    await stage.leave(ZOE)
    await stage.enter(ZOE)
    assert len(await stage.recordings()) == 2


async def test_a_recording_that_is_deleted_while_it_runs_leaves_nothing(stage: Stage) -> None:
    """Stems go, the bot leaves the call, and does not record it anew."""
    await stage.call()
    await stage.enter(ZOE)
    await stage.world.work()
    before = stage.world.files()
    (await stage.connect(ZOE)).speak(1)
    await stage.apply(Deleted())
    await stage.work()
    await stage.world.work()
    assert stage.presence.done == ["shown", "hidden"]
    assert stage.world.files() == before
    assert not list((stage.store.directory / "calls").rglob("*.ogg"))
    await stage.enter(YAN)
    assert len(await stage.recordings()) == 1


async def test_power_that_is_taken_away_ends_the_recording(stage: Stage) -> None:
    """A bot that may no longer show itself leaves."""
    await stage.call()
    await stage.enter(ZOE)
    (await stage.connect(ZOE)).speak(1)
    await stage.levels(50)
    recording = await stage.recording()
    assert (recording.ended_by, [stem.left_by for stem in recording.stems]) == (EndedBy.REMOVED, [LeftBy.ENDED])


async def test_a_refused_entry_ends_the_recording(stage: Stage) -> None:
    """Nothing is recorded where the homeserver refuses the bot's entry."""
    stage.presence.fails = GiveUp("the homeserver refused: 403 M_FORBIDDEN", reason="forbidden")
    await stage.call()
    await stage.enter(ZOE)
    assert (await stage.recording()).ended_by is EndedBy.REMOVED
    assert stage.media.legs == []


async def test_a_leg_that_is_closed_while_it_is_made_loses_nothing(stage: Stage) -> None:
    """Media that gather addresses are not cancelled: the leg is closed at once and brings them to an end; the stems of
    others don't wait for it."""
    await stage.call()
    await stage.enter(YAN)
    leg = await stage.connect(YAN)
    stage.media.gathers.clear()
    await stage.enter(ZOE)
    while len(stage.media.legs) < 2:  # noqa: ASYNC110 (its own task makes it)
        await asyncio.sleep(0)
    await stage.leave(ZOE)
    assert stage.media.legs[1].is_closed
    leg.speak(1)
    await stage.leave(YAN)
    assert [stem.received for stem in (await stage.recording()).stems] == [S]
    stage.media.gathers.set()
    await stage.quiet()
    assert stage.media.legs[1].done == ["offer"]


async def test_without_media_that_work_nothing_begins(stage: Stage) -> None:
    """Nobody sees the bot or reads that it records while the libraries of calls are broken: the room is told once that
    it can't. A call that was recorded before a restart ends."""
    stage.media.fails = Unfit("aiortc lacks a place")
    await stage.call()
    await stage.enter(ZOE)
    await stage.look()
    assert (await stage.recordings(), stage.presence.done) == ([], [])
    assert sum("does not work" in notice.body for notice in stage.told) == 1
    stage.media.fails = None
    await stage.look()
    assert stage.live is not None
    await stage.crash()
    stage.media.fails = Unfit("aiortc lacks a place")
    await stage.engine.after_first_sync()
    await stage.work()
    assert [recording.ended_by for recording in await stage.recordings()] == [EndedBy.REMOVED]


async def test_messages_of_members_are_heeded_while_the_bot_is_in_their_call(stage: Stage) -> None:
    """Messages of a member count, also of one who is not listed yet, and none of anybody else, or without a call."""
    assert not await stage.engine.heeds(YAN)
    await stage.call()
    await stage.enter(ZOE)
    assert await stage.engine.heeds(YAN)
    assert not await stage.engine.heeds(UserId("@stranger:far"))
    await stage.call(terminated=True)
    assert not await stage.engine.heeds(YAN)


async def test_record_off_closes_the_stems(stage: Stage) -> None:
    """A recording that a command ends in the rows is ended in the call, with all sound so far."""
    await stage.call()
    await stage.enter(ZOE)
    (await stage.connect(ZOE)).speak(2)
    await stage.pass_by(2)
    await stage.policy(calls_on=False)
    await stage.apply(Ended(EndedBy.SWITCHED_OFF))
    await stage.work()
    recording = await stage.recording()
    assert (recording.ended_by, recording.state) == (EndedBy.SWITCHED_OFF, RecordingState.COMPLETE)
    assert [stem.received for stem in recording.stems] == [2 * S]
    assert stage.live is None


async def test_an_entry_that_could_not_be_removed_is_removed_later(stage: Stage) -> None:
    """The recording ends while the homeserver is away; the entry goes once it is back."""
    await stage.call()
    await stage.enter(ZOE)
    stage.presence.fails = TryLater("the homeserver can't be reached")
    await stage.call(terminated=True)
    assert (await stage.recording()).ended_by is EndedBy.STOPPED
    stage.presence.fails = None
    await stage.pass_by(600)
    assert stage.presence.done == ["shown", "hidden"]


async def test_a_newer_call_does_not_end_the_one_that_runs(stage: Stage) -> None:
    """A client stays in its call while newer ones begin; the newest is recorded next."""
    await stage.call()
    await stage.enter(ZOE)
    await stage.call(call_id="newer")
    await stage.enter(YAN, call_id="newer")
    assert [recording.state for recording in await stage.recordings()] == [RecordingState.LIVE]
    await stage.call(terminated=True)
    await stage.look()
    assert [recording.call_id for recording in await stage.recordings()] == ["a-call", "newer"]


# ---- a crash, and a clean stop


async def test_a_crash_costs_the_time_until_the_bot_is_back(stage: Stage) -> None:
    """The bot rejoins the call in the same recording: open stems are lost, and the time between is a gap."""
    await stage.call()
    await stage.enter(ZOE)
    leg = await stage.connect(ZOE)
    leg.speak(12)
    await stage.pass_by(12)
    live = stage.live
    assert live is not None
    live.rows.advance(live.now())
    await stage.quiet()
    stage.world.clock.pass_by(4)
    await stage.crash()
    stage.world.clock.pass_by(4)
    await stage.engine.after_first_sync()
    await stage.work()
    (await stage.connect(ZOE)).speak(1)
    await stage.pass_by(1)
    await stage.call(terminated=True)
    (recording,) = await stage.recordings()
    first, second = recording.stems
    assert (first.left_by, first.received, second.left_by) == (LeftBy.LOST, 12 * S, LeftBy.ENDED)
    assert [what for _, what in await stage.events()] == [CallEventKind.JOINED, CallEventKind.REJOINED]
    assert recording.state is RecordingState.INCOMPLETE
    async with stage.store.read() as db:
        (gap,) = lay_out(recording, await archive.chunks(db, recording.id)).gaps
    assert gap.reason is ChunkState.AWAY
    assert (gap.position, gap.samples) == (first.left, 20 * S - 12 * S)


async def test_calls_are_recovered_once_the_disk_has_room(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recovery that fails at the start is made before any call is joined again."""
    await stage.call()
    await stage.enter(ZOE)
    (await stage.connect(ZOE)).speak(1)
    live = stage.live
    assert live is not None
    live.rows.advance(live.now())
    await stage.quiet()

    def full(*_: Any) -> None:
        raise DiskFullError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(Folder, "add_copy", full)
        with pytest.raises(DiskFullError):
            await stage.crash()
        with pytest.raises(DiskFullError):
            await stage.engine.after_first_sync()
    await stage.work()
    assert stage.presence.done == ["shown"]
    await stage.engine.after_first_sync()
    await stage.work()
    recording = await stage.recording()
    assert [(stem.left_by, stem.received) for stem in recording.stems] == [(LeftBy.LOST, S)]
    assert stage.presence.done == ["shown", "shown"]


async def test_after_a_crash_a_call_that_is_over_is_not_joined(stage: Stage) -> None:
    """If nobody is left in the call, its recording ends with what was kept; the time without the bot is a gap."""
    await stage.call()
    await stage.enter(ZOE)
    (await stage.connect(ZOE)).speak(1)
    live = stage.live
    assert live is not None
    live.rows.advance(live.now())
    await stage.quiet()
    stage.world.clock.pass_by(30)
    await stage.crash()
    await stage.leave(ZOE)
    await stage.engine.after_first_sync()
    await stage.work()
    recording = await stage.recording()
    assert (recording.ended_by, recording.state) == (EndedBy.STOPPED, RecordingState.INCOMPLETE)
    async with stage.store.read() as db:
        ledger = lay_out(recording, await archive.chunks(db, recording.id))
    assert [(gap.position, gap.samples) for gap in ledger.gaps] == [(S, 29 * S)]
    assert ledger.samples == S
    assert stage.presence.done == ["shown", "hidden"]


async def test_nothing_is_done_before_the_first_sync(stage: Stage) -> None:
    """After a start the stored state is of before: a call is looked at once it is of now."""
    await stage.call()
    await stage.enter(ZOE)
    await stage.crash()
    await stage.look()
    assert stage.presence.done == ["shown"]
    assert (await stage.recording()).state is RecordingState.LIVE


async def test_a_stop_leaves_the_call_and_a_start_rejoins_it(stage: Stage) -> None:
    """At a stop stems are closed and the bot's entry goes; the recording goes on at the next start."""
    await stage.call()
    await stage.enter(ZOE)
    leg = await stage.connect(ZOE)
    leg.speak(1)
    await stage.pass_by(1)
    await stage.engine.stop()
    recording = await stage.recording()
    assert recording.state is RecordingState.LIVE
    assert [(stem.left_by, stem.received) for stem in recording.stems] == [(LeftBy.LOST, S)]
    assert leg.is_closed
    assert stage.media.is_closed
    assert stage.presence.done == ["shown", "hidden"]
    assert [away.ends for away in recording.aways] == [None]
    await stage.start_again()
    assert stage.presence.done == ["shown", "hidden", "shown"]
    assert [away.ends for away in (await stage.recording()).aways] == []


async def test_a_stop_waits_for_no_homeserver(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A homeserver that does not answer holds up no stop: the stems are closed in time."""
    monkeypatch.setattr("bot.calls.attendance.STOP_S", 0.05)
    await stage.call()
    await stage.enter(ZOE)
    (await stage.connect(ZOE)).speak(1)
    stage.presence.hangs = True
    async with asyncio.timeout(60):
        await stage.engine.stop()
    assert [stem.left_by for stem in (await stage.recording()).stems] == [LeftBy.LOST]


@pytest.mark.parametrize(("number", "after_commit"), [(n, bool(n % 2)) for n in (5, 8, 11, 14, 17, 20, 23, 26, 29)])
async def test_every_write_can_be_the_last(stage: Stage, number: int, after_commit: bool) -> None:
    """A process that dies at any write of a call goes on after its next start, with one recording and one notice."""
    stage.store.die_at(number, after_commit=after_commit)
    await stage.survive(stage.call)
    await stage.survive(lambda: stage.enter(ZOE))
    await stage.survive(stage.speak_a_little)
    await stage.survive(lambda: stage.call(terminated=True))
    (recording,) = await stage.recordings()
    assert recording.state in (RecordingState.COMPLETE, RecordingState.INCOMPLETE, RecordingState.EMPTY)
    assert all(stem.left is not None for stem in recording.stems)
    assert len({notice.topic for notice in stage.told if notice.opens}) == 1
    assert not stage.presence.shown
    async with stage.store.read() as db:
        chunks = await archive.chunks(db, recording.id)
    assert {chunk.stem for chunk in chunks} <= {stem.number for stem in recording.stems}
