"""The life of a broadcast's recording, event by event."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.recording.broadcast import machine
from bot.recording.ledger import fingerprint
from bot.recording.model import (
    BroadcastChanged,
    BroadcastStarted,
    Change,
    ChunkFailed,
    ChunkSealed,
    Effect,
    Ended,
    Erase,
    FetchChunk,
    Finish,
    Forget,
    Joined,
    LookAgain,
    Opened,
    Redacted,
    Tell,
    Tick,
    Withdraw,
)
from bot.recording.policy import MAX_CHUNKS
from storage.records import (
    ChunkId,
    ChunkState,
    DeviceId,
    EndedBy,
    EventId,
    Position,
    RecordingState,
    SessionId,
    UserId,
)
from tests.recording.world import (
    ALICE,
    DEVICE,
    NOON,
    PAGE,
    PRE_SKIP,
    ROOM,
    START,
    World,
    absent,
    blob,
    captured,
    limits,
    mp4,
    recording,
    replayed,
    seconds,
    sent,
    shape,
    slices,
    started,
)

BOB = UserId("@bob:hs")
COMPLETE, INCOMPLETE, EMPTY = RecordingState.COMPLETE, RecordingState.INCOMPLETE, RecordingState.EMPTY
LIVE, FINISHING, DELETED = RecordingState.LIVE, RecordingState.FINISHING, RecordingState.DELETED


# ---- beginning


def test_a_start_makes_a_live_recording() -> None:
    """A broadcast that starts is live, and looked at when it might be abandoned."""
    begun = recording()
    assert (begun.state, begun.event_id, begun.broadcaster, begun.device_id) == (LIVE, START, ALICE, DEVICE)
    assert machine.first_effects(begun, limits()) == (LookAgain(NOON + seconds(1800)),)


@pytest.mark.parametrize(("ahead", "expected"), [(-3600, -60), (-30, -30), (3600, 0), (None, 0)])
def test_the_beginning_is_kept_in_possible_bounds(ahead: int | None, expected: int) -> None:
    """The sender's time is kept between the room's creation and our clock."""
    event = replace(started(), sent_at=None if ahead is None else NOON + seconds(ahead))
    begun = machine.begin(
        event, room_id=ROOM, event_id=START, position=Position(1), now=NOON, room_created=NOON - seconds(60)
    )
    assert begun.started_at == NOON + seconds(expected)


@pytest.mark.parametrize(
    ("event", "position", "expected"),
    [
        (started(), 5, True),
        (started(device=DeviceId("OTHER")), 5, False),
        (started(device=None), 5, False),
        (started(sender=BOB), 5, False),
        (started(), 0, False),
    ],
)
def test_only_the_same_user_and_device_start_anew(event: BroadcastStarted, position: int, *, expected: bool) -> None:
    """A later start ends a broadcast of the same user and device, and no other."""
    assert machine.restarts(event, Position(position), recording()) is expected
    assert not machine.restarts(event, Position(position), replace(recording(), device_id=None))
    assert not machine.restarts(event, Position(position), replace(recording(), state=COMPLETE))


# ---- who speaks


def test_foreign_events_count_for_nothing() -> None:
    """Events of anybody but the broadcaster change nothing and are named for the log."""
    world = World()
    assert world.send("$1", 1, sender=BOB).ignored == "foreign_sender"
    assert world.change(Change.STOPPED, sender=BOB).ignored == "foreign_sender"
    assert world.tell(ChunkSealed(START, BOB, SessionId("s"), None)).ignored == "foreign_sender"
    assert (world.recording, world.chunks) == (recording(), ())


def test_events_of_another_broadcast() -> None:
    """An event that refers to another broadcast of the same user is not for this one."""
    world = World()
    other = BroadcastChanged(EventId("$other"), ALICE, Change.STOPPED, 3, DEVICE, None)
    assert world.tell(other).ignored == "other_broadcast"
    assert world.recording.state is LIVE


def test_two_devices_of_one_user() -> None:
    """Two broadcasts of one user on two devices go on side by side: a stop ends its own only."""
    first, second = World(), World(replace(recording(), event_id=EventId("$second"), device_id=DeviceId("TWO")))
    stop = BroadcastChanged(START, ALICE, Change.STOPPED, 1, DEVICE, NOON)
    first.tell(stop)
    assert second.tell(stop).ignored == "other_broadcast"
    assert (first.recording.state, second.recording.state) == (FINISHING, LIVE)


# ---- chunks


def test_a_chunk_is_fetched_and_stored() -> None:
    """A chunk's event asks for its media once; the media make it stored, and its key is not kept."""
    world = World()
    world.send("$1", 1)
    assert world.effects == [FetchChunk(ChunkId("$1"))]
    assert world.chunk("$1").state is ChunkState.WAITING_FOR_MEDIA
    world.store("$1", mp4())
    assert world.chunk("$1").state is ChunkState.STORED
    assert world.chunk("$1").source is None


def test_the_same_events_again_change_nothing() -> None:
    """Each event a second time leaves everything as it is and asks for nothing."""
    world = World()
    world.say("$1", 1, mp4())
    world.stop(1)
    before = (world.recording, world.chunks)
    for outcome in (world.send("$1", 1), world.store("$1", mp4()), world.stop(1), world.seal("$1")):
        assert outcome.effects == ()
    assert (world.recording, world.chunks) == before


def test_a_key_that_comes_opens_a_chunk_in_its_place() -> None:
    """A sealed chunk is fetched when it can be read, and keeps its place in the timeline."""
    world = World()
    world.seal("$1")
    place = world.chunk("$1").position
    assert (world.chunk("$1").state, world.effects) == (ChunkState.WAITING_FOR_KEY, [])
    world.send("$2", 2)
    world.send("$1", 1, position=999)
    assert world.effects == [FetchChunk(ChunkId("$1"))]
    assert (world.chunk("$1").position, world.chunk("$1").sequence, world.chunk("$1").session_id) == (place, 1, None)


def test_a_sealed_event_that_is_no_chunk_leaves() -> None:
    """A sealed event that is no chunk leaves the ledger; one that is a broken chunk stays as damaged."""
    world = World()
    world.seal("$poll")
    world.seal("$broken")
    world.tell(Opened(EventId("$poll")))
    world.tell(Opened(EventId("$broken"), "file"))
    assert [(chunk.event_id, chunk.state, chunk.reason) for chunk in world.chunks] == [
        ("$broken", ChunkState.DAMAGED, "file")
    ]


def test_media_that_can_never_be_asked_for() -> None:
    """A chunk whose event is malformed is given up with its reason, at once."""
    world = World()
    world.send("$1", 1)
    world.fail("$1", ChunkState.DAMAGED, "bad_key")
    assert (world.chunk("$1").state, world.chunk("$1").reason) == (ChunkState.DAMAGED, "bad_key")
    assert world.chunk("$1").source is None


def test_one_answer_is_no_verdict() -> None:
    """A chunk that can't be used is tried again; the same bytes twice are damage, and are kept."""
    world = World()
    world.send("$1", 1)
    world.answer("$1", "page")
    chunk = world.chunk("$1")
    assert (chunk.state, chunk.reason, chunk.blob) == (ChunkState.WAITING_FOR_MEDIA, None, blob("page"))
    world.answer("$1", "page")
    chunk = world.chunk("$1")
    assert (chunk.state, chunk.reason, chunk.blob) == (ChunkState.DAMAGED, "not_audio", blob("page"))
    assert chunk.source is not None
    world.answer("$1", "another")
    assert (world.chunk("$1"), world.effects) == (chunk, [Forget(blob("another"))])
    world.store("$1", mp4())
    assert (world.chunk("$1").state, world.chunk("$1").answer) == (ChunkState.STORED, None)
    assert world.effects == [Forget(blob("page"))]


def test_other_bytes_each_time_are_no_verdict() -> None:
    """The chunk waits with the reason; only the last bytes are kept, and an answer without any leaves them."""
    world = World()
    world.send("$1", 1)
    for media, before in (("a", None), ("b", "a"), ("c", "b")):
        world.answer("$1", media)
        assert world.chunk("$1").state is ChunkState.WAITING_FOR_MEDIA
        assert world.effects == ([Forget(blob(before))] if before else [])
    assert world.chunk("$1").reason == "not_audio"
    world.answer("$1", None, "not_found")
    assert (world.chunk("$1").blob, world.chunk("$1").reason) == (blob("c"), "not_found")
    world.answer("$1", "c")
    assert world.chunk("$1").state is ChunkState.DAMAGED


def test_what_cannot_be_used_takes_no_more_room_than_a_chunk() -> None:
    """Unusable bytes of one broadcast take no more room than a chunk may; beyond that only their digest stays, and
    the same answer twice is still a verdict."""
    world = World(limits=limits(max_chunk_bytes=250))
    for number in (1, 2, 3):
        world.send(f"${number}", number)
        world.answer(f"${number}", f"page{number}")
    assert [chunk.bytes for chunk in world.chunks] == [100, 100, None]
    assert world.effects == [Forget(blob("page3"))]
    world.answer("$3", "page3")
    assert world.chunk("$3").state is ChunkState.DAMAGED


def test_the_second_try_is_waited_for() -> None:
    """A recording that ended is decided after the second answer, not after the first."""
    world = World()
    world.say("$1", 1, mp4())
    world.send("$2", 2)
    world.stop(2)
    world.now += seconds(61)
    world.answer("$2", "page")
    assert (world.recording.state, Finish() in world.effects) == (FINISHING, False)
    world.wait(1)
    assert world.recording.state is FINISHING
    world.answer("$2", "page")
    assert (world.recording.state, world.effects) == (INCOMPLETE, [Finish()])
    world.store("$2", mp4())
    assert (world.recording.state, world.effects) == (COMPLETE, [Forget(blob("page")), Finish()])


def test_an_event_that_is_read_once_more_asks_anew() -> None:
    """For a chunk that was judged, as also one of earlier versions that kept no source; its state stays."""
    world = World(chunks=(absent("$1", 1, ChunkState.DAMAGED),))
    world.send("$1", 1)
    assert (world.chunk("$1").state, world.effects) == (ChunkState.DAMAGED, [FetchChunk(ChunkId("$1"))])
    assert world.chunk("$1").source is not None


def test_bytes_of_a_redacted_chunk_go() -> None:
    """Also those that could not be used, and those that come afterwards."""
    world = World()
    world.send("$1", 1)
    world.answer("$1", "page")
    world.redact("$1")
    assert (world.chunk("$1").blob, world.effects) == (None, [Forget(blob("page"))])
    world.answer("$1", "page")
    assert world.effects == [Forget(blob("page"))]


def test_media_that_may_come_later() -> None:
    """A chunk whose media are not to be had yet waits with the reason, and is stored when they come."""
    world = World()
    world.send("$1", 1)
    world.answer("$1", None, "not_found")
    assert (world.chunk("$1").reason, world.chunk("$1").source is None) == (None, False)
    world.answer("$1", None, "not_found")
    assert (world.chunk("$1").reason, world.chunk("$1").source is None) == ("not_found", False)
    world.store("$1", mp4())
    assert (world.chunk("$1").state, world.chunk("$1").reason) == (ChunkState.STORED, None)


def test_what_is_stored_stays_stored() -> None:
    """A failure that comes after the success changes nothing."""
    world = World()
    world.say("$1", 1, mp4())
    assert world.fail("$1", ChunkState.DAMAGED).ignored == "chunk_stored"
    assert world.fail("$2", ChunkState.DAMAGED).ignored == "unknown_chunk"


def test_a_state_that_is_no_failure() -> None:
    """Telling the machine nonsense is our own mistake, and says so."""
    with pytest.raises(ValueError, match="stored is no failure"):
        World().tell(ChunkFailed(ChunkId("$1"), ChunkState.STORED, ""))


def test_media_beyond_the_size_limit() -> None:
    """Media larger than the setting are refused and forgotten."""
    world = World(limits=limits(max_chunk_bytes=999))
    world.say("$1", 1, mp4())
    assert (world.chunk("$1").state, world.chunk("$1").reason) == (ChunkState.REFUSED, "too_large")
    assert world.effects == [Forget(blob("$1"))]
    assert world.recording.state is LIVE


def test_too_many_chunks() -> None:
    """A flood of chunk events ends in nothing."""
    flood = tuple(absent(f"${number}", number, ChunkState.DAMAGED) for number in range(1, MAX_CHUNKS + 1))
    world = World(chunks=flood)
    assert world.send("$more", 1).ignored == "too_many_chunks"
    assert len(world.chunks) == MAX_CHUNKS


# ---- the end


def test_proved_at_the_stop_is_complete_at_once() -> None:
    """If the pages prove all chunks when `stopped` comes, the recording is complete without waiting."""
    world = World()
    world.speak(slices([7, 7, 3]))
    world.stop(3)
    assert (world.recording.state, world.recording.ended_by, world.effects) == (COMPLETE, EndedBy.STOPPED, [Finish()])


def test_last_chunk_after_the_stop() -> None:
    """If `stopped` comes before the last chunk (Android, iOS), the chunk makes it complete."""
    world = World()
    world.say("$1", 1, mp4())
    world.stop(2)
    assert (world.recording.state, world.effects) == (FINISHING, [LookAgain(NOON + seconds(60))])
    world.send("$2", 2)
    world.store("$2", mp4())
    assert (world.recording.state, world.effects) == (COMPLETE, [Finish()])


@pytest.mark.parametrize("last", [None, 1, 2])
def test_last_number_absent_or_too_low(last: int | None) -> None:
    """A slice after the stop, with a number beyond the announced one, is waited for and heard."""
    world = World()
    facts = slices([7, 7, 3])
    world.speak(facts[:2])
    world.stop(last)
    assert world.recording.state is FINISHING
    world.say("$3", 3, facts[2])
    assert (world.recording.state, world.effects) == (COMPLETE, [Finish()])


def test_a_second_stop_without_a_number() -> None:
    """A client that was restarted says `stopped` again without a number: the first one's number stays."""
    world = World()
    world.stop(3)
    world.stop(None)
    assert world.recording.announced_last == 3
    world.stop(4)
    assert world.recording.announced_last == 4


def test_last_number_too_high() -> None:
    """Proved runs are complete after the quiet period, although one number more was announced."""
    world = World()
    world.speak(slices([7, 3]))
    world.stop(3)
    assert world.recording.state is FINISHING
    world.wait(59)
    assert world.recording.state is FINISHING
    world.wait(1)
    assert (world.recording.state, world.effects) == (COMPLETE, [Finish()])
    assert shape(world.ledger)[-1] == (None, 3, "missing")


def test_last_number_too_high_without_pages() -> None:
    """In other containers an announced number that nobody saw leaves the recording incomplete, without a gap."""
    world = World()
    world.say("$1", 1, mp4())
    world.stop(2)
    world.wait(60)
    assert (world.recording.state, world.ledger.gaps) == (INCOMPLETE, ())


@pytest.mark.parametrize("last", [None, 2])
def test_stopped_without_a_proof(last: int | None) -> None:
    """Without a proof it waits; then every number up to the last is enough after a `stopped`."""
    world = World()
    world.speak(slices([7, 7], eos=False))
    world.stop(last)
    assert world.recording.state is FINISHING
    world.wait(60)
    assert (world.recording.state, world.effects) == (COMPLETE, [Finish()])


def test_missing_in_the_middle_is_incomplete() -> None:
    """A chunk that never came leaves a gap, which heals when it comes after all."""
    world = World()
    facts = slices([7, 7, 3])
    world.say("$1", 1, facts[0])
    world.say("$3", 3, facts[2])
    world.stop(3)
    world.wait(60)
    assert (world.recording.state, world.effects) == (INCOMPLETE, [Finish()])
    assert [gap.samples for gap in world.ledger.gaps] == [7 * PAGE]
    world.now += timedelta(hours=5)
    world.send("$2", 2)
    assert world.recording.state is FINISHING
    assert world.effects == [FetchChunk(ChunkId("$2")), LookAgain(world.now + seconds(60))]
    world.store("$2", facts[1])
    assert (world.recording.state, world.effects, world.ledger.gaps) == (COMPLETE, [Finish()], ())


def test_a_download_that_hangs_holds_nothing_back() -> None:
    """Ten minutes after the quiet period what is there is published; the rest heals it later."""
    world = World()
    world.say("$1", 1, mp4())
    world.send("$2", 2)
    world.stop(2)
    world.wait(60)
    assert (world.recording.state, world.effects) == (FINISHING, [LookAgain(world.now + timedelta(seconds=60))])
    world.wait(600)
    assert (world.recording.state, world.effects) == (INCOMPLETE, [Finish()])
    world.fail("$2", ChunkState.WAITING_FOR_MEDIA)
    assert (world.recording.state, world.effects) == (INCOMPLETE, [])
    world.store("$2", mp4())
    assert (world.recording.state, world.effects) == (COMPLETE, [Finish()])


def test_several_late_chunks_are_joined_once() -> None:
    """Several late chunks are joined once, when the media of the last one are there."""
    world = World()
    facts = slices([2, 2, 2, 2])
    world.say("$1", 1, facts[0])
    world.stop(4)
    world.wait(60)
    for number in (2, 3, 4):
        world.send(f"${number}", number)
    for number in (2, 3):
        world.store(f"${number}", facts[number - 1])
        assert (world.recording.state, Finish() in world.effects) == (FINISHING, False)
    world.store("$4", facts[3])
    assert (world.recording.state, world.effects) == (COMPLETE, [Finish()])


def test_a_late_chunk_that_never_arrives() -> None:
    """A late chunk whose download hangs doesn't leave the recording open for ever."""
    world = World()
    world.say("$1", 1, mp4())
    world.stop(1)
    assert world.recording.state is COMPLETE
    world.now += seconds(600)
    world.send("$2", 2)
    assert world.recording.state is FINISHING
    world.wait(60)
    assert world.recording.state is INCOMPLETE


def test_a_late_key_heals() -> None:
    """A chunk that could not be decrypted leaves a gap; its key, later, closes it."""
    world = World()
    facts = slices([7, 7, 3])
    world.say("$1", 1, facts[0])
    world.seal("$2")
    world.say("$3", 3, facts[2])
    world.stop(3)
    world.wait(60)
    assert world.recording.state is INCOMPLETE
    assert [gap.reason for gap in world.ledger.gaps] == ["waiting_for_key"]
    world.send("$2", 2)
    world.store("$2", facts[1])
    assert (world.recording.state, world.effects, world.ledger.gaps) == (COMPLETE, [Finish()], ())


def test_a_sealed_event_after_the_end() -> None:
    """A sealed event that comes late makes a complete recording incomplete, and a poll gives it back."""
    world = World()
    world.speak(slices([7, 3]))
    world.stop(2)
    world.now += seconds(3600)
    world.seal("$s")
    assert world.recording.state is INCOMPLETE
    world.tell(Opened(EventId("$s")))
    assert world.recording.state is COMPLETE


def test_nothing_to_hear_is_empty() -> None:
    """A broadcast without a chunk is empty after the quiet period, and the room is told once."""
    world = World()
    world.stop()
    assert world.recording.state is FINISHING
    world.wait(60)
    assert (world.recording.state, world.effects) == (EMPTY, [Tell("empty")])
    world.wait(60)
    assert (world.recording.state, world.effects) == (EMPTY, [])


@pytest.mark.parametrize("by", [EndedBy.SWITCHED_OFF, EndedBy.REMOVED])
def test_nothing_to_hear_is_not_told_to_whoever_wanted_that(by: EndedBy) -> None:
    """Nobody is told of an empty recording that was switched off, or whose bot was removed, before the first chunk."""
    world = World()
    world.tell(Ended(by))
    world.wait(60)
    assert (world.recording.state, world.effects) == (EMPTY, [])


def test_an_end_that_is_missing_no_more_is_published_anew() -> None:
    """An episode is published again when only the account of it changes, not its sound."""
    world = World()
    world.say("$1", 1, mp4())
    world.send("$2", 2)
    world.fail("$2", ChunkState.WAITING_FOR_MEDIA)
    world.say("$3", 3, mp4())
    world.seal("$4")
    world.stop(3)
    world.wait(60)
    assert (world.recording.state, world.effects) == (INCOMPLETE, [Finish()])
    world.tell(Opened(EventId("$4")))
    assert (world.recording.state, world.effects) == (INCOMPLETE, [Finish()])


def test_empty_until_something_comes() -> None:
    """An empty recording is filled by a late chunk."""
    world = World()
    world.stop()
    world.wait(60)
    world.say("$1", 1, slices([3])[0])
    assert (world.recording.state, world.effects) == (COMPLETE, [Finish()])


def test_only_damaged_is_empty_and_only_waiting_is_not() -> None:
    """Nothing to hear and nothing that is waited for is empty; what may still come is incomplete."""
    cases: tuple[tuple[ChunkState, RecordingState, list[Effect]], ...] = (
        (ChunkState.DAMAGED, EMPTY, [Tell("empty")]),
        (ChunkState.WAITING_FOR_MEDIA, INCOMPLETE, []),
    )
    for state, expected, effects in cases:
        world = World()
        world.send("$1", 1)
        world.fail("$1", state)
        world.stop(1)
        world.wait(60)
        assert (world.recording.state, world.effects) == (expected, effects)


def test_the_end_is_when_the_sender_says_within_reason() -> None:
    """The end is the sender's word, kept between the beginning and our clock."""
    for said, expected in ((-50, 0), (50, 50), (5000, 100), (None, 100)):
        world = World(now=NOON + seconds(100))
        at = None if said is None else NOON + seconds(said)
        world.tell(BroadcastChanged(START, ALICE, Change.STOPPED, None, DEVICE, at))
        assert world.recording.ended_at == NOON + seconds(expected)


@pytest.mark.parametrize("by", [EndedBy.LEFT, EndedBy.REMOVED, EndedBy.SWITCHED_OFF, EndedBy.RESTARTED])
def test_ended_from_outside(by: EndedBy) -> None:
    """Whatever ends it from outside is kept, and nothing that follows changes it."""
    world = World()
    world.say("$1", 1, mp4())
    world.tell(Ended(by))
    assert (world.recording.state, world.recording.ended_by) == (FINISHING, by)
    world.stop(1)
    world.tell(Ended(EndedBy.LEFT))
    world.wait(60)
    assert (world.recording.state, world.recording.ended_by, world.ledger.gaps) == (INCOMPLETE, by, ())


def test_nothing_is_taken_after_switching_off() -> None:
    """After `record off` or `optout` no new chunk is taken; one that is under way is."""
    world = World()
    world.send("$1", 1)
    world.tell(Ended(EndedBy.SWITCHED_OFF))
    assert world.send("$2", 2).ignored == "switched_off"
    assert world.seal("$3").ignored == "switched_off"
    world.store("$1", slices([7])[0])
    assert [chunk.event_id for chunk in world.chunks] == ["$1"]


# ---- no sign of life


def test_a_live_broadcast_is_abandoned() -> None:
    """A running broadcast without a sign of life is ended; its end is the last sign."""
    world = World()
    world.speak(slices([7, 7], eos=False))
    world.wait(1799)
    assert (world.recording.state, world.effects) == (LIVE, [LookAgain(NOON + seconds(1800))])
    world.wait(1)
    assert (world.recording.state, world.recording.ended_by) == (FINISHING, EndedBy.ABANDONED)
    assert (world.recording.ended_at, world.effects) == (NOON, [LookAgain(NOON + seconds(1860))])
    world.wait(60)
    assert (world.recording.state, world.ledger.gaps) == (INCOMPLETE, ())


def test_chunks_are_signs_of_life() -> None:
    """Each chunk's event moves the time at which a broadcast counts as abandoned."""
    world = World()
    for number in (1, 2, 3):
        world.now += seconds(1000)
        world.send(f"${number}", number)
    world.wait(1799)
    assert world.recording.state is LIVE


def test_a_paused_broadcast_has_more_time() -> None:
    """A paused broadcast is abandoned after the longer time; resuming shortens it again, and is looked at in time."""
    world = World()
    world.change(Change.PAUSED)
    world.wait(14_399)
    assert world.recording.state is LIVE
    world.change(Change.RESUMED)
    world.wait(1799)
    assert world.recording.state is LIVE
    world.change(Change.RESUMED)
    world.wait(1800)
    assert world.recording.ended_by is EndedBy.ABANDONED


def test_resuming_brings_the_look_forward() -> None:
    """When a pause ends soon the look that was planned for its end comes too late, so another is asked for."""
    world = World()
    world.change(Change.PAUSED)
    world.now += seconds(10)
    world.change(Change.RESUMED)
    assert world.effects == [LookAgain(NOON + seconds(1810))]


def test_an_abandoned_run_that_is_proved_is_complete() -> None:
    """A speaker who pauses and never comes back leaves a proved run: complete."""
    world = World()
    world.speak(slices([7, 3]))
    world.change(Change.PAUSED)
    world.wait(14_400)
    assert (world.recording.state, world.recording.ended_by) == (COMPLETE, EndedBy.ABANDONED)


@pytest.mark.parametrize("last", [None, 2])
def test_a_later_stop_replaces_abandoned(last: int | None) -> None:
    """A client that comes back and stops corrects our guess; the recording is complete then."""
    world = World()
    world.say("$1", 1, mp4())
    world.say("$2", 2, mp4())
    world.wait(1800)
    world.wait(60)
    assert world.recording.state is INCOMPLETE
    world.stop(last)
    world.wait(60)
    assert (world.recording.state, world.recording.ended_by) == (COMPLETE, EndedBy.STOPPED)


def test_resuming_after_the_end_is_over() -> None:
    """A broadcast never becomes live again."""
    world = World()
    world.wait(1800)
    assert world.change(Change.RESUMED).ignored == "over"
    assert world.change(Change.PAUSED).ignored == "over"
    assert not world.recording.paused


def test_a_tick_too_many_does_no_harm() -> None:
    """Ticks that come early or late change nothing in a decided recording."""
    world = World()
    world.speak(slices([7]))
    world.stop(1)
    before = (world.recording, world.chunks)
    for _ in range(3):
        assert world.tell(Tick()).effects == ()
    assert (world.recording, world.chunks) == before


# ---- too long


def test_what_goes_beyond_the_limit_is_refused() -> None:
    """Audio beyond the limit is refused, the broadcast ended, the room told once; what fits stays."""
    world = World(limits=limits(max_broadcast_s=12))
    world.say("$1", 1, mp4(5))
    world.say("$2", 2, mp4(5))
    world.send("$3", 3)
    world.send("$4", 4)
    world.store("$3", mp4(5))
    assert (world.recording.ended_by, world.recording.state) == (EndedBy.LIMIT, FINISHING)
    assert world.effects[:2] == [Forget(blob("$3")), Tell("limit")]
    world.store("$4", mp4(5))
    assert Tell("limit") not in world.effects
    world.send("$5", 5)
    assert world.effects == [LookAgain(NOON + seconds(60))]
    assert [chunk.state for chunk in world.chunks[2:]] == [ChunkState.REFUSED] * 3
    assert {chunk.reason for chunk in world.chunks[2:]} == {"beyond_limit"}
    world.stop(5)
    world.wait(60)
    assert (world.recording.state, world.recording.ended_by) == (INCOMPLETE, EndedBy.LIMIT)
    assert (world.ledger.samples, world.ledger.gaps) == (10 * 48_000, ())


def test_the_same_media_twice_count_once_for_the_limit() -> None:
    """Chunks that were sent again don't use up the limit."""
    world = World(limits=limits(max_broadcast_s=9))
    for again in range(5):
        world.say(f"${again}", 1, mp4(5), media="same")
    assert world.recording.state is LIVE


# ---- redactions


@pytest.mark.parametrize("ended", [False, True])
def test_redacting_the_start_deletes_everything(*, ended: bool) -> None:
    """A redacted start leaves a tombstone without content, live or not, and the room is told."""
    world = World(replace(recording(), title="My talk", broadcaster_name="Alice"))
    world.speak(slices([7, 3]))
    if ended:
        world.stop(2)
    world.redact(START)
    assert (world.recording.state, world.chunks, world.effects) == (DELETED, (), [Erase(), Tell("removed")])
    assert (world.recording.title, world.recording.broadcaster_name) == (None, None)


def test_nothing_reaches_a_tombstone() -> None:
    """Events after the deletion are ignored, and media that were being fetched are forgotten."""
    world = World()
    world.send("$1", 1)
    world.redact(START)
    grave = world.recording
    assert world.store("$1", mp4()).effects == (Forget(blob("$1")),)
    for outcome in (world.send("$2", 2), world.stop(2), world.seal("$3"), world.redact(START), world.wait(99_999)):
        assert (outcome.ignored, outcome.effects, outcome.chunks) == ("deleted", (), ())
    assert world.recording == grave


def test_redacting_a_chunk_takes_its_sound() -> None:
    """A redacted chunk is silence of its length; the audio is made anew and the blob forgotten."""
    world = World()
    world.speak(slices([7, 7, 3]))
    world.stop(3)
    length = world.ledger.samples
    world.redact("$2")
    assert world.effects == [Forget(blob("$2")), Finish()]
    assert (world.recording.state, world.ledger.samples) == (INCOMPLETE, length)
    assert (world.chunk("$2").state, world.chunk("$2").blob) == (ChunkState.REDACTED, None)
    assert [gap.reason for gap in world.ledger.gaps] == ["redacted"]


def test_redacting_a_chunk_does_not_wait() -> None:
    """A published recording is made anew at once after a redaction, even while another chunk is being fetched."""
    world = World()
    world.speak(slices([7, 7, 3]))
    world.stop(3)
    world.redact("$1")
    assert Finish() in world.effects
    world.send("$9", 4)
    assert world.recording.state is FINISHING
    world.now += seconds(60)
    world.redact("$2")
    assert Finish() in world.effects


def test_redacting_the_last_sound_withdraws_the_episode() -> None:
    """When nothing can be heard any more the episode goes and the recording is empty."""
    world = World()
    world.speak(slices([7]))
    world.stop(1)
    world.redact("$1")
    assert (world.recording.state, world.effects) == (EMPTY, [Forget(blob("$1")), Withdraw()])


def test_media_of_a_redacted_chunk_are_forgotten() -> None:
    """A chunk that is redacted while it is fetched is not stored when the media come."""
    world = World()
    world.send("$1", 1)
    world.redact("$1")
    outcome = world.store("$1", mp4())
    assert (outcome.ignored, outcome.effects) == ("chunk_redacted", (Forget(blob("$1")),))
    assert world.send("$1", 1).effects == ()


def test_redacting_anything_else_changes_nothing() -> None:
    """Redacting a stopped event, or one nobody knows, leaves the recording as it is."""
    world = World()
    world.speak(slices([7]))
    world.stop(1)
    before = (world.recording, world.chunks)
    assert world.tell(Redacted(EventId("$stopped"), BOB)).ignored == "unknown_event"
    assert (world.recording, world.chunks) == before


# ---- joined


def test_audio_of_what_is_there() -> None:
    """Audio that was made of just these chunks is left alone; of others, it is made anew."""
    world = World()
    world.speak(slices([7, 3]))
    world.stop(2)
    assert world.tell(Joined(fingerprint(world.ledger))).effects == ()
    assert world.tell(Joined("of other chunks")).effects == (Finish(),)
    world.redact("$1")
    world.redact("$2")
    assert world.tell(Joined("of what was redacted")).effects == (Withdraw(),)


# ---- a real Element Web


def test_slowstop() -> None:
    """Stopped with number 1, then a chunk with number 2 that is heard first: waited for, and complete at once then."""
    heard, media = captured("slowstop")
    world = replayed("slowstop")
    assert (world.recording.state, world.recording.announced_last) == (COMPLETE, 1)
    assert [str(entry.chunk_id) for entry in world.ledger.entries] == [heard[-1].event_id, heard[-3].event_id]
    assert world.ledger.samples == 363 * 960 - PRE_SKIP
    assert len(media) == 2


def test_slowstop_before_the_slow_chunk_came() -> None:
    """While the slow upload is under way, the pages show that the head is missing: nothing is published."""
    _, media = captured("slowstop")
    world = World()
    name, tail = next((name, each) for name, each in media.items() if each.facts.ogg and each.facts.ogg.eos)
    world.say(name, 1, tail.facts)
    world.stop(1)
    assert (world.recording.state, world.ledger.certain) == (FINISHING, False)
    world.wait(60)
    assert (world.recording.state, [gap.samples for gap in world.ledger.gaps]) == (INCOMPLETE, [280 * 960 - PRE_SKIP])


@pytest.mark.parametrize("name", ["plain", "encrypted", "pauses"])
def test_captures_are_complete_at_their_stop(name: str) -> None:
    """A broadcast with pauses is complete the moment its stop is read."""
    world = replayed(name)
    assert (world.recording.state, world.effects) == (COMPLETE, [Finish()])


def test_kill() -> None:
    """A browser that was killed: live until it counts as abandoned, then incomplete without a gap."""
    world = replayed("kill")
    assert world.recording.state is LIVE
    world.wait(1800)
    world.wait(60)
    assert (world.recording.state, world.recording.ended_by) == (INCOMPLETE, EndedBy.ABANDONED)
    assert (world.ledger.gaps, world.ledger.samples) == ((), 560 * 960 - PRE_SKIP)


def test_first_two_swapped() -> None:
    """A slow upload swaps the numbers 1 and 2: the sound stays in order, and the recording is complete."""
    facts = slices([7, 7, 3])
    world = World()
    for name, number, each in (("$b", 1, facts[1]), ("$c", 2, facts[2]), ("$a", 3, facts[0])):
        world.tell(sent(name, number), name)
        world.store(name, each)
    world.stop(3)
    assert world.recording.state is COMPLETE
    assert [str(entry.chunk_id) for entry in world.ledger.entries] == ["$a", "$b", "$c"]
