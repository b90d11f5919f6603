"""Starting, stopping, the fixed paths, and what the log never holds."""

import asyncio
import logging
import re
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import ClientSession
from PIL import Image

from bot.errors import ConfigError
from bot.health import Problem, Report
from bot.web.clients import is_near
from bot.web.library import Library
from bot.web.server import WebServer
from storage.place import Place
from storage.records import Visibility
from storage.store import Store
from tests.connections import connected
from tests.web.world import ALICE, NOW, World, settings_with, world_of


async def test_health(world: World, client: ClientSession) -> None:
    """/healthz is 200 while the bot works, also without the homeserver, and 503 otherwise."""
    world.fresh = False
    async with client.get("/healthz") as answer:
        assert answer.status == 200
    world.healthy = False
    async with client.get("/healthz") as answer:
        assert answer.status == 503
    async with client.head("/healthz") as answer:
        assert answer.status == 503


async def test_health_tells_when_the_homeserver_was_last_heard(world: World, client: ClientSession) -> None:
    """The JSON of /healthz tells when the homeserver was last heard, and is no failure without it."""
    for heard_at, told in ((None, None), (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05+00:00")):
        world.heard_at = heard_at
        async with client.get("/healthz") as answer:
            assert answer.status == 200
            assert await answer.json() == {"status": "ok", "homeserver_last_heard": told, "problems": []}


async def test_health_tells_details_on_this_machine_alone(world: World, client: ClientSession) -> None:
    """A problem is told in words to whoever asks on the machine itself, and by name to those behind a proxy."""
    problem = Problem("disk", "1 MiB is free.", "Free some.", NOW)

    async def report() -> Report:
        return Report(works=True, heard_at=None, problems=(problem,))

    world.server._report = report
    since = NOW.isoformat()
    async with client.get("/healthz") as near:
        told = {"what": "disk", "since": since, "detail": "1 MiB is free.", "do": "Free some."}
        assert (await near.json())["problems"] == [told]
    for header in ("X-Forwarded-For", "Forwarded", "via"):
        async with client.get("/healthz", headers={header: "127.0.0.1"}) as far:
            assert (await far.json())["problems"] == [{"what": "disk", "since": since}]
    assert is_near("::1", {})
    assert not any(is_near(peer, {}) for peer in ("10.0.0.7", "192.0.2.1", ""))


async def test_robots_stay_out_of_personal_addresses(client: ClientSession) -> None:
    """robots.txt closes the personal addresses and those of studios."""
    async with client.get("/robots.txt") as answer:
        assert await answer.text() == "User-agent: *\nDisallow: /p/\nDisallow: /studio/\n"


async def test_front_door_says_what_this_is(client: ClientSession) -> None:
    """The root says how to get an address and lists no room."""
    async with client.get("/") as answer:
        assert answer.status == 200
        assert "!aircheck feed" in await answer.text()


async def test_missing_slash_is_put_there(world: World, client: ClientSession) -> None:
    """A room's address without its last slash redirects to the one with it, also for unknown rooms."""
    room = await world.room(visibility=Visibility.PUBLIC)
    async with client.get(f"/r/{room.key}") as answer:
        assert answer.status == 200
        assert str(answer.url).endswith(f"/r/{room.key}/")
    async with client.get("/r/unknown", allow_redirects=False) as answer:
        assert answer.headers["Location"] == "unknown/"


@pytest.mark.parametrize(
    "path",
    ["/x", "/r/", "/p/", "/p/short/feed.xml", "/r/%2e%2e%2f/feed.xml", "/static/../server.py",
     "/static/%2e%2e%2fserver.py", "/r/k/..%2f..%2faircheck.db", "/r/%00/", "/p/" + "a" * 5000 + "/"],
)  # fmt: skip
async def test_what_is_not_there_is_a_short_404(client: ClientSession, path: str) -> None:
    """An unknown address is a 404 with a short body and the usual headers."""
    async with client.get(path, allow_redirects=False) as answer:
        assert answer.status == 404
        assert len(await answer.read()) < 32
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Server"] == "Aircheck"


async def test_other_methods_are_refused(world: World, client: ClientSession) -> None:
    """Methods that would change something are refused."""
    room = await world.room(visibility=Visibility.PUBLIC)
    for method in ("POST", "PUT", "DELETE"):
        async with client.request(method, f"/r/{room.key}/feed.xml") as answer:
            assert answer.status == 405


async def test_strange_requests_are_answered(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Malformed requests get a short refusal and log no failure."""
    for line in ("OPTIONS * HTTP/1.1", "GET http://evil.example/r/x/ HTTP/1.1", "CONNECT evil.example:443 HTTP/1.1",
                 "GET //evil.example/%2f.. HTTP/1.1", "GET /r/%ff%00/feed.xml HTTP/1.1"):  # fmt: skip
        async with connected(world.server.port) as (reader, writer):
            writer.write(f"{line}\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            status = int((await reader.readline()).split()[1])
            assert status in (400, 404, 405), line
    assert "failed" not in caplog.text


REFUSED = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "a version to come": b"GET / HTTP/9.9\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a long line": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long header": b"GET / HTTP/1.1\r\nHost: x\r\nCookie: " + b"a" * 20_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\n" + b"".join(b"A%d: b\r\n" % number for number in range(40_000)) + b"\r\n",
    "a bad header": b"GET / HTTP/1.1\r\nA\x00B: c\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "a bad length": b"POST / HTTP/1.1\r\nContent-Length: -3\r\n\r\nabc",
    "a bad chunk": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    "a large body": b"POST / HTTP/1.0\r\nContent-Length: 9000000\r\n\r\n" + bytes(9_000_000),
    "an expectation": b"GET / HTTP/1.1\r\nHost: x\r\nExpect: the-unexpected\r\nConnection: close\r\n\r\n",
    "another method": b"BREW / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
async def test_no_answer_names_the_software_below(world: World, case: str) -> None:
    """Whatever is sent, the answer has our headers and a short body, and names neither Python nor aiohttp."""
    answer = b""
    async with connected(world.server.port) as (reader, writer), asyncio.timeout(60):
        writer.write(REFUSED[case])
        with suppress(ConnectionError):
            while piece := await reader.read(65_536):
                answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nServer: Aircheck\r\n" in head + b"\r\n"
    for header in (b"X-Content-Type-Options: nosniff", b"Referrer-Policy: no-referrer"):
        assert header in head
    assert not re.search(rb"(?i)python|aiohttp|traceback", answer)
    assert b" 200 OK" in head.splitlines()[0] or (b"no-store" in head and len(body) < 40)


async def test_web_players_may_ask_for_pieces(world: World, client: ClientSession) -> None:
    """A preflight for a range is allowed at public addresses and not at personal ones."""
    headers = {"Origin": "https://player.example", "Access-Control-Request-Method": "GET"}
    async with client.options("/r/any/abcdef.mp3", headers=headers) as answer:
        assert answer.status == 204
        assert "Range" in answer.headers["Access-Control-Allow-Headers"]
    async with client.options(f"/p/{'a' * 52}/abcdef.mp3", headers=headers) as answer:
        assert answer.status == 405


async def test_port_in_use_is_named(tmp_path: Path) -> None:
    """A port in use ends the start with one sentence that names the setting."""
    store = await Store.own(Place(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = WebServer(store, settings_with(web={"port": port}), lambda: True)
        with pytest.raises(ConfigError, match=rf"^web\.port {port} is in use by another program$"):
            await server.start()
    await server.stop()
    await store.close()


async def test_address_is_the_setting_or_where_it_listens(world: World, tmp_path: Path) -> None:
    """Addresses are built from web.public_url, else from where the server listens."""
    assert world.server.port > 0
    assert world.server.address == f"http://127.0.0.1:{world.server.port}"
    public = {"port": 0, "public_url": "https://pods.example/radio"}
    async with world_of(tmp_path / "other", web=public) as (other, client):
        room = await other.room(visibility=Visibility.PUBLIC)
        async with client.get(f"/r/{room.key}/feed.xml", headers={"Accept-Encoding": "identity"}) as answer:
            assert f"https://pods.example/radio/r/{room.key}/feed.xml".encode() in await answer.read()


async def test_stop_does_not_wait_for_listeners(tmp_path: Path) -> None:
    """Stopping ends within seconds though a listener holds a download open without reading it."""
    async with world_of(tmp_path / "data") as (world, _):
        room = await world.room(visibility=Visibility.PUBLIC)
        recording = await world.recording(room)
        await world.episode(recording, bytes(32 * 1024 * 1024))
        async with connected(world.server.port) as (reader, writer):
            writer.write(f"GET /r/{room.key}/{recording.code}.mp3 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
            async with asyncio.timeout(30):  # unless it is cut short, it waits for a minute
                await world.server.stop()


async def test_listener_who_hangs_up_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A download that the client breaks off is no error in the log, and others are served on."""
    async with world_of(tmp_path / "data") as (world, client):
        room = await world.room(visibility=Visibility.PUBLIC)
        recording = await world.recording(room)
        await world.episode(recording, bytes(32 * 1024 * 1024))
        address = f"/r/{room.key}/{recording.code}.mp3"
        async with connected(world.server.port) as (reader, writer):
            writer.write(f"GET {address} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await reader.readexactly(100_000)
        async with client.get(address) as answer:
            assert len(await answer.read()) == 32 * 1024 * 1024
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_log_never_holds_a_token(
    world: World, client: ClientSession, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No request, malformed request or failure writes a token or a message to the log."""
    caplog.set_level(logging.DEBUG)
    room = await world.room()
    await world.member(room, ALICE)
    token = await world.listener(room, ALICE)
    async with client.get(f"/p/{token}/feed.xml") as answer:
        assert answer.status == 200
    async with connected(world.server.port) as (reader, writer):
        writer.write(f"GE\x01T /p/{token}/feed.xml HTTP/1.1\r\n\r\n".encode())
        assert b" 400 " in await reader.readline()

    async def fail(*_: object) -> None:
        raise RuntimeError(f"a secret: {token}")

    monkeypatch.setattr(Library, "view", fail)
    async with client.get(f"/p/{token}/") as answer:
        assert answer.status == 500
        assert len(await answer.read()) < 32
    assert "request failed: RuntimeError" in caplog.text
    assert token not in caplog.text
    assert "secret" not in caplog.text


async def test_operators_picture_is_every_rooms_cover(tmp_path: Path) -> None:
    """feeds.image is served as a square JPEG, whatever its format and shape."""
    Image.new("RGBA", (900, 500), "red").save(tmp_path / "own.png")
    async with world_of(tmp_path / "data", feeds={"image": str(tmp_path / "own.png")}) as (world, client):
        room = await world.room(visibility=Visibility.PUBLIC)
        async with client.get(f"/r/{room.key}/") as answer:
            html = (await answer.read()).decode()
        name = "cover-" + html.split("/cover-")[1].split('"')[0]
        async with client.get(f"/r/{room.key}/{name}") as answer:
            assert (await answer.read()).startswith(b"\xff\xd8\xff")


async def test_picture_that_is_none_is_named(tmp_path: Path) -> None:
    """A feeds.image that is no picture ends the start with a sentence that names the setting."""
    (tmp_path / "own.png").write_text("no picture")
    store = await Store.own(Place(tmp_path / "data"))
    with pytest.raises(ConfigError, match=r"^feeds\.image .* it is no picture$"):
        await WebServer(store, settings_with(feeds={"image": str(tmp_path / "own.png")}), lambda: True).start()
    await store.close()
