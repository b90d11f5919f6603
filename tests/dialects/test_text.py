"""Text messages and changes of membership."""

from typing import Any

import pytest

from bot.dialects import read
from bot.dialects.events import MembershipChanged, TextMessage
from bot.recording.model import Rejected
from storage.records import EventId, HeardEvent, RoomId, UserId

ALICE = UserId("@alice:hs")


def heard(event: dict[str, Any], **how: Any) -> HeardEvent:
    return HeardEvent(RoomId("!r:hs"), EventId("$event"), {"sender": ALICE, **event}, **how)


def message(**content: Any) -> dict[str, Any]:
    return {"type": "m.room.message", "content": {"msgtype": "m.text", "body": "hello", **content}}


def member(membership: object, **event: Any) -> dict[str, Any]:
    return {"type": "m.room.member", "state_key": "@bob:hs", "content": {"membership": membership}, **event}


def test_a_text_message_is_read_with_its_sender_and_words() -> None:
    """Thread, mentions and time are empty where the message has none."""
    assert read(heard(message())) == TextMessage(ALICE, "hello", None, (), None)


@pytest.mark.parametrize(
    ("relation", "thread"),
    [
        ({"rel_type": "m.thread", "event_id": "$root"}, "$root"),
        ({"rel_type": "m.thread", "event_id": 5}, None),
        ({"rel_type": "m.reference", "event_id": "$root"}, None),
        ({"m.in_reply_to": {"event_id": "$root"}}, None),
        (["m.thread"], None),
    ],
)
def test_a_text_message_knows_its_thread(relation: object, thread: str | None) -> None:
    """The thread is read in clear rooms from the content and in encrypted rooms from the wrapper."""
    clear = read(heard(message(**{"m.relates_to": relation})))
    assert isinstance(clear, TextMessage)
    assert clear.thread == thread
    if isinstance(relation, dict):
        encrypted = read(heard(message(), encrypted=True, clear_relation=relation))
        assert isinstance(encrypted, TextMessage)
        assert encrypted.thread == thread


@pytest.mark.parametrize(
    ("relation", "reply_to"),
    [
        ({"m.in_reply_to": {"event_id": "$picture"}}, "$picture"),
        ({"rel_type": "m.thread", "event_id": "$root", "m.in_reply_to": {"event_id": "$picture"}}, "$picture"),
        ({"m.in_reply_to": {"event_id": 5}}, None),
        ({"m.in_reply_to": ["$picture"]}, None),
        ({"rel_type": "m.reference", "event_id": "$root"}, None),
    ],
)
def test_a_text_message_knows_the_event_that_it_replies_to(relation: dict[str, Any], reply_to: str | None) -> None:
    """The reply is read in clear rooms from the content and in encrypted rooms from the wrapper too."""
    for message_ in (
        heard(message(**{"m.relates_to": relation})),
        heard(message(), encrypted=True, clear_relation=relation),
    ):
        told = read(message_)
        assert isinstance(told, TextMessage)
        assert told.reply_to == reply_to


@pytest.mark.parametrize(
    ("mentions", "users"),
    [
        ({"user_ids": ["@bot:hs", "@bob:hs"]}, {"@bot:hs", "@bob:hs"}),
        ({"user_ids": ["@bot:hs", 5, None, "bob", ["@bob:hs"]]}, {"@bot:hs"}),
        ({"user_ids": ["@a:hs"] * 50 + ["@bot:hs"]}, {"@a:hs"}),
        ({"user_ids": "@bot:hs"}, set()),
        (["@bot:hs"], set()),
        (None, set()),
    ],
)
def test_a_text_message_knows_whom_it_mentions(mentions: object, users: set[str]) -> None:
    """Junk among the mentions is left out, and so is what comes after the first fifty."""
    said = read(heard(message(**{"m.mentions": mentions})))
    assert isinstance(said, TextMessage)
    assert set(said.mentions) == users


@pytest.mark.parametrize("sender", [None, 7, "alice", "@alice"])
def test_a_text_without_a_valid_sender_says_nothing(sender: object) -> None:
    """A text message without a valid sender says nothing."""
    assert read(heard(message() | {"sender": sender})) is None


@pytest.mark.parametrize("membership", ["join", "leave", "ban", "invite", None, ["join"]])
def test_a_member_event_tells_who_is_in_and_who_is_out(membership: object) -> None:
    """A member event is about the user in its state key, whoever sent it."""
    assert read(heard(member(membership))) == MembershipChanged(UserId("@bob:hs"), joined=membership == "join")


def test_a_forged_member_event_says_nothing() -> None:
    """Neither an encrypted payload nor a message that looks like state changes a membership."""
    assert read(heard(member("leave"), encrypted=True)) is None
    assert read(heard({"type": "m.room.member", "content": {"membership": "leave"}})) is None
    assert read(heard(member("leave", state_key="bob"))) == Rejected("state_key", "members")
