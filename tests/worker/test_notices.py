"""Notices in rooms: said once each, late or not."""

import logging

import pytest

from bot import orders
from bot.errors import GiveUp
from bot.worker.notices import notice
from tests.worker.post import Post, job
from tests.world import PREFIX, ROOM


async def test_a_notice_is_the_same_event_however_often_it_is_sent(post: Post) -> None:
    """The transaction is the job's, so that a repeat after a death is none."""
    said = job(orders.Notice.kind, {"room_id": ROOM, "body": "hello", "reply_to": "$e"}, post.clock)
    await post.notices(said)
    await post.notices(said)
    (first, second) = post.homeserver.sent
    assert first == second
    assert first[2]["m.relates_to"] == {"m.in_reply_to": {"event_id": "$e"}}


async def test_a_notice_that_was_late_is_told_in_the_log(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    """A notice that was tried again, as after a rate limit, has a line with its room and without its words."""
    caplog.set_level(logging.INFO)
    payload = {"room_id": ROOM, "body": "hello"}
    await post.notices(job(orders.Notice.kind, payload, post.clock))
    assert "late" not in caplog.text
    await post.notices(job(orders.Notice.kind, payload, post.clock, attempts=2))
    assert f"notice sent late: room={ROOM} attempt=3" in caplog.text
    assert "hello" not in caplog.text


async def test_a_notice_names_commands_with_their_prefix(post: Post) -> None:
    """The prefix is a setting, which those who order the notice need not know."""
    payload = {"room_id": ROOM, "body": "say `{prefix} record off`", "prefixed": True}
    await post.notices(job(orders.Notice.kind, payload, post.clock))
    await post.notices(job(orders.Notice.kind, {"room_id": ROOM, "body": "{Soup}"}, post.clock))
    assert [content["body"] for *_, content in post.homeserver.sent] == [f"say `{PREFIX} record off`", "{Soup}"]


async def test_nothing_is_said_where_the_bot_is_not(post: Post) -> None:
    """A notice to a room that the bot was removed from is given up."""
    with pytest.raises(GiveUp):
        await post.notices(job(orders.Notice.kind, {"room_id": "!other:hs", "body": "x"}, post.clock))
    assert post.homeserver.sent == []


def test_an_answer_stands_in_the_thread_of_its_question() -> None:
    """A reply without a thread is a plain reply (Client-Server API, threading)."""
    threaded = notice("x", reply_to="$q", thread="$t")["m.relates_to"]
    assert (threaded["rel_type"], threaded["event_id"], threaded["is_falling_back"]) == ("m.thread", "$t", False)
    assert "m.relates_to" not in notice("x")


def test_a_notice_is_formatted_and_mentions_nobody() -> None:
    """A notice has a plain and a formatted body, and an empty list of mentions."""
    said = notice("Say `help` & listen: https://aircheck.example/r/x.")
    assert said["body"] == "Say `help` & listen: https://aircheck.example/r/x."
    assert said["format"] == "org.matrix.custom.html"
    link = '<a href="https://aircheck.example/r/x">https://aircheck.example/r/x</a>.'
    assert said["formatted_body"] == f"Say <code>help</code> &amp; listen: {link}"
    assert said["m.mentions"] == {}


def test_a_notice_never_notifies_a_room() -> None:
    """No notice has the word in it that notifies everybody, whoever wrote it."""
    said = notice("Ann's @room, @@Room and @rooms are ready")
    assert said["body"] == "Ann's room, Room and rooms are ready"
    assert "@room" not in said["formatted_body"].lower()


def test_a_long_notice_fits_into_one_event() -> None:
    """A body that an event can't hold twice is sent plain."""
    said = notice("😀" * 3000)
    assert "formatted_body" not in said
    assert "format" not in said
