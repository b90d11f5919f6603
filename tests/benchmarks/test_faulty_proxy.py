"""The proxy of a soak forwards everything, or fails as it is told."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from benchmarks.soaking.faults import Fault
from benchmarks.soaking.faulty_proxy import LOST_AT_MOST, MEDIA, RETRY_AFTER_MS, FaultyProxy

MEDIUM = bytes(range(256)) * 400


class Upstream:
    """A homeserver that serves one medium and echoes every other request."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.raw_path}")
        if request.raw_path.startswith(MEDIA):
            return web.Response(body=MEDIUM, content_type="audio/ogg")
        return web.Response(status=201, body=await request.read(), headers={"X-Token": request.headers.get("X", "")})


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
async def line(upstream: Upstream) -> AsyncIterator[FaultyProxy]:
    runner = web.ServerRunner(web.Server(upstream.answer), shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made = FaultyProxy(f"http://127.0.0.1:{runner.addresses[0][1]}")
    await made.start()
    yield made
    await made.stop()
    await runner.cleanup()


@pytest.fixture
async def http(line: FaultyProxy) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(line.address) as session:
        yield session


async def test_a_good_line_changes_nothing(line: FaultyProxy, http: aiohttp.ClientSession, upstream: Upstream) -> None:
    """Without a fault method, quoted path, query, headers, body and answer pass unchanged."""
    async with http.put("/a%2Fb?c=%20d", data=b"words", headers={"X": "y"}) as answer:
        assert (answer.status, await answer.read(), answer.headers["X-Token"]) == (201, b"words", "y")
    async with http.get(f"{MEDIA[0]}hs/1") as answer:
        assert (await answer.read(), answer.content_type) == (MEDIUM, "audio/ogg")
    assert upstream.asked[0] == "PUT /a%2Fb?c=%20d"
    assert not line.met


async def test_refusals_never_reach_the_homeserver(
    line: FaultyProxy, http: aiohttp.ClientSession, upstream: Upstream
) -> None:
    """429 names its pause; 502 and 503 alternate, with a page that is not JSON."""
    line.fault = Fault.LIMITED
    async with http.get("/") as answer:
        assert (answer.status, (await answer.json())["retry_after_ms"]) == (429, RETRY_AFTER_MS)
    line.fault = Fault.BROKEN
    statuses = []
    for _ in range(3):
        async with http.get("/") as answer:
            statuses.append((answer.status, answer.content_type))
    assert statuses == [(502, "text/html"), (503, "text/html"), (502, "text/html")]
    assert upstream.asked == []
    assert line.met == {Fault.LIMITED: 1, Fault.BROKEN: 3}


async def test_a_download_breaks_off_in_the_middle(line: FaultyProxy, http: aiohttp.ClientSession) -> None:
    """A cut download promises its whole length and sends half of it."""
    line.fault = Fault.CUT
    async with http.get(f"{MEDIA[0]}hs/1") as answer:
        assert (answer.status, answer.content_length) == (200, len(MEDIUM))
        assert await answer.content.readexactly(len(MEDIUM) // 2) == MEDIUM[: len(MEDIUM) // 2]
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.content.readany()


async def test_what_is_cut_was_done(line: FaultyProxy, http: aiohttp.ClientSession, upstream: Upstream) -> None:
    """Another request that is cut is carried out, and its answer is lost."""
    line.fault = Fault.CUT
    with pytest.raises(aiohttp.ClientError):
        await http.put("/send", data=b"words")
    assert upstream.asked[0] == "PUT /send"


async def test_media_are_lost_once(line: FaultyProxy, http: aiohttp.ClientSession, upstream: Upstream) -> None:
    """A few media are not found at their first request and found at the second."""
    line.fault = Fault.LOST
    asked = [*range(LOST_AT_MOST), *range(LOST_AT_MOST + 1)]
    statuses = []
    for number in asked:
        async with http.get(f"{MEDIA[0]}hs/{number}") as answer:
            statuses.append(answer.status)
    assert statuses == [404] * LOST_AT_MOST + [200] * (LOST_AT_MOST + 1)
    async with http.get("/other") as answer:
        assert answer.status == 201


async def test_who_asks_while_it_hangs_is_never_answered(
    line: FaultyProxy, http: aiohttp.ClientSession, upstream: Upstream
) -> None:
    """A request during a hang is never answered; later requests pass."""
    line.fault = Fault.HANGING
    hanging = asyncio.ensure_future(http.get("/hangs"))
    async with asyncio.timeout(30):
        while not line.met[Fault.HANGING]:  # noqa: ASYNC110  the proxy tells nobody
            await asyncio.sleep(0.01)
    line.fault = None
    async with http.get("/") as answer:
        assert answer.status == 201
    assert not hanging.done()
    assert upstream.asked == ["GET /"]
    hanging.cancel()


async def test_a_homeserver_that_is_away_is_a_bad_gateway() -> None:
    """Without a homeserver behind the proxy it answers 502."""
    away = FaultyProxy("http://127.0.0.1:9")
    await away.start()
    async with aiohttp.ClientSession(away.address) as http, http.get("/") as answer:
        assert answer.status == 502
    await away.stop()
