"""Walking history on a homeserver that means no good."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from bot.errors import TryLater
from bot.matrix import history
from bot.matrix.history import History, Walked
from bot.matrix.wire import Wire
from storage.records import EventId, RoomId, UserId
from tests.matrix.stub import Stub

ROOM = RoomId("!r")
MESSAGES = "/_matrix/client/v3/rooms/!r/messages"


@pytest.fixture
async def walker(stub: Stub) -> AsyncIterator[History]:
    wire = Wire(stub.address)
    wire.token = "secret"
    yield History(wire)
    await wire.close()


def pages(stub: Stub, make: Callable[[str], dict[str, Any]]) -> list[dict[str, str]]:
    """The stub answers each page by its `from`; what it was asked is in the list."""
    asked: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(dict(request.query))
        return web.json_response(make(request.query["from"]))

    stub.answers[MESSAGES] = answer
    return asked


async def test_a_gap_comes_oldest_first(stub: Stub, walker: History) -> None:
    """Pages are read backwards from the timeline to the last token, and given in the room's order."""

    def page(token: str) -> dict[str, Any]:
        number = int(token[1:])
        events = [{"event_id": f"${number}b"}, {"event_id": f"${number}a"}]
        return {"chunk": events, **({"end": f"t{number - 1}"} if number > 1 else {})}

    asked = pages(stub, page)
    found = await walker.gap(ROOM, "t3", "since")
    assert found.whole
    assert [event["event_id"] for event in found.events] == ["$1a", "$1b", "$2a", "$2b", "$3a", "$3b"]
    assert all(query["to"] == "since" and query["dir"] == "b" and query["limit"] == "500" for query in asked)


async def test_circles_end(stub: Stub, walker: History) -> None:
    """A homeserver whose tokens come again is left at the second time, and the gap counts as lost."""
    asked = pages(stub, lambda token: {"chunk": [{"event_id": token}], "end": {"a": "b", "b": "c", "c": "a"}[token]})
    found = await walker.gap(ROOM, "a", "since")
    assert (len(found.events), found.whole) == (3, False)
    assert len(asked) == 3


async def test_endless_history_ends(stub: Stub, walker: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """A history without an end is left after so many pages, and the gap counts as lost."""
    monkeypatch.setattr(history, "MOST_PAGES", 20)
    asked = pages(stub, lambda token: {"chunk": [], "end": token + "x"})
    assert await walker.gap(ROOM, "a", "since") == Walked(whole=False)
    assert len(asked) == 20


async def test_malformed_pages(stub: Stub, walker: History) -> None:
    """What is no event is left out, and a token that is none ends the walk."""
    pages(stub, lambda _: {"chunk": [1, None, {"event_id": "$1"}, []], "end": 7})
    assert await walker.gap(ROOM, "a", "since") == Walked(({"event_id": "$1"},))


async def test_forbidden_history_is_done_without(stub: Stub, walker: History, caplog: pytest.LogCaptureFixture) -> None:
    """Where history may not be read the gap stays, and the log says so; other trouble is a matter of time."""
    stub.says(MESSAGES, 403, "M_FORBIDDEN")
    assert await walker.gap(ROOM, "a", "since") == Walked(whole=False)
    assert [one for one in caplog.messages if "can't be walked: room=!r" in one]
    stub.says(MESSAGES, 502)
    with pytest.raises(TryLater):
        await walker.gap(ROOM, "a", "since")


RELATIONS = "/_matrix/client/v1/rooms/!r/relations/$start/m.reference"


async def test_what_strangers_refer_to_a_broadcast_with_displaces_nothing(stub: Stub, walker: History) -> None:
    """Only the speaker's events are counted, and reading ends when there are enough of them."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.query.get("from", "0"))
        number = int(asked[-1])
        events = [{"event_id": f"${number}{who}", "sender": f"@{who}:hs"} for who in ("alice", *["mallory"] * 40)]
        return web.json_response({"chunk": events, "next_batch": str(number + 1)})

    stub.answers[RELATIONS] = answer
    found = await walker.relations(ROOM, EventId("$start"), sender=UserId("@alice:hs"), most=3)
    assert [event["event_id"] for event in found] == ["$0alice", "$1alice", "$2alice"]
    assert asked == ["0", "1", "2"]
