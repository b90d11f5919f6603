"""Facts of a recording that its room is shown."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot import disclosure
from storage.records import Change, ConsentNotice, EventId, Position, Retention, UserId, Visibility
from tests.factories import NOW, ROOM, a_room

MOD = UserId("@mod:hs")
SWITCHED = Change(1, NOW, ROOM, MOD, "record", before="off", after="on")
TOLD = ConsentNotice(EventId("$notice"), ROOM, NOW + timedelta(seconds=3), "…")


def test_the_state_event_says_what_is_recorded_for_whom_how_long_and_who_switched_it() -> None:
    """The content is what INTERFACE promises, in milliseconds."""
    room = a_room(retention=Retention(days=30))
    assert disclosure.state_content(room, Visibility.PUBLIC, SWITCHED, None, None) == {
        "records": ["broadcasts"],
        "visibility": "public",
        "retention": "30 days",
        "since": round(NOW.timestamp() * 1000),
        "by": MOD,
    }


def test_recording_counts_from_the_notice_that_it_waited_for() -> None:
    """Until the room was told nothing is recorded; then it is since the notice."""
    waits = disclosure.state_content(a_room(told_at=None), Visibility.PRIVATE, SWITCHED, None, None)
    assert waits["records"] == []
    told = disclosure.state_content(a_room(), Visibility.PRIVATE, SWITCHED, TOLD, None)
    assert told["since"] == round(TOLD.said_at.timestamp() * 1000)


@pytest.mark.parametrize(
    ("rule", "max_days", "said"),
    [
        (Retention(), 90, "90 days"),
        (Retention(days=30), 90, "30 days"),
        (Retention(days=365), 90, "90 days"),
        (Retention(episodes=20), 90, "20 episodes"),
        (Retention(), None, "forever"),
    ],
)
def test_the_shorter_of_two_rules_is_shown(rule: Retention, max_days: int | None, said: str) -> None:
    """A recording that the administrator ends sooner is not said to stay longer."""
    content = disclosure.state_content(a_room(retention=rule), Visibility.PRIVATE, SWITCHED, TOLD, max_days)
    assert content["retention"] == said


def test_a_room_in_which_nothing_was_ever_recorded_names_nobody() -> None:
    """Nothing changed, so there is nobody who changed it."""
    content = disclosure.state_content(a_room(recording_on=False), Visibility.PRIVATE, None, None, None)
    assert (content["records"], content["since"], content["by"], content["retention"]) == ([], None, None, "forever")


@pytest.mark.parametrize(
    ("what", "before", "after", "more"),
    [
        ("record", "off", "on", True),
        ("record", "on", "off", False),
        ("record messages", "off", "on", True),
        ("record messages", "on", "off", False),
        ("publish", "private", "public", True),
        ("publish", "public", "private", False),
        ("replay", "off", "on", True),
        ("retention", "30 days", "31 days", True),
        ("retention", "30 days", "forever", True),
        ("retention", "30 days", "20 episodes", True),
        ("retention", "30 days", "7 days", False),
        ("retention", "forever", "365 days", False),
        ("retention", "20 episodes", "5 episodes", False),
        ("speakers", "@a:hs", "all", True),
        ("speakers", "@a:hs @b:hs", "@b:hs", False),
        ("speakers", "all", "@b:hs", False),
        ("announce", "on", "off", False),
    ],
)
def test_more_is_what_somebody_could_object_to(what: str, before: str, after: str, more: bool) -> None:
    """A room is told again of what is recorded, opened or kept in addition, and of nothing less."""
    assert disclosure.is_more(Change(1, NOW, ROOM, MOD, what, before=before, after=after)) is more


def told(**fields: Any) -> str:
    facts: dict[str, Any] = {"continues": False, "comes": True, "switched_by": "Mo", "max_days": None} | {
        name: fields.pop(name) for name in ("comes", "switched_by", "max_days") if name in fields
    }
    room = a_room(**fields)
    return disclosure.notice(
        room, public=room.publishes, feed="https://f", page="https://p", prefix="!aircheck", **facts
    )


def test_the_notice_says_all_that_a_member_has_to_know() -> None:
    """Each is told: for whom, where, how long, who switched it on, how to object, and how a moderator stops it."""
    private = told(retention=Retention(days=30))
    for words in ("Hello", "voice broadcasts", "members only", "`!aircheck feed`", "30 days", "Mo switched this on"):
        assert words in private
    for words in ("`!aircheck optout`", "`!aircheck record off`", "`!aircheck publish public`"):
        assert words in private
    public = told(comes=False, visibility=Visibility.PUBLIC, replay=True, speakers=(MOD,), max_days=90)
    for words in ("anybody can hear", "https://p", "https://f", "voice message", "Only members", "90 days"):
        assert words in public
    assert "Hello" not in public


@pytest.mark.parametrize(
    ("room", "records", "spoken"),
    [
        ({"messages_since": Position(5)}, ["broadcasts", "messages"], "voice broadcasts and voice messages"),
        ({"messages_since": Position(5), "recording_on": False}, ["messages"], "I record voice messages in this room"),
        ({"messages_wait": True}, ["broadcasts"], "voice broadcasts and voice messages"),
        ({}, ["broadcasts"], "I record voice broadcasts in this room"),
    ],
)
def test_each_kind_that_is_recorded_is_named(room: dict[str, Any], records: list[str], spoken: str) -> None:
    """The notice names what is switched on; the state event what is recorded already."""
    content = disclosure.state_content(a_room(**room), Visibility.PRIVATE, SWITCHED, None, None)
    assert content["records"] == records
    assert spoken in told(**room)


def test_the_last_switch_of_either_kind_is_told() -> None:
    """`since` and `by` are those of the newest change of what is recorded, whichever kind it was about."""
    later = replace(SWITCHED, id=2, by=UserId("@other:hs"), what="record messages")
    assert disclosure.last_switch({"record": SWITCHED, "record messages": later, "replay": SWITCHED}) == later
    assert disclosure.last_switch({"replay": SWITCHED}) is None


def test_where_nothing_is_recorded_the_notice_says_so() -> None:
    """Nobody is told how to object to what does not happen."""
    nothing = told(recording_on=False)
    assert "I record nothing here yet" in nothing
    assert "optout" not in nothing
