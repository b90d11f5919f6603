"""Times in which single members of a call were not heard."""

import pytest

from bot.recording.call import unheard
from bot.recording.call.layout import WINDOW
from bot.recording.model import CameBack, Ended, Finish, Forgotten, Heard, NotHeard, WentAway
from storage.records import CallEventKind, EndedBy, LeftBy, RecordingState, Samples, UserId
from tests.recording.call.world import ANN, BEN, Call, closed, slice_of
from tests.recording.world import SECOND, seconds

UNREACHABLE, UNREADABLE = CallEventKind.UNREACHABLE, CallEventKind.UNREADABLE


def missed(at: float, who: UserId = BEN, device: str = "DEV", why: CallEventKind = UNREACHABLE) -> NotHeard:
    return NotHeard(who, device, why, Samples(round(at * SECOND)))


def heard(at: float, who: UserId = BEN, device: str = "DEV") -> Heard:
    return Heard(who, device, Samples(round(at * SECOND)))


def with_sound() -> Call:
    """Return a call with ten seconds of Ann."""
    call = Call()
    call.join()
    call.keep(slice_of(1, 0))
    return call


def end(call: Call, after_s: float = 0) -> None:
    call.now += seconds(after_s)
    call.tell(closed(1, 10))
    call.tell(Ended(EndedBy.STOPPED))


def times(call: Call) -> list[tuple[str, float, float | None]]:
    return [
        (each.device_id, each.begins / SECOND, None if each.ends is None else each.ends / SECOND)
        for each in call.recording.unheard
    ]


def test_a_member_who_was_not_heard_makes_a_recording_incomplete() -> None:
    """The gap is theirs alone: the sound has no hole."""
    call = with_sound()
    call.tell(missed(2))
    call.tell(heard(5))
    end(call)
    gaps = [(gap.position, gap.samples, gap.user_id, gap.reason) for gap in call.ledger.of_speakers]
    assert gaps == [(2 * SECOND, 3 * SECOND, BEN, UNREACHABLE)]
    assert (call.state, call.effects) == (RecordingState.INCOMPLETE, [Finish()])
    assert (call.ledger.gaps, call.ledger.silences, len(call.ledger.entries)) == ((), (), 1)


def test_a_device_is_not_heard_once_at_a_time() -> None:
    """The same event twice changes nothing, and each device has its own times."""
    call = with_sound()
    for event in (heard(1), missed(2), missed(3, why=UNREADABLE), missed(4, device="PHONE"), heard(5), heard(6)):
        call.tell(event)
    assert times(call) == [("DEV", 2, 5), ("PHONE", 4, None)]
    call.tell(missed(4.5))
    assert times(call)[-1] == ("DEV", 5, None)


def test_a_time_without_a_length_is_none() -> None:
    """A member who is heard in the moment in which they were missed lost nothing."""
    call = with_sound()
    call.tell(missed(2))
    call.tell(heard(2))
    end(call)
    assert (call.recording.unheard, call.state) == ((), RecordingState.COMPLETE)


def test_a_time_ends_with_the_recording() -> None:
    """Also behind the last sound, for which the audio is no longer."""
    call = with_sound()
    call.tell(missed(20))
    assert call.ledger.of_speakers == ()  # it is not known yet how long it lasts
    end(call, 60)
    assert (times(call), call.state) == ([("DEV", 20, 60)], RecordingState.INCOMPLETE)
    assert call.ledger.samples == WINDOW
    call.tell(missed(70))
    assert len(call.recording.unheard) == 1


def test_a_time_that_lasts_reaches_to_the_end_of_the_sound() -> None:
    """While the call runs it is listed up to there."""
    call = with_sound()
    call.tell(missed(2))
    assert [(gap.position, gap.samples) for gap in call.ledger.of_speakers] == [(2 * SECOND, 8 * SECOND)]


def test_while_the_bot_is_away_nobody_is_missed() -> None:
    """The bot's own time away is the gap; what lasts ends there, and shows that somebody was in the call."""
    call = with_sound()
    call.tell(closed(1, 10, LeftBy.LOST))
    call.tell(missed(2))
    call.tell(WentAway(WINDOW))
    call.tell(missed(11, ANN))
    assert (times(call), call.recording.aways[0].company) == ([("DEV", 2, 10)], True)
    call.tell(CameBack(Samples(2 * WINDOW)))
    call.tell(missed(20))
    assert times(call) == [("DEV", 2, 10), ("DEV", 20, None)]


def test_who_is_forgotten_is_missed_no_more() -> None:
    """The episode of what is left is made again, since it lacks nothing."""
    call = with_sound()
    call.tell(missed(2))
    end(call, 10)
    call.tell(Forgotten(BEN))
    assert (call.recording.unheard, call.state, call.effects) == ((), RecordingState.COMPLETE, [Finish()])


@pytest.mark.parametrize("count", [unheard.MOST_OF_ONE + 5])
def test_times_are_bounded(count: int) -> None:
    """A device with too many is missed from its last one on, and takes no place of others."""
    call = with_sound()
    for number in range(count):
        call.tell(missed(number, ANN))
        call.tell(heard(number + 0.5, ANN))
    call.tell(missed(1, ANN, "PHONE"))
    call.tell(missed(1))
    ann = [each for each in call.recording.unheard if each.user_id == ANN]
    last = unheard.MOST_OF_ONE - 1
    assert (len(ann), len(call.recording.unheard)) == (unheard.MOST_OF_ONE, unheard.MOST_OF_ONE + 1)
    assert (ann[-1].begins, ann[-1].ends) == (last * SECOND, (count - 0.5) * SECOND)
