"""MXVC: as its page sends it, as its README says it, hostile events, and our own."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.calls.model import Answered, Candidate, Candidates, Device, HungUp, LegId, Message, Offered, Received, Send
from bot.calls.wire import mxvc, webrtc
from bot.event_types import CALL_SIGNAL, CALL_STATE
from bot.matrix.batch import Signal
from bot.recording.model import Rejected
from storage.records import EventId, Position, RoomId, StateEvent, UserId

NOW = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)
NOW_MS = round(NOW.timestamp() * 1000)
ROOM = RoomId("!r:hs")
US = Device(UserId("@bot:hs"), "Aircheck [REC]", "s")
ANN, BOB, CAT = (UserId(f"@{name}:hs") for name in ("ann", "bob", "cat"))
JOINED = frozenset({ANN, BOB, US.user_id})
CHROME = Device(ANN, "Chrome")
SDP = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\n"
OFFER = json.dumps({"type": "offer", "sdp": SDP})
ICE = "candidate:1 1 udp 99 10.0.0.1 5000 typ host"
INIT = {"candidate": ICE, "sdpMid": "0", "sdpMLineIndex": 0}
TO_US = {"sender": "Chrome", "receiver": "Aircheck [REC]"}


def entry(
    name: str, content: Mapping[str, Any], sender: UserId = ANN, age_s: float = 0, position: int = 1
) -> StateEvent:
    sent = NOW - timedelta(seconds=age_s)
    return StateEvent(ROOM, CALL_STATE, name, sender, content, Position(position), EventId(f"${position}"), sent)


def in_channel(*state: StateEvent, now: datetime = NOW) -> list[tuple[str, str]]:
    calls = mxvc.calls_of(state, JOINED, US, now)
    return [(member.device.user_id, member.device.device_id) for call in calls for member in call.members]


def heard(content: Mapping[str, Any], sender: UserId = ANN, **changes: Any) -> Received | Rejected:
    signal = Signal(sender, CALL_SIGNAL, content, room_id=ROOM, sent_at=NOW)
    return mxvc.read(replace(signal, **changes), US, NOW)


def test_the_channel_is_who_has_joined() -> None:
    """Members of the room whose entry says so are in the channel, the bot's own user left out."""
    fresh = {"join_state": "JOINED", "timestamp": NOW_MS}
    state = [
        entry("Firefox tab", fresh, BOB, position=7),
        entry("Chrome", fresh, position=3),
        entry("Phone", {**fresh, "join_state": "LEFT"}, position=4),
        entry("Old [REC]", fresh, US.user_id, position=5),
        entry("Aircheck [REC]", fresh, BOB, position=6),
        entry("Cat", fresh, CAT, position=2),
    ]
    (call,) = mxvc.calls_of(state, JOINED, US, NOW)
    assert (call.call_id, call.event_id, in_channel(*state)) == ("", "$3", [(ANN, "Chrome"), (BOB, "Firefox tab")])
    assert mxvc.calls_of([], JOINED, US, NOW) == ()
    (empty,) = mxvc.calls_of(state[3:], JOINED, US, NOW)
    assert (empty.event_id, empty.members) == (None, ())


@pytest.mark.parametrize(
    ("timestamp", "age_s", "lasts_s"),
    [
        (NOW_MS - 5000, 5, 15),  # the page
        (NOW_MS - 5000, 0, 20),  # its clock is behind: the homeserver's counts
        (NOW_MS + 3_600_000, 5, 35),  # its clock is ahead: no longer than one refresh
        (str(NOW_MS - 5000), 5, 5),  # the README, with a timestamp
        ("293823423423424", 5, 15),  # the README's own example
        (None, 5, 3595),  # the README, without one
        ([], 5, 3595),
        (float("nan"), 5, 3595),
        ("\u0661", 5, 3595),
    ],
)
def test_an_entry_lapses(timestamp: object, age_s: float, lasts_s: float) -> None:
    """A device is in the channel for so long after its entry was written."""
    content = {"join_state": "JOINED", **({} if timestamp is None else {"timestamp": timestamp})}
    state = entry("Chrome", content, age_s=age_s)
    assert in_channel(state, now=NOW + timedelta(seconds=lasts_s - 0.001))
    assert not in_channel(state, now=NOW + timedelta(seconds=lasts_s))


MESSAGES: list[tuple[dict[str, Any], Message]] = [
    ({**TO_US, "rtc_type": "offer", "body": OFFER}, Offered(SDP)),
    ({**TO_US, "rtc_type": "answer", "body": json.dumps({"type": "answer", "sdp": SDP})}, Answered(SDP)),
    ({**TO_US, "rtc_type": "icecandidate", "body": json.dumps(INIT)}, Candidates((Candidate(ICE, "0", 0),))),
    ({**TO_US, "rtc_type": "offer", "body": SDP}, Offered(SDP)),
    ({**TO_US, "rtc_type": "answer", "body": SDP}, Answered(SDP)),
    (
        {"sender": "Chrome", "rtc_type": "candidate", "body": ICE},
        Candidates((Candidate(ICE, None, None),)),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("content", "message"), MESSAGES)
def test_messages_are_read(content: dict[str, Any], message: Message) -> None:
    """Messages are read as the page sends them, and as the README says; they name no leg."""
    assert heard(content) == Received("", CHROME, LegId(""), message)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"receiver": "Firefox"}, "other_device"),
    ({"receiver": None}, "other_device"),
    ({"receiver": ["Aircheck [REC]"]}, "other_device"),
    ({"sender": ""}, "fields"),
    ({"sender": 7}, "fields"),
    ({"sender": "C" * 256}, "fields"),
    ({"sender": "a\nb"}, "fields"),
    ({"rtc_type": "bye"}, "fields"),
    ({"rtc_type": ["offer"]}, "fields"),
    ({"body": None}, "sdp"),
    ({"body": "[" * 100_000}, "sdp"),
    ({"body": "9" * 5000}, "sdp"),
    ({"body": '{"type": "answer", "sdp": "v=0"}'}, "sdp"),
    ({"body": '{"type": "offer", "sdp": "v=0\\ud800"}'}, "sdp"),
    ({"body": "v=0" + "x" * webrtc.MOST_SDP}, "too_large"),
    ({"rtc_type": "icecandidate", "body": "{}"}, "candidates"),
    ({"rtc_type": "icecandidate", "body": "candidate:" + "x" * 2000}, "candidates"),
]


@pytest.mark.parametrize(("changes", "reason"), BAD, ids=[f"{n} {reason}" for n, (_, reason) in enumerate(BAD)])
def test_bad_messages_are_rejected(changes: dict[str, Any], reason: str) -> None:
    """Messages for others, and those that can't be read, are rejected by name."""
    assert heard({**MESSAGES[0][0], **changes}) == Rejected(reason)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sender": US.user_id}, "own"),
        ({"encrypted": True}, "encrypted"),
        ({"room_id": None}, "type"),
        ({"type": "m.call.invite"}, "type"),
        ({"sent_at": NOW - timedelta(seconds=61)}, "late"),
    ],
)
def test_messages_that_do_not_belong_here(changes: dict[str, Any], reason: str) -> None:
    """The bot's own messages, old ones, and those that no client of MXVC sends are rejected."""
    assert heard(MESSAGES[0][0], **changes) == Rejected(reason)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["offer", OFFER, "JOINED", SDP]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(st.sampled_from(["rtc_type", "sender", "receiver", "body"]), json_values),
    st.sampled_from([content for content, _ in MESSAGES]),
)
def test_any_json_is_a_message_or_a_rejection(changes: dict[str, Any], content: dict[str, Any]) -> None:
    """Whatever an event holds, reading it raises nothing."""
    assert isinstance(heard({**content, **changes}), Received | Rejected)


@given(st.text(max_size=300), st.dictionaries(st.sampled_from(["join_state", "timestamp"]), json_values))
def test_any_state_is_an_entry_or_none(name: str, content: dict[str, Any]) -> None:
    """Whatever an entry holds, reading it raises nothing."""
    for device in in_channel(entry(name, {"join_state": "JOINED", **content})):
        assert device == (ANN, name)


@given(st.sampled_from([Offered(SDP), Answered(SDP)]))
def test_what_is_written_is_read(message: Message) -> None:
    """The other end of our messages reads what we wrote."""
    kind, content = mxvc.write(Send(CHROME, LegId("leg.1"), 0, message), US)
    signal = Signal(US.user_id, kind, content, room_id=ROOM)
    assert mxvc.read(signal, CHROME, NOW) == Received("", Device(US.user_id, US.device_id), LegId(""), message)
    assert json.loads(content["body"])["type"] == content["rtc_type"]


def test_there_is_no_hang_up() -> None:
    """The protocol has no message for the end of a connection."""
    with pytest.raises(ValueError, match="HungUp"):
        mxvc.write(Send(CHROME, LegId("leg.1"), 0, HungUp()), US)


def test_the_bots_entry() -> None:
    """The bot's entry says that it is in the channel or has left it, with its time as a number."""
    assert mxvc.entered(NOW) == {"join_state": "JOINED", "timestamp": NOW_MS}
    assert [mxvc.is_listed(own) for own in (mxvc.entered(NOW), mxvc.left(NOW), None)] == [True, False, False]


def test_the_bots_name() -> None:
    """The bot is known by the local part of its user id, marked as recording, in a form that any homeserver takes as a
    state key."""
    assert mxvc.name_of(US.user_id) == "bot [REC]"
    assert len(mxvc.name_of(UserId("@" + "b" * 250 + ":hs"))) == mxvc.MOST_NAME
