"""JSON that is nested too deep: only its own event is lost."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from bot.errors import TryLater
from bot.intake.roomstate import state_of
from bot.matrix import nesting, sync
from bot.matrix.keys import Keys
from bot.matrix.wire import Wire
from storage.records import Position, RoomId, UserId
from tests.clock import Clock
from tests.matrix.stub import Stub

SYNC = "/_matrix/client/v3/sync"
ROOM = RoomId("!r")


@pytest.fixture
async def wire(stub: Stub) -> AsyncIterator[Wire]:
    made = Wire(stub.address)
    made.token = "secret"
    yield made
    await made.close()


def deep(levels: int) -> str:
    return '{"a":[' * (levels // 2) + '"\\\\\\"]}{["' + "]}" * (levels // 2)


@pytest.mark.parametrize("levels", [1_000, 10_000, 200_000])
async def test_a_deep_event_costs_the_sync_that_event_alone(stub: Stub, wire: Wire, levels: int) -> None:
    """The events before and after a deep one are read as they were sent."""
    before, after = ({"event_id": f"${name}", "content": {"body": '"}]\\'}} for name in ("before", "after"))
    events = f'[{json.dumps(before)},{{"event_id":"$deep","content":{deep(levels)}}},{json.dumps(after)}]'
    answer = f'{{"next_batch":"t","rooms":{{"join":{{"!r":{{"timeline":{{"events":{events}}}}}}}}}}}'
    stub.gives(SYNC, answer.encode())
    (room,) = sync.rooms(await wire.call("GET", SYNC), UserId("@bot:hs"))
    heard = await Keys(Clock()).hear_all(ROOM, room.timeline)
    assert [one.event for one in heard] == [before, after]


@pytest.mark.parametrize("levels", [200, 900])
def test_what_the_parser_takes_and_the_database_might_not_is_left_out_too(levels: int) -> None:
    """A deep event is left out of timeline and state."""
    content = json.loads(deep(levels))
    event: dict[str, Any] = {"type": "m.room.name", "state_key": "", "sender": "@a:hs", "event_id": "$1"}
    assert Keys(Clock()).hear(ROOM, {**event, "content": content}) is None
    assert state_of(ROOM, {**event, "content": content}, Position(1)) is None
    assert Keys(Clock()).hear(ROOM, {**event, "content": {"name": "N"}}) is not None


async def test_a_refusal_that_is_nested_deep_is_a_refusal(stub: Stub, wire: Wire) -> None:
    """A refusal with a deep body is judged by its status."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=502, text=deep(10_000))

    stub.answers[SYNC] = answer
    with pytest.raises(TryLater, match="502"):
        await wire.call("GET", SYNC)


@pytest.mark.parametrize("raw", [b'{"a":' * 500, b"[" * 500 + b"]" * 499, b'["' + b"[" * 500, b""])
def test_what_is_no_json_stays_none(raw: bytes) -> None:
    """Malformed JSON stays malformed, cut off in the middle or in a string."""
    with pytest.raises(ValueError):
        json.loads(nesting.flattened(raw))


def characters_looked_at(raw: bytes) -> int:
    """Count the characters that the search for tokens reads; a quote without a token is searched to the end in vain."""
    count = at = 0
    while at < len(raw):
        token = nesting._TOKEN.match(raw, at)
        end = token.end() if token else at + 1
        count += len(raw) - at if token is None and raw[at : at + 1] == b'"' else end - at
        at = end
    return count


def test_the_work_grows_with_the_length_alone() -> None:
    """Twice the levels cost twice the work."""
    short, long = (f"[{deep(levels)}]".encode() for levels in (20_000, 40_000))
    assert characters_looked_at(long) <= 2.5 * characters_looked_at(short)


@pytest.mark.parametrize("unit", [b'\\"', b'"\\', b"[", b'"', b'{"a":', b"\\", b"]"])
def test_the_work_on_what_never_ends_grows_with_its_length(unit: bytes) -> None:
    """Twice the input costs twice the work, also with strings and lists that never end."""
    short, long = (b"[" * 2000 + b'"' + unit * (length // len(unit)) for length in (50_000, 100_000))
    assert characters_looked_at(long) <= 2.5 * characters_looked_at(short)
    assert not nesting.flattened(long)
