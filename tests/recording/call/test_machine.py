"""The life of a call's recording."""

from dataclasses import replace

import pytest

from bot.recording.call import machine, stems, times
from bot.recording.call.layout import WINDOW
from bot.recording.chunks import BEYOND_LIMIT, LIMIT, NOT_WANTED
from bot.recording.ledger import Gap
from bot.recording.model import (
    CameBack,
    Deleted,
    Ended,
    Erase,
    Finish,
    Forget,
    Forgotten,
    Joined,
    LookAgain,
    NoticeSent,
    RecordingEvent,
    Silenced,
    SlicesKept,
    Spoken,
    StemOpened,
    Tell,
    Tick,
    WentAway,
    Withdraw,
)
from bot.recording.settling import EMPTY
from storage.records import (
    Away,
    ChunkState,
    Credit,
    EndedBy,
    EventId,
    LeftBy,
    Position,
    RecordingState,
    Samples,
    Turn,
)
from tests.recording.call.world import ANN, BEN, Call, begun, closed, slice_of, stem
from tests.recording.world import LIMITS, NOON, SECOND, blob, limits, seconds


def over(*, by: EndedBy = EndedBy.STOPPED) -> Call:
    """Return a call of twenty seconds with Ann and Ben that is over and decided."""
    call = Call()
    call.join(ANN)
    call.join(BEN, "BEN")
    call.now += seconds(20)
    call.keep(slice_of(1, 0), slice_of(1, 1), slice_of(2, 0, BEN), slice_of(2, 1, BEN))
    call.tell(closed(1, 20))
    call.tell(closed(2, 20))
    call.tell(Ended(by))
    return call


# ---- the beginning, the end, and what is decided


def test_the_beginning() -> None:
    """A call is live when the bot decides to join, and is looked at again after its longest time."""
    recording = begun()
    assert (recording.state, recording.started_at, recording.notice) == (RecordingState.LIVE, NOON, None)
    watched = NOON + seconds(LIMITS.max_broadcast_s) + times.NOBODY_WATCHES
    assert machine.first_effects(recording, LIMITS) == (LookAgain(watched),)


def test_a_call_without_a_gap_is_complete_at_once() -> None:
    """Nothing is waited for once every stem is closed."""
    call = over()
    assert (call.state, call.effects) == (RecordingState.COMPLETE, [Finish()])
    assert (call.recording.ended_by, call.recording.ended_at) == (EndedBy.STOPPED, NOON + seconds(20))


def test_the_last_slices_and_stems_are_waited_for() -> None:
    """A command ends the recording before the bot has left the call."""
    call = Call()
    call.join()
    call.tell(Ended(EndedBy.SWITCHED_OFF))
    assert (call.state, call.effects) == (RecordingState.FINISHING, [LookAgain(NOON + LIMITS.quiet_period)])
    call.keep(slice_of(1, 0))
    assert call.state is RecordingState.FINISHING
    call.tell(closed(1, 10, LeftBy.ENDED))
    assert (call.state, call.effects) == (RecordingState.COMPLETE, [Finish()])


def test_a_closed_stem_is_waited_for_until_its_slices_are_here() -> None:
    """The last ones are kept with those of the others, a little later; what may not be kept counts too."""
    call = Call()
    call.join()
    call.keep(slice_of(1, 0))
    call.tell(replace(closed(1, 12), slices=2))
    call.tell(Ended(EndedBy.SWITCHED_OFF, since=Position(5)))
    assert call.state is RecordingState.FINISHING
    call.keep(slice_of(1, 1, position=9))
    assert (call.state, Finish() in call.effects) == (RecordingState.COMPLETE, True)


def test_stems_that_nobody_closes_hold_nothing_back_for_long_and_heal_it() -> None:
    """The bot crashed while it left: what it repairs later is added, and completes it."""
    call = Call()
    call.join()
    call.keep(slice_of(1, 0))
    call.tell(Ended(EndedBy.STOPPED))
    call.wait(LIMITS.quiet_period_s)
    assert (call.state, call.effects) == (RecordingState.INCOMPLETE, [Finish()])
    call.keep(slice_of(1, 1))
    assert (call.state, call.effects, call.ledger.samples) == (RecordingState.INCOMPLETE, [Finish()], 2 * WINDOW)
    call.tell(closed(1, 20, LeftBy.LOST))
    assert (call.state, call.effects) == (RecordingState.COMPLETE, [Finish()])


@pytest.mark.parametrize(("by", "told"), [(EndedBy.STOPPED, [Tell(EMPTY)]), (EndedBy.REMOVED, [])])
def test_a_call_without_sound_is_empty(by: EndedBy, told: list[Tell]) -> None:
    """A room that the bot is not in any more is told nothing."""
    call = Call()
    call.join()
    call.tell(closed(1, 3))
    call.tell(Ended(by))
    assert (call.state, call.effects) == (RecordingState.EMPTY, told)


def test_the_first_end_counts() -> None:
    """An end of a recording that has ended changes nothing."""
    call = over()
    call.tell(Ended(EndedBy.SWITCHED_OFF))
    assert (call.recording.ended_by, call.effects) == (EndedBy.STOPPED, [])


def test_a_call_that_nobody_ends_is_over_behind_its_limit() -> None:
    """The part that is in the call may be unable to run; the room is told that the call was too long."""
    call = Call(limits=limits(max_broadcast_s=60))
    call.wait(100)
    assert call.effects == [LookAgain(NOON + seconds(60) + times.NOBODY_WATCHES)]
    call.wait(80)
    assert (call.recording.ended_by, Tell(LIMIT) in call.effects) == (EndedBy.LIMIT, True)


def test_sound_behind_the_limit_ends_it() -> None:
    """Sound that begins behind the limit is not kept; the room is told once."""
    call = Call(limits=limits(max_broadcast_s=10))
    call.join()
    call.keep(slice_of(1, 0), slice_of(1, 1))
    assert (call.state, call.recording.ended_by) == (RecordingState.FINISHING, EndedBy.LIMIT)
    assert [effect for effect in call.effects if not isinstance(effect, LookAgain)] == [
        Forget(blob("1-1")),
        Tell(LIMIT),
    ]
    assert [(each.state, each.reason) for each in call.chunks] == [
        (ChunkState.STORED, None),
        (ChunkState.REFUSED, BEYOND_LIMIT),
    ]
    call.tell(Ended(EndedBy.LIMIT))
    assert Tell(LIMIT) not in call.effects


# ---- the notice, stems, slices


def test_the_first_notice_stands() -> None:
    """A second report of it changes nothing."""
    call = Call()
    call.tell(NoticeSent(EventId("$notice")))
    call.tell(NoticeSent(EventId("$other")))
    assert call.recording.notice == "$notice"


def test_a_device_has_one_open_stem() -> None:
    """A device gets another stem once the first is closed, as when it joins again."""
    call = Call()
    call.join(ANN)
    call.tell(StemOpened(stem(2, ANN)))
    assert (call.ignored, len(call.recording.stems)) == ("device_has_a_stem", 1)
    call.join(ANN, "OTHER")
    call.tell(closed(1, 5))
    call.tell(StemOpened(stem(3, ANN, joined_s=6)))
    assert [each.number for each in call.recording.stems] == [1, 2, 3]


@pytest.mark.parametrize("number", [1, 3])
def test_stems_are_numbered_in_their_order(number: int) -> None:
    """Another number is not taken."""
    call = Call()
    call.join(ANN)
    call.tell(StemOpened(stem(number, BEN, "BEN")))
    assert (call.ignored, len(call.recording.stems)) == ("stem_number", 1)


def test_there_are_only_so_many_stems(monkeypatch: pytest.MonkeyPatch) -> None:
    """Joining again and again fills no disk."""
    monkeypatch.setattr(stems, "MOST_STEMS", 1)
    call = Call()
    call.join(ANN)
    call.join(BEN, "BEN")
    assert (call.ignored, len(call.recording.stems)) == ("too_many_stems", 1)


def test_no_stem_begins_after_the_end() -> None:
    """The recording of the call is over."""
    call = over()
    call.tell(StemOpened(stem(3, ANN)))
    assert (call.ignored, len(call.recording.stems)) == ("not_live", 2)


def test_a_stem_is_closed_once() -> None:
    """A second end changes nothing; its file is not kept beside the first."""
    call = Call()
    call.join()
    call.tell(closed(1, 5))
    call.tell(closed(1, 5))
    assert (call.ignored, call.effects) == (None, [])
    call.tell(replace(closed(1, 7, LeftBy.LOST), blob=blob("other")))
    first = call.recording.stems[0]
    assert (call.ignored, call.effects) == ("stem_is_closed", [Forget(blob("other"))])
    assert (first.left, first.left_by, first.blob, first.bytes) == (5 * SECOND, LeftBy.LEFT, blob("stem-1"), 5000)


def test_each_slice_is_kept_once() -> None:
    """Slices that were kept before a crash may come again; other sound under the same name is not wanted."""
    call = Call()
    call.join()
    call.keep(slice_of(1, 0))
    call.keep(slice_of(1, 0), slice_of(1, 1))
    assert ([each.id for each in call.chunks], call.effects) == (["call-1-1-0", "call-1-1-1"], [])
    call.keep(slice_of(1, 0, media="other"))
    assert (len(call.chunks), call.effects) == (2, [Forget(blob("other"))])


@pytest.mark.parametrize(
    "change",
    [{"stem": 9}, {"stem": None}, {"at": None}, {"sender": BEN}, {"recording_id": 9}, {"at": Samples(0)}],
    ids=str,
)
def test_slices_of_no_stem_are_not_kept(change: dict[str, object]) -> None:
    """Their files go."""
    call = Call()
    call.join(joined_s=1)
    call.keep(replace(slice_of(1, 1), **change))  # type: ignore[arg-type]
    assert (call.chunks, call.effects) == ((), [Forget(blob("1-1"))])


# ---- times away


def test_a_time_away_is_a_gap() -> None:
    """The recording is incomplete."""
    call = Call()
    call.join()
    call.keep(slice_of(1, 0))
    call.tell(closed(1, 10, LeftBy.LOST))
    call.tell(WentAway(WINDOW))
    call.tell(CameBack(Samples(2 * WINDOW)))
    call.join(joined_s=20)
    call.keep(slice_of(2, 2))
    call.tell(closed(2, 30))
    call.tell(Ended(EndedBy.STOPPED))
    gaps = [(gap.position, gap.samples, gap.reason) for gap in call.ledger.gaps]
    assert (call.state, gaps) == (RecordingState.INCOMPLETE, [(WINDOW, WINDOW, ChunkState.AWAY)])


def test_the_bot_is_away_once_at_a_time() -> None:
    """The bot can't go twice, or come back twice."""
    call = Call()
    call.tell(CameBack(Samples(5)))
    call.tell(WentAway(Samples(10)))
    call.tell(WentAway(Samples(20)))
    call.tell(CameBack(Samples(30)))
    call.tell(CameBack(Samples(40)))
    assert call.recording.aways == (Away(Samples(10), Samples(30)),)


def test_times_away_do_not_overlap() -> None:
    """A time away that begins before the bot was back goes on with the last; without a length it is none."""
    call = Call()
    call.tell(WentAway(Samples(10)))
    call.tell(CameBack(Samples(30)))
    call.tell(WentAway(Samples(20)))
    call.tell(CameBack(Samples(50)))
    assert call.recording.aways == (Away(Samples(10), Samples(50)),)
    call.tell(WentAway(Samples(60)))
    call.tell(CameBack(Samples(60)))
    assert call.recording.aways == (Away(Samples(10), Samples(50)),)


def test_a_time_away_ends_with_the_recording() -> None:
    """Behind the last sound nothing is missing if nobody was in the call."""
    call = Call()
    call.join()
    call.keep(slice_of(1, 0))
    call.tell(closed(1, 10, LeftBy.LOST))
    call.tell(WentAway(WINDOW))
    call.now += seconds(60)
    call.tell(Ended(EndedBy.STOPPED))
    assert call.recording.aways == (Away(WINDOW, Samples(60 * SECOND)),)
    assert (call.state, call.ledger.gaps) == (RecordingState.COMPLETE, ())
    call.tell(WentAway(Samples(70 * SECOND)))
    assert len(call.recording.aways) == 1


def test_a_call_that_went_on_without_the_bot_is_incomplete() -> None:
    """Somebody was in the call when the bot went: the time up to the end is a gap behind the last sound, from the end
    of the stem that is recovered, and the audio is no longer for it."""
    call = Call()
    call.join()
    call.keep(slice_of(1, 0))
    call.tell(WentAway(WINDOW))
    call.keep(slice_of(1, 1, length=8 * SECOND))
    call.tell(replace(closed(1, 18, LeftBy.LOST), slices=2))
    call.now += seconds(60)
    call.tell(Ended(EndedBy.STOPPED))
    assert (call.state, call.ledger.samples) == (RecordingState.INCOMPLETE, 18 * SECOND)
    assert call.ledger.gaps == (Gap(Samples(18 * SECOND), Samples(42 * SECOND), ChunkState.AWAY),)


# ---- who speaks


def test_the_first_who_speaks_is_the_broadcaster() -> None:
    """Speakers are known once the call was mixed, which makes no second episode."""
    call = over()
    turns = (Turn(BEN, "Ben", Samples(0), WINDOW),)
    call.tell(Spoken((Credit(BEN, "Ben", WINDOW), Credit(ANN, "Ann", WINDOW)), turns))
    assert (call.recording.broadcaster, call.recording.broadcaster_name, call.recording.turns) == (BEN, "Ben", turns)
    assert (call.state, call.effects) == (RecordingState.COMPLETE, [])


def test_who_was_forgotten_meanwhile_is_no_speaker() -> None:
    """A report that was made before does not bring the name back."""
    call = over()
    call.tell(Forgotten(BEN))
    call.tell(Spoken((Credit(BEN, "Ben", WINDOW), Credit(ANN, "Ann", WINDOW)), (Turn(BEN, "Ben", WINDOW, WINDOW),)))
    assert (call.recording.speakers, call.recording.turns) == ((Credit(ANN, "Ann", WINDOW),), ())
    assert call.recording.broadcaster == ANN


def test_audio_of_other_slices_is_made_again() -> None:
    """Slices were taken out while it was made."""
    call = over()
    call.tell(Joined("of something else"))
    assert call.effects == [Finish()]


# ---- objections


def test_an_objection_ends_one_stem_and_the_call_goes_on() -> None:
    """Slices behind it are not kept, whether they are here or still come. Others go on."""
    call = Call()
    call.join(ANN)
    call.join(BEN, "BEN")
    call.keep(slice_of(1, 0), slice_of(2, 0, BEN), slice_of(2, 1, BEN, position=7))
    call.tell(Silenced(Position(5), BEN))
    assert (call.state, call.effects) == (RecordingState.LIVE, [Forget(blob("2-1"))])
    call.keep(slice_of(1, 2, position=9), slice_of(2, 2, BEN, position=9))
    assert call.effects == [Forget(blob("2-2"))]
    kept = {each.id: each.reason for each in call.chunks}
    refused = {"call-1-2-1": NOT_WANTED, "call-1-2-2": NOT_WANTED}
    assert kept == {"call-1-1-0": None, "call-1-2-0": None, "call-1-1-2": None} | refused


def test_the_file_of_a_stem_with_an_unwanted_slice_is_not_kept() -> None:
    """The file holds what was said behind the objection. The stem ends as ended, also when a crash came between."""
    call = Call()
    call.join(BEN)
    call.keep(slice_of(1, 0, BEN), slice_of(1, 1, BEN, position=7))
    call.tell(Silenced(Position(5), BEN))
    call.tell(closed(1, 20, LeftBy.LOST))
    ended = call.recording.stems[0]
    assert (ended.left_by, ended.blob, ended.bytes) == (LeftBy.ENDED, None, None)
    assert call.effects == [Forget(blob("stem-1"))]


@pytest.mark.parametrize("by", [LeftBy.LEFT, LeftBy.LOST])
def test_who_is_forgotten_leaves_as_everybody_does(by: LeftBy) -> None:
    """They go on to be connected, and their stem ends with a hang-up or a lost connection."""
    call = Call()
    call.join(BEN)
    call.tell(Forgotten(BEN))
    call.tell(closed(1, 20, by))
    assert call.recording.stems[0].left_by is by


def test_a_hang_up_before_an_objection_is_carried_out_stays_one() -> None:
    """Whoever had left by then did not end with the objection."""
    call = Call()
    call.join(BEN)
    call.tell(Silenced(Position(5), BEN))
    call.tell(closed(1, 20, LeftBy.LEFT))
    assert call.recording.stems[0].left_by is LeftBy.LEFT


def test_the_file_of_a_stem_that_ended_before_an_objection_stays() -> None:
    """All of it was said before."""
    call = Call()
    call.join(BEN)
    call.keep(slice_of(1, 0, BEN))
    call.tell(closed(1, 10))
    call.tell(Silenced(Position(5), BEN))
    assert (call.recording.stems[0].blob, call.effects) == (blob("stem-1"), [])


def test_an_objection_of_everybody_ends_the_recording() -> None:
    """Nobody is recorded any more, as after `record off`."""
    call = Call()
    call.join(ANN)
    call.tell(Silenced(Position(5)))
    assert (call.state, call.recording.ended_by) == (RecordingState.FINISHING, EndedBy.SWITCHED_OFF)


def test_what_is_said_after_record_off_is_not_kept() -> None:
    """Also what comes after the command was carried out."""
    call = Call()
    call.join(ANN)
    call.keep(slice_of(1, 0), slice_of(1, 1, position=7))
    call.tell(Ended(EndedBy.SWITCHED_OFF, since=Position(5)))
    call.keep(slice_of(1, 2, position=8))
    call.tell(closed(1, 25, LeftBy.ENDED))
    assert [each.reason for each in call.chunks] == [None, NOT_WANTED, NOT_WANTED]
    assert (call.state, call.recording.stems[0].blob) == (RecordingState.COMPLETE, None)


def test_a_speaker_who_is_forgotten_becomes_silence() -> None:
    """Sound and name go; the stem stays in the list, and the call is as long as before."""
    call = over()
    call.tell(Spoken((Credit(ANN, "Ann"), Credit(BEN, "Ben")), (Turn(ANN, "Ann", Samples(0), WINDOW),)))
    call.tell(Forgotten(ANN))
    gone, stays = call.recording.stems
    assert (gone.removed, gone.name, gone.blob, gone.left) == (True, None, None, 20 * SECOND)
    assert (stays.removed, stays.name, stays.blob) == (False, "Ben", blob("stem-2"))
    assert [each.state for each in call.chunks if each.stem == 1] == [ChunkState.REDACTED] * 2
    assert (call.recording.speakers, call.recording.turns) == ((Credit(BEN, "Ben"),), ())
    assert (call.recording.broadcaster, call.recording.broadcaster_name) == (BEN, "Ben")
    assert call.state is RecordingState.COMPLETE
    assert sorted(map(str, call.effects)) == sorted(
        map(str, [Forget(blob("1-0")), Forget(blob("1-1")), Forget(blob("stem-1")), Finish()])
    )


def test_a_call_is_as_long_as_before_without_its_last_speaker() -> None:
    """Their part is silence, and no gap; a time away before it stays one."""
    call = Call()
    call.join(ANN)
    call.join(BEN, "BEN")
    call.keep(slice_of(1, 0))
    call.tell(closed(1, 10))
    call.tell(WentAway(WINDOW))
    call.tell(CameBack(Samples(2 * WINDOW)))
    call.keep(slice_of(2, 2, BEN))
    call.tell(closed(2, 30))
    call.tell(Ended(EndedBy.STOPPED))
    call.tell(Forgotten(BEN))
    gaps = [(gap.position, gap.samples) for gap in call.ledger.gaps]
    assert (call.state, call.ledger.samples, gaps) == (RecordingState.INCOMPLETE, 3 * WINDOW, [(WINDOW, WINDOW)])
    assert sum(entry.pause + entry.samples for entry in call.ledger.entries) == 3 * WINDOW


def test_what_a_forgotten_speaker_still_sends_is_silence() -> None:
    """Their open stem goes on to be closed, without its sound and file."""
    call = Call()
    call.join(ANN)
    call.tell(Forgotten(ANN))
    call.keep(slice_of(1, 0))
    assert (call.chunks[0].state, call.effects) == (ChunkState.REDACTED, [Forget(blob("1-0"))])
    call.tell(closed(1, 10))
    assert (call.recording.stems[0].blob, call.effects) == (None, [Forget(blob("stem-1"))])
    assert call.recording.broadcaster_name is None


def test_a_call_whose_only_speaker_is_forgotten_is_withdrawn() -> None:
    """Nothing is heard any more."""
    call = Call()
    call.join(ANN)
    call.keep(slice_of(1, 0))
    call.tell(closed(1, 10))
    call.tell(Ended(EndedBy.STOPPED))
    call.tell(Forgotten(ANN))
    assert (call.state, Withdraw() in call.effects) == (RecordingState.EMPTY, True)


# ---- deletion


def test_a_deleted_call_is_a_tombstone() -> None:
    """Nothing of it stays, and what comes later goes again."""
    call = over()
    call.tell(NoticeSent(EventId("$notice")))
    call.tell(WentAway(WINDOW))
    call.tell(Deleted())
    gone = call.recording
    assert (gone.stems, gone.aways, gone.turns, gone.speakers, gone.notice, gone.broadcaster_name) == (
        (), (), (), (), None, None,
    )  # fmt: skip
    assert call.effects == [Erase()]
    call.keep(slice_of(1, 2))
    assert (call.effects, call.ignored) == ([Forget(blob("1-2"))], "deleted")
    call.tell(closed(1, 30))
    assert (call.effects, call.recording) == ([Forget(blob("stem-1"))], gone)


EVENTS: list[RecordingEvent] = [
    NoticeSent(EventId("$n")),
    StemOpened(stem(3, ANN, "NEW")),
    closed(1, 30),
    SlicesKept((slice_of(1, 2),)),
    WentAway(WINDOW),
    CameBack(WINDOW),
    Spoken((), ()),
    Tick(),
    Joined("x"),
    Ended(EndedBy.STOPPED),
    Silenced(Position(5), ANN),
    Silenced(Position(5)),
    Forgotten(ANN),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_any_event_twice_changes_nothing_the_second_time(event: RecordingEvent) -> None:
    """A job that died after its transaction is run again."""
    for call in (over(), Call()):
        if call.state is RecordingState.LIVE:
            call.join(ANN)
            call.join(BEN, "BEN")
        call.tell(event)
        once = (call.recording, call.chunks)
        call.tell(event)
        assert (call.recording, call.chunks) == once
