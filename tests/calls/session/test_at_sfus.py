"""The session machine with devices at SFUs: who is awaited, heard, missed, and for how long."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.calls.model import (
    Device,
    LegConnected,
    LegEnded,
    LegFailed,
    LegId,
    LegMuted,
    LegReached,
    LegUnreadable,
    SessionEvent,
    SoundHeard,
    TimePassed,
)
from bot.calls.session import rules
from storage.records import CallEvent, CallEventKind, Samples, UserId
from tests.calls.session.stories import ANN, MATRIXRTC, NOW, OTHER_SFU, ZOE, Story, at_sfu

PHONE = replace(ANN, device_id="AA")
ANN_AGAIN = replace(ANN, session_id="a2")
S1, S2, S3 = LegId("S.1"), LegId("S.2"), LegId("S.3")
TIME = TimePassed()
Line = tuple[float, SessionEvent, list[str]]

HEARD: tuple[Line, ...] = (
    (0, at_sfu(ANN), ["receive S.1 of A"]),
    (1, LegConnected(S1), ["open S.1", "A joined"]),
)
MISSED: tuple[Line, ...] = (
    (0, at_sfu(ANN), ["receive S.1 of A"]),
    (1, LegFailed(S1, "refused"), ["close S.1 lost", "A unreachable", "tell A unreachable"]),
)
UNREACHED: tuple[Line, ...] = (
    (0, at_sfu(ANN), ["receive S.1 of A"]),
    (1, LegFailed(S1, "unreachable"), ["close S.1 lost", "A unreachable"]),
    (6, TIME, ["receive S.2 of A"]),
)
STORIES: dict[str, tuple[Line, ...]] = {
    "nobody is called, whoever's user id is the lower": (
        (0, at_sfu(ANN, ZOE), ["receive S.1 of A", "receive S.2 of Z"]),
    ),
    "a device is heard once it is at its SFU": HEARD,
    "a muted device has a stem": (
        *HEARD[:1],
        (1, LegMuted(S1, muted=True), []),
        (2, LegConnected(S1), ["open S.1", "A joined", "A muted"]),
        (3, LegMuted(S1, muted=True), []),
        (4, LegMuted(S1, muted=False), ["A unmuted"]),
    ),
    "it leaves": (*HEARD, (2, at_sfu(), ["close S.1 left", "A left"])),
    "it leaves its SFU first": (
        *HEARD,
        (2, LegEnded(S1), []),
        (3.9, at_sfu(), ["close S.1 left", "A left"]),
    ),
    "it is lost, and awaited again": (
        *HEARD,
        (2, LegEnded(S1), []),
        (3.9, TIME, []),
        (4, TIME, ["close S.1 lost", "A lost", "receive S.2 of A"]),
        (5, LegConnected(S2), ["open S.2", "A rejoined"]),
    ),
    "it is lost, and comes again at once": (
        *HEARD,
        (2, LegEnded(S1), []),
        (2.1, LegConnected(S1), ["close S.1 lost", "A lost", "receive S.2 of A"]),
        (2.1, LegConnected(S2), ["open S.2", "A rejoined"]),
    ),
    "a device is listed again at once": (
        *HEARD,
        (2, at_sfu(), ["close S.1 left", "A left"]),
        (2.1, at_sfu(ANN), ["receive S.2 of A"]),
    ),
    "a moved focus": (
        *HEARD,
        (2, at_sfu(ANN, at=OTHER_SFU), ["close S.1 left", "receive S.2 of A elsewhere"]),
        (3, LegConnected(S2), ["open S.2"]),
        (4, at_sfu(), ["close S.2 left", "A left"]),
    ),
    "a device leaves while it moves": (
        *HEARD,
        (2, at_sfu(ANN, at=OTHER_SFU), ["close S.1 left", "receive S.2 of A elsewhere"]),
        (3, at_sfu(ANN), ["close S.2 left", "receive S.3 of A"]),
        (4, at_sfu(), ["close S.3 left", "A left"]),
    ),
    "a device moves to an SFU that refuses the bot": (
        *HEARD,
        (2, at_sfu(ANN, at=OTHER_SFU), ["close S.1 left", "receive S.2 of A elsewhere"]),
        (3, LegFailed(S2, "refused"), ["close S.2 lost", "A lost", "A unreachable", "tell A unreachable"]),
        (8, TIME, ["receive S.3 of A elsewhere"]),
        (9, LegConnected(S3), ["A not missed", "open S.3", "A rejoined"]),
    ),
    "a device that sends to no SFU that the bot can use": (
        (0, at_sfu(ANN, at=None), ["A unreachable", "tell A unreachable"]),
        (1, at_sfu(ANN, at=None), []),
        (2, at_sfu(ANN), ["receive S.1 of A"]),
        (3, LegConnected(S1), ["A not missed", "open S.1", "A joined"]),
        (4, at_sfu(ANN, at=None), ["close S.1 left", "A unreachable", "tell A unreachable"]),
        (5, at_sfu(), ["A not missed", "A left"]),
    ),
    "a new membership": (
        *HEARD,
        (2, at_sfu(ANN_AGAIN), ["close S.1 lost", "A lost", "receive S.2 of A"]),
    ),
    "who declines is not received": (
        (0, at_sfu(ANN, declined=[ANN]), ["A declined"]),
        (1, at_sfu(ANN), ["receive S.1 of A"]),
        (2, at_sfu(ANN, declined=[ANN]), ["close S.1 ended", "A declined"]),
    ),
    "a user on two devices": (
        *HEARD,
        (2, at_sfu(ANN, PHONE), ["receive S.2 of AA"]),
        (3, LegConnected(S2), ["open S.2", "AA joined"]),
    ),
    "an SFU that refuses is tried again without end": (
        *MISSED,
        (5, TIME, []),
        (6, TIME, ["receive S.2 of A"]),
        (6, LegFailed(S2, "refused"), ["close S.2 lost"]),
        (26, TIME, ["receive S.3 of A"]),
        (26, LegFailed(S3, "unreachable"), ["close S.3 lost"]),
        (86, TIME, ["receive S.4 of A"]),
        (86, LegFailed(LegId("S.4"), "unreachable"), ["close S.4 lost"]),
        (146, TIME, ["receive S.5 of A"]),
        (147, LegConnected(LegId("S.5")), ["A not missed", "open S.5", "A joined"]),
        (150, LegEnded(LegId("S.5")), []),
        (152, TIME, ["close S.5 lost", "A lost", "receive S.6 of A"]),
    ),
    "a missed device leaves": (*MISSED, (3, at_sfu(), ["A not missed", "A left"])),
    "a missed device declines": (*MISSED, (3, at_sfu(ANN, declined=[ANN]), ["A not missed", "A declined"])),
    "an outage of seconds is told to nobody": (
        *UNREACHED,
        (10.9, LegReached(S2), ["A not missed"]),
        (60, LegConnected(S2), ["open S.2", "A joined"]),
    ),
    "an outage that lasts is told after ten seconds": (
        *UNREACHED,
        (10.9, TIME, []),
        (11, TIME, ["tell A unreachable"]),
        (11, LegFailed(S2, "refused"), ["close S.2 lost"]),
    ),
    "an SFU that refuses in the end is told at once": (
        *UNREACHED,
        (7, LegFailed(S2, "refused"), ["close S.2 lost", "tell A unreachable"]),
    ),
    "outages of seconds that follow one another": (
        *UNREACHED,
        (7, LegReached(S2), ["A not missed"]),
        (8, LegFailed(S2, "unreachable"), ["close S.2 lost", "A unreachable"]),
        (17.9, TIME, []),
        (18, TIME, ["tell A unreachable"]),
    ),
    "sound without its key": (
        *HEARD,
        (20, LegUnreadable(S1), ["A unreadable", "tell A unreadable"]),
        (40, LegUnreadable(S1), []),
        (50, SoundHeard(S1), ["A not missed"]),
        (60, LegUnreadable(S1), ["A unreadable", "tell A unreadable"]),
        (61, at_sfu(), ["close S.1 left", "A not missed", "A left"]),
    ),
    "sound that is not encrypted": (
        *HEARD,
        (20, LegUnreadable(S1, unencrypted=True), ["A refused", "A unreadable", "tell A unreadable"]),
        (40, LegUnreadable(S1, unencrypted=True), []),
    ),
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_stories(story: tuple[Line, ...]) -> None:
    """The bot does what the story says, event after event."""
    told = Story(MATRIXRTC)
    for at, event, expected in story:
        assert told.at(at, event) == expected


def test_a_dead_device_is_nobody() -> None:
    """The bot leaves when nobody is at the SFU, whatever the state lists."""
    story = Story(MATRIXRTC)
    story.at(0, at_sfu(ANN))
    assert story.at(20, TIME) == []
    assert story.at(50, TIME) == ["close S.1 ended", "leave alone"]


def test_the_bot_stays_while_an_sfu_is_started_anew() -> None:
    """A device whose SFU can't be reached is somebody for ten minutes, from the first failure on."""
    story = Story(MATRIXRTC)
    for at, event, _ in HEARD:
        story.at(at, event)
    story.at(100, LegEnded(S1))
    story.at(102, TIME)
    leg, at = 2, 102.0
    while not story.session.is_over:
        peer = next(iter(story.session.peers.values()))
        next_event: SessionEvent = LegFailed(LegId(f"S.{leg}"), "unreachable") if peer.leg else TIME
        leg += peer.leg is not None
        at = max(at, story.wake_s if peer.leg is None else at)
        story.at(at, next_event)
    assert at == 102 + rules.UNREACHABLE.total_seconds() + MATRIXRTC.empty.total_seconds()


def test_nobody_holds_an_empty_call_who_leaves_and_comes_again() -> None:
    """The ten minutes of a user at an SFU that can't be reached are counted from the first failure, whatever the user
    does, and anew once they were heard."""
    story = Story(MATRIXRTC)
    for minute in range(10):
        story.at(minute * 60, at_sfu(ANN))
        story.at(minute * 60, LegFailed(LegId(f"S.{minute + 1}"), "unreachable"))
        story.at(minute * 60 + 29, at_sfu())
    story.at(600, at_sfu(ANN))
    assert story.at(600, LegFailed(LegId("S.11"), "unreachable"))[-1] == "A unreachable"
    assert story.at(630, TIME)[-1] == "leave alone"


def test_who_was_heard_is_hoped_for_again() -> None:
    """A user whose SFU fails again after they were heard is somebody for as long as the first time."""
    story = Story(MATRIXRTC)
    story.at(0, at_sfu(ANN))
    story.at(0, LegFailed(S1, "unreachable"))
    story.at(5, TIME)
    story.at(6, LegConnected(S2))
    story.at(1000, LegEnded(S2))
    story.at(1002, TIME)
    story.at(1002, LegFailed(S3, "unreachable"))
    assert story.session.peers[ANN.user_id, "A"].hoped_until == NOW + rules.UNREACHABLE + timedelta(seconds=1002)


def test_devices_that_are_too_many_are_refused() -> None:
    """A device that is in the call, and too many to be looked after, is noted as refused, once."""
    story = Story(MATRIXRTC)
    seen = replace(at_sfu(ANN), left_out=(ZOE,))
    assert story.at(0, seen) == ["Z refused", "receive S.1 of A"]
    assert story.at(1, seen) == []


def test_a_room_that_becomes_encrypted() -> None:
    """Sound that is not encrypted is refused from then on: each device has a new leg."""
    story = Story(MATRIXRTC)
    for at, event, _ in HEARD:
        story.at(at, event)
    story.session = replace(story.session, setup=replace(MATRIXRTC, encrypted=True))
    assert story.at(2, TIME) == ["close S.1 ended", "A refused", "receive S.2 of A"]


def test_a_user_has_sixteen_legs_and_many_users_one_each() -> None:
    """All devices that are looked after are received, of one user no more than sixteen."""
    story = Story(MATRIXRTC)
    flood = [replace(ANN, device_id=f"A{number}") for number in range(30)]
    crowd = [Device(UserId(f"@u{number}:hs"), "D") for number in range(200)]
    said = story.at(0, at_sfu(*flood, *crowd))
    assert sum(line.startswith("receive") for line in said) == rules.MOST_OF_ONE_USER + 200
    assert sum(line.endswith("refused") for line in said) == 14


def test_who_was_in_before_a_crash_rejoins() -> None:
    """A device that the recording lists already rejoins."""
    past = [CallEvent(Samples(0), ANN.user_id, CallEventKind.JOINED, ANN.device_id)]
    story = Story(MATRIXRTC, past=past)
    story.at(0, at_sfu(ANN))
    assert story.at(1, LegConnected(S1)) == ["open S.1", "A rejoined"]
