"""The mapping of the homeserver's answers to errors, pauses and JSON."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from bot.errors import GiveUp, NotOwner, TryLater
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
    """A number that Python refuses to parse costs only itself; as `retry_after_ms` it is the longest pause."""
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
    """A permanent refusal is given up with a reason and its errcode."""
    stub.says(THING, status, errcode)
    error = await trouble(wire)
    assert isinstance(error, Refused)
    assert (error.reason, error.status, error.errcode) == (reason, status, errcode)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 413])
@pytest.mark.parametrize("body", [b"<html>404 page not found</html>", b"", b"{}", b'{"error": "M_FORBIDDEN"}'])
async def test_a_refusal_that_is_not_the_homeservers_is_a_matter_of_time(
    stub: Stub, wire: Wire, status: int, body: bytes
) -> None:
    """An error page of a proxy is neither a refusal nor the end of the session."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, body=body, content_type="text/html")

    stub.answers[THING] = answer
    error = await trouble(wire)
    assert isinstance(error, NotMatrix)
    assert not isinstance(error, TokenRevoked)
    assert error.status == status


async def test_a_question_for_the_password_is_the_homeservers(stub: Stub, wire: Wire) -> None:
    """A request for user-interactive authentication, a 401 without an errcode, is a refusal."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"flows": [{"stages": ["m.login.password"]}], "session": "s"}, status=401)

    stub.answers[THING] = answer
    error = await trouble(wire)
    assert isinstance(error, Refused)
    assert error.body["session"] == "s"


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 302])
async def test_what_may_pass(stub: Stub, wire: Wire, status: int) -> None:
    """Server errors and redirects of the API are tried again later."""
    stub.says(THING, status, Location="http://elsewhere.example/")
    assert isinstance(await trouble(wire), TryLater)


async def test_rate_limits(stub: Stub, wire: Wire) -> None:
    """A 429 gives the pause of its body or header, ten minutes at most."""

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
    """A revoked token tells whether the device still exists."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"errcode": "M_UNKNOWN_TOKEN", "soft_logout": soft}, status=401)

    stub.answers[THING] = answer
    error = await trouble(wire)
    assert isinstance(error, TokenRevoked)
    assert error.soft is soft


@pytest.mark.parametrize("body", [b"<html>", b"", b"[1]", b"\xff", b"[" * 100_000])
async def test_answers_that_are_none(stub: Stub, wire: Wire, body: bytes) -> None:
    """An answer that is not a JSON object is tried again later."""
    stub.gives(THING, body)
    assert isinstance(await trouble(wire), TryLater)


async def test_hostile_errors_are_not_repeated(stub: Stub, wire: Wire) -> None:
    """Only a well-formed errcode of an error is repeated, nothing else of its text."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"errcode": "what\nsomebody said", "error": "words"}, status=400)

    stub.answers[THING] = answer
    error = await trouble(wire)
    assert "said" not in str(error)
    assert "words" not in str(error)


async def test_nobody_there() -> None:
    """An unreachable homeserver is tried again later; without a token there is no request."""
    wire = Wire("http://127.0.0.1:9")
    with pytest.raises(TryLater, match="not logged in"):
        await wire.call("GET", THING)
    wire.token = "secret"
    assert isinstance(await trouble(wire), TryLater)
    await wire.close()


def test_paths_are_quoted() -> None:
    """Any id stays one part of its path."""
    assert path("rooms", "!a/../b:c?d", "leave") == "/_matrix/client/v3/rooms/%21a%2F..%2Fb%3Ac%3Fd/leave"
    with pytest.raises(GiveUp):
        path("rooms", "..", "leave")


def test_backoff() -> None:
    """Pauses grow up to the longest, and last at least as long as asked for."""
    backoff = Backoff(1, 30)
    pauses = [backoff.next() for _ in range(20)]
    assert pauses[0] <= 1
    assert 15 <= pauses[-1] <= 30
    assert backoff.next(100) == 100


async def test_a_pause_ends_with_the_stop() -> None:
    """A stop ends a pause."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, stopping.set)
    async with asyncio.timeout(WAIT_S):
        await pause(3600, stopping)


async def test_a_process_that_no_longer_owns_the_session(stub: Stub) -> None:
    """No request of a process leaves it once another may have taken over the session."""
    owns = [True]
    wire = Wire(stub.address, lambda: owns[0])
    stub.gives("/_matrix/client/versions", b"{}")
    await wire.call("GET", "/_matrix/client/versions", auth=False)
    owns[0] = False
    with pytest.raises(NotOwner):
        await wire.call("GET", "/_matrix/client/versions", auth=False)
    assert len(stub.asked) == 1
    await wire.close()


async def test_requests_under_way_are_broken_off(stub: Stub) -> None:
    """A request that waits for its answer fails when the wire is cut."""
    asked, never = asyncio.Event(), asyncio.Event()

    async def wait(_: web.Request) -> web.Response:
        asked.set()
        await never.wait()
        return web.json_response({})

    stub.answers["/_matrix/client/versions"] = wait
    wire = Wire(stub.address)
    request = asyncio.create_task(wire.call("GET", "/_matrix/client/versions", auth=False))
    await asked.wait()
    await wire.cut()
    with pytest.raises(TryLater):
        await request
    never.set()
