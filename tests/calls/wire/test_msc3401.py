"""Messages of MSC3401: as js-sdk and Hydrogen send them, hostile ones, and our own."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.calls.model import (
    Answered,
    AnswerSelected,
    Candidate,
    Candidates,
    Device,
    HungUp,
    Ignored,
    LegId,
    Message,
    Muted,
    Offered,
    Received,
    Renegotiated,
    Send,
)
from bot.calls.wire import msc3401, webrtc
from bot.event_types import CALL_MESSAGES
from bot.matrix.batch import Signal
from bot.recording.model import Rejected
from storage.records import DeviceId, RoomId, UserId

US = Device(UserId("@bot:hs"), "BOTDEV", "bot-session")
ANN = Device(UserId("@ann:hs"), "ANNDEV", "ann-session")
SDP = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\na=msid:stream-1 track-1\r\na=ssrc:77 msid:stream-1 track-1\r\n"
METADATA = {"stream-1": {"purpose": "m.usermedia", "audio_muted": False, "video_muted": True}}
OLD, NEW = "org.matrix.msc3077.sdp_stream_metadata", "sdp_stream_metadata"
HEAD = {
    "call_id": "1700000000000abcdef",
    "conf_id": "conf",
    "party_id": "ANNDEV",
    "version": "1",
    "device_id": "ANNDEV",
    "sender_session_id": "ann-session",
    "dest_session_id": "bot-session",
    "seq": 0,
    "org.matrix.msgid": "b4c1",
}
CAPABILITIES = {"m.call.transferee": False, "m.call.dtmf": False}
INVITE = {
    **HEAD,
    "offer": {"type": "offer", "sdp": SDP},
    "lifetime": 60000,
    "invitee": "@bot:hs",
    "capabilities": CAPABILITIES,
    OLD: METADATA,
}
CANDIDATE = {"candidate": "candidate:1 1 udp 99 10.0.0.1 5000 typ host", "sdpMid": "0", "sdpMLineIndex": 0}
SENT: list[tuple[str, Mapping[str, Any], Message]] = [
    ("m.call.invite", INVITE, Offered(SDP, muted=False)),
    ("m.call.answer", {**HEAD, "answer": {"type": "answer", "sdp": SDP}, NEW: METADATA}, Answered(SDP, muted=False)),
    (
        "m.call.candidates",
        {**HEAD, "candidates": [CANDIDATE, {"candidate": ""}]},
        Candidates((Candidate(str(CANDIDATE["candidate"]), "0", 0), Candidate("", None, None))),
    ),
    ("m.call.select_answer", {**HEAD, "selected_party_id": "BOTDEV"}, AnswerSelected("BOTDEV")),
    (
        "m.call.negotiate",
        {**HEAD, "description": {"type": "offer", "sdp": SDP}},
        Renegotiated(is_offer=True, sdp=SDP),
    ),
    ("m.call.hangup", {**HEAD, "reason": "user_hangup"}, HungUp("user_hangup")),
    ("m.call.reject", HEAD, HungUp(rejects=True)),
    ("org.matrix.call.sdp_stream_metadata_changed", {**HEAD, OLD: METADATA}, Muted(audio=False)),
    (
        "m.call.sdp_stream_metadata_changed",
        {**HEAD, NEW: {"stream-1": {"purpose": "m.usermedia", "audio_muted": True}}},
        Muted(audio=True),
    ),
]


def signal(kind: str, content: Mapping[str, Any], *, encrypted: bool = True) -> Signal:
    return Signal(ANN.user_id, kind, content, encrypted, DeviceId("ANNDEV") if encrypted else None)


def read(kind: str, content: Mapping[str, Any], **more: Any) -> Received | Rejected:
    return msc3401.read(signal(kind, content, **more), US, "conf")


@pytest.mark.parametrize(("kind", "content", "message"), SENT)
def test_messages_of_js_sdk_are_read(kind: str, content: Mapping[str, Any], message: Message) -> None:
    """Each message as js-sdk sends it is read, with its leg, its device and its number, sealed or not."""
    expected = Received("conf", ANN, LegId("1700000000000abcdef"), message, seq=0, encrypted=True)
    assert read(kind, content) == expected
    assert read(kind, content, encrypted=False) == replace(expected, encrypted=False)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"conf_id": "another"}, "other_call"),
        ({"conf_id": None}, "other_call"),
        ({"dest_session_id": "of the process before"}, "other_session"),
        ({"invitee": "@carl:hs"}, "other_user"),
        ({"device_id": "CARLDEV"}, "device"),
        ({"device_id": None}, "fields"),
        ({"sender_session_id": 7}, "fields"),
        ({"call_id": ["x"]}, "fields"),
        ({"seq": -1}, "fields"),
        ({"seq": True}, "fields"),
        ({"seq": 1e300}, "fields"),
    ],
)
def test_other_messages_are_rejected(change: Mapping[str, Any], rule: str) -> None:
    """A message for another call, session or user, of another device, or without its ids, is rejected by name."""
    assert read("m.call.invite", {**INVITE, **change}) == Rejected(rule)


@pytest.mark.parametrize(
    ("kind", "change", "rule"),
    [
        ("m.call.asserted_identity", {}, "type"),
        ("m.call.answer", {}, "sdp"),
        ("m.call.candidates", {"candidates": {}}, "candidates"),
        ("m.call.select_answer", {"selected_party_id": ""}, "party"),
        ("m.call.negotiate", {"description": {"type": "rollback", "sdp": SDP}}, "sdp"),
        ("m.call.sdp_stream_metadata_changed", {NEW: [], OLD: METADATA}, "metadata"),
        ("m.call.invite", {"offer": {"type": "answer", "sdp": SDP}}, "sdp"),
        ("m.call.invite", {"offer": "v=0"}, "sdp"),
        ("m.call.invite", {"offer": {"type": "offer", "sdp": "\ud800"}}, "sdp"),
        ("m.call.invite", {"offer": {"type": "offer", "sdp": "v" * (webrtc.MOST_SDP + 1)}}, "too_large"),
    ],
)
def test_the_number_of_a_useless_message_counts(kind: str, change: Mapping[str, Any], rule: str) -> None:
    """A message to the bot that is malformed, or of a type that it has no use for, is read as such, with its number."""
    received = read(kind, {**INVITE, **change})
    assert received == Received("conf", ANN, LegId("1700000000000abcdef"), Ignored(rule), seq=0, encrypted=True)


def test_own_messages_are_rejected() -> None:
    """A message that the bot's own device is said to have sent is rejected."""
    own = Signal(US.user_id, "m.call.hangup", {**HEAD, "device_id": "BOTDEV"})
    assert msc3401.read(own, US, "conf") == Rejected("own")


def test_a_timeline_event_is_no_message() -> None:
    """A call message in a room's timeline, as 1:1 calls have it, is none of a group call."""
    heard = replace(signal("m.call.invite", INVITE), room_id=RoomId("!a:hs"))
    assert msc3401.read(heard, US, "conf") == Rejected("type")


def test_messages_without_a_number_are_read() -> None:
    """A message without `seq` is read."""
    content = {key: value for key, value in INVITE.items() if key != "seq"}
    received = read("m.call.invite", content)
    assert isinstance(received, Received)
    assert received.seq is None


def test_candidates_are_bounded() -> None:
    """Only the first of many candidates are read, without those that are too long or not text."""
    junk = [{"candidate": "x" * 5000}, {"candidate": 7}, "candidate", {"candidate": "a\r\nb"}]
    received = read("m.call.candidates", {**HEAD, "candidates": [*junk, *[CANDIDATE] * 1000]})
    assert isinstance(received, Received)
    assert isinstance(received.message, Candidates)
    assert len(received.message.candidates) == msc3401.MOST_CANDIDATES - len(junk)


@pytest.mark.parametrize("key", [OLD, NEW])
def test_only_a_microphone_tells_mutes(key: str) -> None:
    """A screen's stream says nothing about the microphone."""
    streams = {"screen": {"purpose": "m.screenshare", "audio_muted": True}, **METADATA}
    received = read("m.call.sdp_stream_metadata_changed", {**HEAD, key: {"screen": streams["screen"]}})
    assert isinstance(received, Received)
    assert received.message == Ignored("metadata")
    received = read("m.call.sdp_stream_metadata_changed", {**HEAD, key: streams})
    assert isinstance(received, Received)
    assert received.message == Muted(audio=False)


# ---- ours


def test_our_invite_has_what_js_sdk_asks_for() -> None:
    """An invite of ours carries the fields that js-sdk drops messages without, and both names of the metadata."""
    kind, content = msc3401.write(Send(ANN, LegId("leg"), 4, Offered(SDP)), US, "conf", "id")
    streams = {"stream-1": {"purpose": "m.usermedia", "audio_muted": True, "video_muted": True}}
    assert (kind, content) == (
        "m.call.invite",
        {
            "offer": {"type": "offer", "sdp": SDP},
            "lifetime": 60000,
            "invitee": "@ann:hs",
            "capabilities": CAPABILITIES,
            OLD: streams,
            NEW: streams,
            "call_id": "leg",
            "conf_id": "conf",
            "party_id": "BOTDEV",
            "version": "1",
            "device_id": "BOTDEV",
            "sender_session_id": "bot-session",
            "dest_session_id": "ann-session",
            "seq": 4,
            "org.matrix.msgid": "id",
        },
    )


ids = st.text(st.characters(codec="ascii", exclude_categories=["C", "Z"]), min_size=1, max_size=20)
sdps = st.sampled_from([SDP, SDP + "a=x\r\n"])
messages = st.one_of(
    st.builds(Offered, sdps, st.booleans()),
    st.builds(Answered, sdps, st.booleans()),
    st.builds(Renegotiated, st.booleans(), sdps, st.booleans()),
    st.builds(AnswerSelected, ids),
    st.builds(HungUp, ids | st.just(""), st.booleans()),
    st.builds(
        Candidates,
        st.lists(st.builds(Candidate, ids, st.none() | ids, st.none() | st.integers(0, 9)), max_size=3).map(tuple),
    ),
)


@given(message=messages, leg=ids, seq=st.integers(0, 1 << 40), session=ids)
def test_a_written_message_is_read_as_it_was(message: Message, leg: str, seq: int, session: str) -> None:
    """A device that reads as the bot does gets the same message."""
    to = replace(ANN, session_id=session)
    kind, content = msc3401.write(Send(to, LegId(leg), seq, message), US, "conf", "id")
    assert kind.startswith(CALL_MESSAGES)
    heard = Signal(US.user_id, kind, content, encrypted=True, device_id=DeviceId(US.device_id))
    assert msc3401.read(heard, to, "conf") == Received("conf", US, LegId(leg), message, seq, encrypted=True)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(data=st.data())
def test_no_message_raises(data: st.DataObject) -> None:
    """Any JSON in any field gives a message or a rejection, never an exception."""
    kind, content, _ = data.draw(st.sampled_from(SENT))
    spoilt = {**content}
    for key in data.draw(st.lists(st.sampled_from(sorted(content)), min_size=1, max_size=3)):
        nested = spoilt[key]
        if isinstance(nested, dict) and nested and data.draw(st.booleans()):
            spoilt[key] = {**nested, data.draw(st.sampled_from(sorted(nested))): data.draw(json)}
        else:
            spoilt[key] = data.draw(json)
    assert isinstance(read(kind, spoilt), Received | Rejected)
    assert isinstance(read(kind, data.draw(st.dictionaries(st.text(max_size=8), json, max_size=3))), Rejected)
