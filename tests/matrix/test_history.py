"""Walking history on a homeserver that means no good."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from bot.errors import TryLater
from bot.matrix import history
from bot.matrix.history import History
from bot.matrix.wire import Wire
from storage.records import RoomId
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
    assert [event["event_id"] for event in found] == ["$1a", "$1b", "$2a", "$2b", "$3a", "$3b"]
    assert all(query["to"] == "since" and query["dir"] == "b" and query["limit"] == "500" for query in asked)


async def test_circles_end(stub: Stub, walker: History) -> None:
    """A homeserver whose tokens come again is left at the second time."""
    asked = pages(stub, lambda token: {"chunk": [{"event_id": token}], "end": {"a": "b", "b": "c", "c": "a"}[token]})
    assert len(await walker.gap(ROOM, "a", "since")) == 3
    assert len(asked) == 3


async def test_endless_history_ends(stub: Stub, walker: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """A history without an end is left after so many pages."""
    monkeypatch.setattr(history, "MOST_PAGES", 20)
    asked = pages(stub, lambda token: {"chunk": [], "end": token + "x"})
    assert await walker.gap(ROOM, "a", "since") == ()
    assert len(asked) == 20


async def test_malformed_pages(stub: Stub, walker: History) -> None:
    """What is no event is left out, and a token that is none ends the walk."""
    pages(stub, lambda _: {"chunk": [1, None, {"event_id": "$1"}, []], "end": 7})
    assert await walker.gap(ROOM, "a", "since") == ({"event_id": "$1"},)


async def test_forbidden_history_is_done_without(stub: Stub, walker: History, caplog: pytest.LogCaptureFixture) -> None:
    """Where history may not be read the gap stays, and the log says so; other trouble is a matter of time."""
    stub.says(MESSAGES, 403, "M_FORBIDDEN")
    assert await walker.gap(ROOM, "a", "since") == ()
    assert [one for one in caplog.messages if "can't be walked: room=!r" in one]
    stub.says(MESSAGES, 502)
    with pytest.raises(TryLater):
        await walker.gap(ROOM, "a", "since")
