"""Reading history from a hostile homeserver."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from bot.errors import GiveUp, TryLater
from bot.matrix import history
from bot.matrix.history import History
from bot.matrix.wire import Refused, Wire
from storage.records import EventId, RoomId
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
    """Let the stub answer each page by its `from`; give the list of its requests."""
    asked: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(dict(request.query))
        return web.json_response(make(request.query["from"]))

    stub.answers[MESSAGES] = answer
    return asked


async def test_a_page_is_asked_for_from_the_timeline_to_the_last_token(stub: Stub, walker: History) -> None:
    """A page comes newest event first with the token of the next page, which is None at the end of the walk."""
    newest_first = [{"event_id": "$2"}, {"event_id": "$1"}]
    asked = pages(stub, lambda token: {"chunk": newest_first, "end": {"t3": "t2", "t2": "since"}[token]})
    assert await walker.page(ROOM, "t3", "since") == (tuple(newest_first), "t2")
    assert await walker.page(ROOM, "t2", "since") == (tuple(newest_first), None)
    assert all(query["to"] == "since" and query["dir"] == "b" and query["limit"] == "50" for query in asked)


async def test_messages_are_read_onwards_from_an_event(stub: Stub, walker: History) -> None:
    """The event comes with the token behind it; pages from there on are the oldest first, of the asked types alone."""
    context = {"event": {"event_id": "$1"}, "events_after": [{"event_id": "$2"}], "end": "t1"}
    stub.gives("/_matrix/client/v3/rooms/!r/context/$1", json.dumps(context).encode())
    assert await walker.around(ROOM, EventId("$1")) == (({"event_id": "$1"}, {"event_id": "$2"}), "t1")
    asked = pages(stub, lambda _: {"chunk": [{"event_id": "$3"}]})
    assert await walker.page(ROOM, "t1", None, onwards=True, types=("m.room.message",)) == (({"event_id": "$3"},), None)
    assert (asked[0]["dir"], asked[0]["filter"]) == ("f", '{"types": ["m.room.message"]}')


async def test_a_page_that_is_none_is_asked_for_again(stub: Stub, walker: History) -> None:
    """An answer of something in between ends no history."""
    pages(stub, lambda _: {"error": "try again"})
    with pytest.raises(TryLater):
        await walker.page(ROOM, "t1", None)


async def test_a_page_that_is_too_long_is_asked_for_in_parts(
    stub: Stub, walker: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page over the byte limit is requested again with fewer events; a single event over it is given up."""
    monkeypatch.setattr(history, "MAX_PAGE_BYTES", 4096)
    limits: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        limits.append(request.query["limit"])
        events = [{"event_id": f"${number}", "body": "x" * size} for number in range(int(limits[-1]))]
        return web.json_response({"chunk": events, "end": "t2"})

    stub.answers[MESSAGES] = answer
    size = 500
    events, _ = await walker.page(ROOM, "t3", None)
    assert (len(events), limits) == (5, ["50", "5"])
    size = 5000
    with pytest.raises(GiveUp, match="too long"):
        await walker.page(ROOM, "t3", None)


async def test_circles_end(stub: Stub, walker: History) -> None:
    """Reading ends when a token comes a second time."""
    asked = pages(stub, lambda token: {"chunk": [{"event_id": token}], "end": {"a": "b", "b": "c", "c": "a"}[token]})
    found = [events async for events, _ in walker.pages(ROOM, "a")]
    assert (len(found), len(asked)) == (3, 3)


async def test_endless_history_ends(stub: Stub, walker: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading ends after the maximum number of pages."""
    monkeypatch.setattr(history, "MOST_PAGES", 20)
    asked = pages(stub, lambda token: {"chunk": [], "end": token + "x"})
    assert len([page async for page in walker.pages(ROOM, "a")]) == 20
    assert len(asked) == 20


async def test_malformed_pages(stub: Stub, walker: History) -> None:
    """Entries that are not events are left out, and a malformed token ends the walk."""
    pages(stub, lambda _: {"chunk": [1, None, {"event_id": "$1"}, []], "end": 7})
    assert await walker.page(ROOM, "a", "since") == (({"event_id": "$1"},), None)


async def test_forbidden_history_is_told_from_trouble(stub: Stub, walker: History) -> None:
    """A 403 is a refusal; a 502 is tried again later."""
    stub.says(MESSAGES, 403, "M_FORBIDDEN")
    with pytest.raises(Refused):
        await walker.page(ROOM, "a", "since")
    stub.says(MESSAGES, 502)
    with pytest.raises(TryLater):
        await walker.page(ROOM, "a", "since")


RELATIONS = "/_matrix/client/v1/rooms/!r/relations/$start/m.reference"


async def test_what_refers_to_a_broadcast_comes_in_pages_without_a_number_that_ends_it(
    stub: Stub, walker: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten thousand relations of strangers are skipped; reading ends with the last page or after the time limit."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.query.get("from", "0"))
        number = int(asked[-1])
        events = [{"event_id": f"${number}-{one}", "sender": "@mallory:hs"} for one in range(100)]
        if number == 100:
            return web.json_response({"chunk": [{"event_id": "$alice", "sender": "@alice:hs"}]})
        return web.json_response({"chunk": events, "next_batch": str(number + 1)})

    stub.answers[RELATIONS] = answer
    found = [event async for page in walker.relations(ROOM, EventId("$start")) for event in page]
    assert (len(found), found[-1]["event_id"]) == (10_001, "$alice")
    monkeypatch.setattr(history, "RELATIONS_MAY_TAKE_S", 0.0)
    asked.clear()
    assert len([page async for page in walker.relations(ROOM, EventId("$start"))]) == 1
