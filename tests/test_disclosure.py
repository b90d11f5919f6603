"""Facts of a recording that its room is shown."""

from datetime import timedelta

from bot import disclosure
from storage.records import Change, ConsentNotice, EventId, Retention, UserId, Visibility
from tests.factories import NOW, ROOM, a_room

MOD = UserId("@mod:hs")
SWITCHED = Change(1, NOW, ROOM, MOD, "record", before="off", after="on")
TOLD = ConsentNotice(EventId("$notice"), ROOM, NOW + timedelta(seconds=3), "…")


def test_the_state_event_says_what_is_recorded_for_whom_how_long_and_who_switched_it() -> None:
    """The content is what INTERFACE promises, in milliseconds."""
    room = a_room(retention=Retention(days=30))
    assert disclosure.state_content(room, Visibility.PUBLIC, SWITCHED, None) == {
        "records": ["broadcasts"],
        "visibility": "public",
        "retention": "30 days",
        "since": round(NOW.timestamp() * 1000),
        "by": MOD,
    }


def test_recording_counts_from_the_notice_that_it_waited_for() -> None:
    """Until the room was told nothing is recorded; then it is since the notice."""
    waits = disclosure.state_content(a_room(told_at=None), Visibility.PRIVATE, SWITCHED, None)
    assert waits["records"] == []
    told = disclosure.state_content(a_room(), Visibility.PRIVATE, SWITCHED, TOLD)
    assert told["since"] == round(TOLD.said_at.timestamp() * 1000)


def test_a_room_in_which_nothing_was_ever_recorded_names_nobody() -> None:
    """Nothing changed, so there is nobody who changed it."""
    content = disclosure.state_content(a_room(recording_on=False), Visibility.PRIVATE, None, None)
    assert (content["records"], content["since"], content["by"], content["retention"]) == ([], None, None, "forever")
