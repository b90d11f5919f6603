"""TURN servers: from the homeserver's answer, for as long as they are good."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.calls.media.door import IceServer
from bot.calls.turn import MOST_SERVERS, Turn, read
from bot.errors import TryLater
from tests.clock import Clock

ANSWER = {
    "uris": ["turn:turn.hs:3478?transport=udp", "turns:turn.hs"],
    "username": "1:bot",
    "password": "x",
    "ttl": 600,
}
SERVERS = (IceServer(("turn:turn.hs:3478?transport=udp", "turns:turn.hs"), "1:bot", "x"),)


class Wire:
    """A homeserver with one answer."""

    def __init__(self) -> None:
        self.answer: Any = ANSWER
        self.asked = 0

    async def call(self, method: str, path: str, **_: Any) -> Any:
        self.asked += 1
        assert (method, path) == ("GET", "/_matrix/client/v3/voip/turnServer")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def turn_of(wire: Wire, clock: Clock) -> Turn:
    return Turn(cast("Any", wire), clock)


async def test_servers_are_asked_for_before_they_expire() -> None:
    """The servers are kept for nine tenths of their time, then asked for again."""
    wire, clock = Wire(), Clock()
    turn = turn_of(wire, clock)
    assert [await turn.servers() for _ in range(3)] == [SERVERS] * 3
    clock.pass_by(539)
    await turn.servers()
    assert wire.asked == 1
    clock.pass_by(1)
    await turn.servers()
    assert wire.asked == 2


@pytest.mark.parametrize(("answer", "pause_s"), [({}, 600), (TryLater("the homeserver can't be reached"), 60)])
async def test_a_homeserver_without_servers_is_asked_seldom(answer: Any, pause_s: int) -> None:
    """A homeserver that has no servers, or can't be reached, gives none, and is asked again after a while."""
    wire, clock = Wire(), Clock()
    wire.answer, turn = answer, turn_of(wire, clock)
    assert [await turn.servers() for _ in range(3)] == [()] * 3
    assert wire.asked == 1
    clock.pass_by(pause_s)
    wire.answer = ANSWER
    assert await turn.servers() == SERVERS


def test_bad_answers_give_no_servers() -> None:
    """Only addresses of STUN and TURN are taken, so many and no more, and only with credentials."""
    many = [f"turn:t{number}.hs" for number in range(1000)]
    bad = ["http://hs", "turn:", "turn:a b", 7, None, "turn:" + "x" * 1000, "file:///etc/passwd"]
    assert [len(server.urls) for server in read({**ANSWER, "uris": [*bad, *many]})] == [MOST_SERVERS]
    assert read({**ANSWER, "uris": bad}) == ()
    assert read({**ANSWER, "password": None}) == ()
    assert read({**ANSWER, "username": "x" * 10_000}) == ()


json = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)


@given(st.dictionaries(st.sampled_from(sorted(ANSWER)), json | st.lists(json, max_size=3)))
async def test_no_answer_raises(answer: Any) -> None:
    """Any JSON is read, and kept for a minute at least and a day at most."""
    wire, clock = Wire(), Clock()
    wire.answer, turn = {**ANSWER, **answer}, turn_of(wire, clock)
    await turn.servers()
    clock.pass_by(59)
    await turn.servers()
    assert wire.asked == 1
    clock.pass_by(86_400)
    await turn.servers()
    assert wire.asked == 2
