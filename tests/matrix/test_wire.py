"""What an answer of the homeserver asks for."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from bot.errors import GiveUp, TryLater
from bot.matrix.wire import LONGEST_WISH_S, Backoff, NotMatrix, Refused, TokenRevoked, Wire, path, pause, wished_pause
from tests.matrix.running import WAIT_S
from tests.matrix.stub import Stub

THING = "/_matrix/client/v3/thing"


@pytest.fixture
async def wire(stub: Stub) -> AsyncIterator[Wire]:
    made = Wire(stub.address)
    made.token = "secret"
    yield made
    await made.close()


@pytest.mark.parametrize("digits", [90, 5000, 1_000_000])
async def test_a_number_without_end_costs_only_itself(stub: Stub, wire: Wire, digits: int) -> None:
    """What stands beside a number that Python does not read is read; as a wish for a pause it is the longest."""
    number = "9" * digits
    stub.gives(THING, f'{{"sequence": {number}, "less": -{number}, "beside": 1}}'.encode())
    found = await wire.call("GET", THING)
    assert found["beside"] == 1
    assert found["sequence"] >= 1 << 63
    assert found["less"] <= -(1 << 63)
    assert wished_pause({}, {"retry_after_ms": found["sequence"]}) == LONGEST_WISH_S
    assert wished_pause({}, {"retry_after_ms": 10**4000}) == LONGEST_WISH_S


async def trouble(wire: Wire) -> Exception:
    with pytest.raises((TryLater, GiveUp)) as caught:
        await wire.call("GET", THING)
    assert "secret" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("status", "errcode", "reason"),
    [
        (403, "M_FORBIDDEN", "forbidden"),
        (404, "M_NOT_FOUND", "not_found"),
        (413, "M_TOO_LARGE", "too_large"),
        (400, "M_UNKNOWN", "refused"),
    ],
)
async def test_refusals(stub: Stub, wire: Wire, status: int, errcode: str, reason: str) -> None:
    """What the homeserver refuses for good is given up with a reason and its errcode."""
    stub.says(THING, status, errcode)
    error = await trouble(wire)
    assert isinstance(error, Refused)
    assert (error.reason, error.status, error.errcode) == (reason, status, errcode)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 413])
@pytest.mark.parametrize("body", [b"<html>404 page not found</html>", b"", b"{}", b'{"error": "M_FORBIDDEN"}'])
async def test_a_refusal_that_is_not_the_homeservers_is_a_matter_of_time(
    stub: Stub, wire: Wire, status: int, body: bytes
) -> None:
    """A page of a proxy refuses nothing, and ends no session."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, body=body, content_type="text/html")

    stub.answers[THING] = answer
    error = await trouble(wire)
    assert isinstance(error, NotMatrix)
    assert not isinstance(error, TokenRevoked)
    assert error.status == status


async def test_a_question_for_the_password_is_the_homeservers(stub: Stub, wire: Wire) -> None:
    """User-interactive authentication answers 401 without an errcode."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"flows": [{"stages": ["m.login.password"]}], "session": "s"}, status=401)

    stub.answers[THING] = answer
    error = await trouble(wire)
    assert isinstance(error, Refused)
    assert error.body["session"] == "s"


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 302])
async def test_what_may_pass(stub: Stub, wire: Wire, status: int) -> None:
    """Trouble of the homeserver's own, and a redirect of its API, is a matter of time."""
    stub.says(THING, status, Location="http://elsewhere.example/")
    assert isinstance(await trouble(wire), TryLater)


async def test_rate_limits(stub: Stub, wire: Wire) -> None:
    """The pause that a 429 asks for is handed on, from the body or the header, and never longer than ten minutes."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 2500}, status=429)

    stub.answers[THING] = answer
    error = await trouble(wire)
    assert isinstance(error, TryLater)
    assert error.after_s == 2.5
    stub.says(THING, 429, **{"Retry-After": "1000000"})
    error = await trouble(wire)
    assert isinstance(error, TryLater)
    assert error.after_s == 600


@pytest.mark.parametrize("soft", [False, True])
async def test_revoked_tokens(stub: Stub, wire: Wire, soft: bool) -> None:
    """A token that has ended says whether the device lives on."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"errcode": "M_UNKNOWN_TOKEN", "soft_logout": soft}, status=401)

    stub.answers[THING] = answer
    error = await trouble(wire)
    assert isinstance(error, TokenRevoked)
    assert error.soft is soft


@pytest.mark.parametrize("body", [b"<html>", b"", b"[1]", b"\xff", b"[" * 100_000])
async def test_answers_that_are_none(stub: Stub, wire: Wire, body: bytes) -> None:
    """An answer that is not a JSON object is not believed."""
    stub.gives(THING, body)
    assert isinstance(await trouble(wire), TryLater)


async def test_hostile_errors_are_not_repeated(stub: Stub, wire: Wire) -> None:
    """Of an error only a well-formed errcode is repeated, nothing else of its text."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"errcode": "what\nsomebody said", "error": "words"}, status=400)

    stub.answers[THING] = answer
    error = await trouble(wire)
    assert "said" not in str(error)
    assert "words" not in str(error)


async def test_nobody_there() -> None:
    """A homeserver that can't be reached is a matter of time; without a token nothing is asked."""
    wire = Wire("http://127.0.0.1:9")
    with pytest.raises(TryLater, match="not logged in"):
        await wire.call("GET", THING)
    wire.token = "secret"
    assert isinstance(await trouble(wire), TryLater)
    await wire.close()


def test_paths_are_quoted() -> None:
    """Whatever stands in an id stays one part of the path."""
    assert path("rooms", "!a/../b:c?d", "leave") == "/_matrix/client/v3/rooms/%21a%2F..%2Fb%3Ac%3Fd/leave"
    with pytest.raises(GiveUp):
        path("rooms", "..", "leave")


def test_backoff() -> None:
    """Pauses grow to the longest and no further, honour a wish, and begin anew after a success."""
    backoff = Backoff(1, 30)
    pauses = [backoff.next() for _ in range(20)]
    assert pauses[0] <= 1
    assert 15 <= pauses[-1] <= 30
    assert backoff.next(100) == 100
    backoff.reset()
    assert backoff.next() <= 1


async def test_a_pause_ends_with_the_stop() -> None:
    """A stop cuts a pause short."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, stopping.set)
    async with asyncio.timeout(WAIT_S):
        await pause(3600, stopping)
