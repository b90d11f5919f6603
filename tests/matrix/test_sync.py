"""Parsing an answer to /sync, whatever it holds."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.matrix import sync
from storage.records import RoomId, UserId

BOT = UserId("@bot:hs")

leaf = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.sampled_from(["!r", BOT, "m.room.member"])
)
NAMES = (
    "rooms join leave invite !r timeline state events invite_state to_device type "
    "prev_batch limited content sender state_key unsigned prev_content membership msc4354_sticky"
)
names = st.sampled_from(NAMES.split())
json_tree: st.SearchStrategy[Any] = st.recursive(
    leaf, lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(names, below, max_size=4)), max_leaves=30
)


@given(st.dictionaries(names, json_tree, max_size=4), json_tree)
def test_no_answer_is_stumbled_over(answer: dict[str, Any], inner: Any) -> None:
    """Any JSON is parsed without an error, and every event is an object."""
    for tree in (answer, {"rooms": {kind: {"!r": inner} for kind in ("join", "leave", "invite")}}):
        for room in sync.rooms(tree, BOT):
            assert all(isinstance(event, dict) for event in (*room.state, *room.timeline, *room.sticky))
        assert all(invite.room_id == "!r" for invite in sync.invites(tree, BOT))
        assert set(sync.retracted(tree, BOT)) <= {RoomId("!r")}
        assert all(isinstance(event, dict) for event in sync.to_device(tree))


def test_sticky_events_beside_the_timeline_are_read() -> None:
    """Events that are sticky and not in the timeline come in a section of their own."""
    events = [{"type": "m.rtc.member", "event_id": "$sticky"}, "junk"]
    (room,) = sync.rooms({"rooms": {"join": {"!r": {"msc4354_sticky": {"events": events}}}}}, BOT)
    assert ([event["event_id"] for event in room.sticky], room.timeline) == (["$sticky"], ())


@pytest.mark.parametrize("kind", [["m.room.message"], {"m.room.message": 1}, None, 7])
def test_an_event_whose_type_is_no_text_is_none(kind: object) -> None:
    """An event whose type can't be hashed is left out."""
    events = [{"type": kind, "event_id": "$odd"}, {"type": "m.room.message", "event_id": "$e"}]
    answer = {"rooms": {"join": {"!r": {"timeline": {"events": events}, "state": {"events": events}}}}}
    (room,) = sync.rooms(answer, BOT)
    assert [event["event_id"] for event in (*room.state, *room.timeline)] == ["$e", "$e"]


def member(membership: str, **more: Any) -> dict[str, Any]:
    content = {"membership": membership, **more}
    return {"type": "m.room.member", "state_key": BOT, "sender": "@alice:hs", "content": content}


def test_an_invite_is_the_bots_own() -> None:
    """Only the bot's own member event tells the inviter and whether the invite is direct."""
    others = {**member("invite", is_direct=True), "state_key": "@other:hs", "sender": "@other:hs"}
    encryption = {"type": "m.room.encryption", "state_key": "", "sender": "@alice:hs", "content": {}}
    events = [others, member("invite", is_direct="yes"), encryption]
    (invite,) = sync.invites({"rooms": {"invite": {"!r": {"invite_state": {"events": events}}}}}, BOT)
    assert (invite.inviter, invite.direct, invite.encrypted) == ("@alice:hs", False, True)
    assert invite.stripped_state == tuple(events)
    assert sync.invites({"rooms": {"invite": {"!r": {"invite_state": {"events": [others]}}}}}, BOT) == ()


def test_left_or_retracted() -> None:
    """A leave after an invite is an ended invite; after a membership it is a left room."""
    for before, is_retracted in (("invite", True), ("knock", True), ("join", False)):
        event = {**member("leave"), "unsigned": {"prev_content": {"membership": before}}}
        answer = {"rooms": {"leave": {"!r": {"timeline": {"events": [event]}}}}}
        assert (sync.retracted(answer, BOT) == (RoomId("!r"),)) is is_retracted
        assert (sync.rooms(answer, BOT) == ()) is is_retracted


def test_invited_again_in_the_same_sync() -> None:
    """An invite that ended and was repeated before the next sync is not retracted."""
    ended = {**member("leave"), "unsigned": {"prev_content": {"membership": "invite"}}}
    left = {"!r": {"timeline": {"events": [ended]}}}
    answer = {"rooms": {"leave": left, "invite": {"!r": {"invite_state": {"events": [member("invite")]}}}}}
    assert sync.retracted(answer, BOT) == ()
    assert sync.rooms(answer, BOT) == ()
    assert [invite.room_id for invite in sync.invites(answer, BOT)] == ["!r"]


def test_a_gap_is_a_limited_timeline() -> None:
    """A limited timeline keeps its well-formed `prev_batch`; a malformed one counts as missing."""
    cases = ((True, "t1", "t1"), (True, None, None), (False, "t1", "t1"), ("yes", "t1", "t1"), (True, "", None))
    for limited, token, before in cases:
        answer: dict[str, Any] = {
            "rooms": {"join": {"!r": {"timeline": {"limited": limited, "prev_batch": token, "events": []}}}}
        }
        (room,) = sync.rooms(answer, BOT)
        assert (room.limited, room.prev_batch) == (limited is True, before)
