"""The speakers of a call."""

from bot.recording.call.layout import WINDOW
from bot.recording.call.speakers import speakers
from bot.recording.model import Ended, Spoken
from storage.records import Credit, EndedBy, Samples
from tests.recording.call.world import ANN, BEN, Call, closed, slice_of


def shown(call: Call) -> list[tuple[str, str | None, int]]:
    found = speakers(call.recording, call.chunks, call.ledger)
    return [(each.credit.user_id, each.credit.name, each.heard) for each in found]


def talk() -> Call:
    """Return a call of twenty seconds, in which Ben was in the first half, and Ann all the time."""
    call = Call()
    call.join(ANN)
    call.join(BEN, "BEN")
    call.keep(slice_of(1, 0), slice_of(2, 0, BEN), slice_of(1, 1))
    return call


def test_while_a_call_runs_all_who_are_in_it_may_be_speakers() -> None:
    """Speakers are known once the call was mixed."""
    assert shown(talk()) == [(ANN, "Ann", 2 * WINDOW), (BEN, "Ben", WINDOW)]


def test_who_only_listened_is_no_speaker() -> None:
    """The speakers of a call that was mixed are those who spoke, and nobody where all were silent."""
    call = talk()
    for number in (1, 2):
        call.tell(closed(number, 20))
    call.tell(Ended(EndedBy.STOPPED))
    assert shown(call) == []
    call.tell(Spoken((Credit(BEN, "Ben", Samples(480)),), ()))
    assert shown(call) == [(BEN, "Ben", 480)]
