"""How many connections are admitted, and how long one may idle."""

import asyncio
import socket
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bot.audio.grid import SEGMENT_FRAMES
from bot.web import capacity, connections, files, sockets, stem_downloads
from bot.web.clients import Clients
from bot.web.static_files import StaticFiles
from storage import rooms
from storage.records import ChunkState, Recording, RecordingState, Visibility
from tests.web.on_the_air import Broadcast
from tests.web.test_stems import a_call
from tests.web.world import ALICE, NOW, World, world_of

WITHIN_S = 20
BYTES = 48 * 1024 * 1024  # more than the kernel holds for both ends

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check often, with short time-outs."""
    monkeypatch.setattr(connections, "CHECK_EACH_S", 0.02)
    monkeypatch.setattr(connections, "FIRST_REQUEST_S", 0.2)
    monkeypatch.setattr(files, "CHECK_EACH_S", 0.02)


@asynccontextmanager
async def connected(port: int, said: str = "") -> AsyncIterator[Connection]:
    """Open a connection with a small receive buffer and send something on it."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    line.setblocking(False)
    await asyncio.get_running_loop().sock_connect(line, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=line, limit=4096)
    try:
        writer.write(said.encode())
        yield reader, writer
    finally:
        writer.transport.abort()


def get(path: str, **headers: str) -> str:
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n"


async def status(connection: Connection) -> int:
    async with asyncio.timeout(WITHIN_S):
        return int((await connection[0].readuntil(b"\r\n\r\n")).split()[1])


async def rest(connection: Connection) -> int:
    """Count the bytes that come until the connection ends."""
    count = 0
    try:
        async with asyncio.timeout(WITHIN_S):
            while piece := await connection[0].read(65_536):
                count += len(piece)
    except ConnectionError:
        pass
    return count


async def fewer(world: World, most: int = 0, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Wait until the server has at most so many connections."""
    async with asyncio.timeout(WITHIN_S):
        while world.server.connections > most:  # the server tells nobody
            meanwhile()
            await asyncio.sleep(0.01)


async def long_one(world: World, visibility: Visibility = Visibility.PUBLIC) -> tuple[str, Recording]:
    """Make a recording with a large file; return its room's address and the recording."""
    room = await world.room(visibility=visibility)
    recording = await world.recording(room)
    await world.episode(recording, bytes(BYTES))
    if visibility is Visibility.PUBLIC:
        return f"/r/{room.key}/", recording
    await world.member(room, ALICE)
    return f"/p/{await world.listener(room, ALICE)}/", recording


async def test_idle_connections_take_no_file_of_the_recorder(tmp_path: Path) -> None:
    """With more idle connections than descriptors the recorder opens its files and requests are answered."""
    limit = 256
    command = [sys.executable, "-m", "tests.web.limited_process", str(tmp_path / "data"), str(limit)]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    async with AsyncExitStack() as stack, asyncio.timeout(60):
        port = int(await process.stdout.readline())

        async def crowd() -> None:
            for _ in range(15):
                await stack.enter_async_context(connected(port))

        crowds = asyncio.gather(*(crowd() for _ in range(20)))
        more = True
        while more:
            more = not crowds.done()
            process.stdin.write(b"open\n")
            assert int(await process.stdout.readline()) == 50
            assert await status(await stack.enter_async_context(connected(port, get("/healthz")))) == 200
        process.stdin.close()
        assert await process.wait() == 0
        said = (await process.stderr.read()).decode()
    assert said.count("web connections: ") == 1, said
    assert "idle, closed for a new one" in said


async def test_who_says_nothing_is_closed(impatient: None, world: World) -> None:
    """A connection without a request, or with one that does not end, is closed, also after an answer."""
    async with (
        connected(world.server.port) as silent,
        connected(world.server.port, "GET /healthz HTTP/1.1\r\nX-Slow: ") as slow,
        connected(world.server.port, get("/healthz")) as again,
    ):
        assert await status(again) == 200
        await again[0].readuntil(b"}")
        again[1].write(b"GET /healthz HTTP/1.1\r\n")
        dripping = asyncio.create_task(drip(slow))
        assert (await rest(silent), await rest(slow), await rest(again)) == (0, 0, 0)
        dripping.cancel()


async def drip(connection: Connection) -> None:
    while True:
        connection[1].write(b"x")
        await asyncio.sleep(0.01)


async def test_a_connection_is_kept_between_requests(impatient: None, world: World) -> None:
    """A client may wait longer between two requests than before the first."""
    async with connected(world.server.port, get("/healthz")) as kept:
        assert await status(kept) == 200
        async with connected(world.server.port) as silent:
            assert await rest(silent) == 0  # so long
        await kept[0].readuntil(b"}")
        kept[1].write(get("/healthz").encode())
        assert await status(kept) == 200


class Ticking:
    """The clock of the connections: each look at them puts it forward."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch, *, by: float = 1) -> None:
        self.seconds, self.looks, self._look = 0.0, 0, connections.ClientConnection.is_over
        self._by = by
        world.uptime = lambda: self.seconds
        monkeypatch.setattr(connections, "CHECK_EACH_S", 0.002)
        monkeypatch.setattr(connections.ClientConnection, "is_over", lambda *of: self._is_over(*of))

    def _is_over(self, connection: connections.ClientConnection, now: float) -> bool:
        self.seconds += self._by
        self.looks += 1
        return self._look(connection, now)

    async def passes(self, seconds: float) -> None:
        """Let time pass, and the connections be looked at after it."""
        self.seconds += seconds
        seen = self.looks
        async with asyncio.timeout(WITHIN_S):
            while self.looks < seen + 2:  # noqa: ASYNC110  the server tells nobody
                await asyncio.sleep(0.001)


async def all_stems(world: World) -> str:
    room, recording = await a_call(world)
    return get(f"/r/{room.key}/{recording.code}.stems.zip")


async def a_long_broadcast(world: World, name: str) -> str:
    room = await world.room(visibility=Visibility.PUBLIC)
    live = Broadcast(world, await world.recording(room, state=RecordingState.LIVE, started_at=NOW))
    await live.speak(400 * SEGMENT_FRAMES)
    world.clock.pass_by(30)
    return get(f"/r/{room.key}/{name.format(code=live.recording.code)}")


async def an_episode(world: World, name: str) -> str:
    root, recording = await long_one(world)
    return get(f"{root}{name.format(code=recording.code)}")


MANY = 2000
SENT: dict[str, Callable[[World], Awaitable[str]]] = {
    "a download": lambda world: an_episode(world, "{code}.mp3"),
    "all stems": all_stems,
    "the endless stream": lambda world: a_long_broadcast(world, "{code}-live.mp3"),
    "segments": lambda world: repeated(a_long_broadcast(world, "{code}-0-0.mp3")),
    "feeds": lambda world: repeated(an_episode(world, "feed.xml")),
    "static files": lambda world: repeated(static_file()),
}


async def repeated(request: Awaitable[str]) -> str:
    return await request * MANY


async def static_file() -> str:
    return get(f"/static/{StaticFiles().names['hls_js']}")


@pytest.mark.parametrize("what", SENT)
async def test_who_takes_nothing_is_closed(world: World, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """A client that reads nothing is disconnected within a minute, whatever is sent to it."""
    monkeypatch.setattr(stem_downloads, "zip_blocks", lambda *_: repeat(bytes(1 << 18)))
    asked, over = await SENT[what](world), asyncio.Event()
    clock, end = Ticking(world, monkeypatch), connections.Connections.end

    def ended(*of: Any) -> None:
        end(*of)
        over.set()

    monkeypatch.setattr(connections.Connections, "end", ended)
    async with connected(world.server.port, asked) as stuck:
        assert await status(stuck) == 200
        await fewer(world, meanwhile=lambda: world.clock.pass_by(6))
        assert clock.seconds >= sockets.STUCK_S
        assert await rest(stuck) < BYTES
    async with asyncio.timeout(WITHIN_S):
        await over.wait()  # the stream looks at its client once a second
    assert world.server.streams == 0


async def test_who_reads_slowly_gets_all(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that takes a little now and then keeps its download for as long as it takes."""
    root, recording = await long_one(world)
    clock = Ticking(world, monkeypatch, by=0)
    async with connected(world.server.port, get(f"{root}{recording.code}.mp3", Range="bytes=0-9999999")) as slow:
        assert await status(slow) == 206
        for _ in range(20):
            await slow[0].readexactly(200_000)
            await clock.passes(0.9 * sockets.STUCK_S)
        await slow[0].readexactly(9_999_999 + 1 - 20 * 200_000)


@pytest.mark.parametrize("how", ["ban", "unpublish", "redaction", "deletion", "private"])
async def test_a_download_ends_with_the_right_to_it(impatient: None, world: World, how: str) -> None:
    """A running download ends when its listener loses access."""
    root, recording = await long_one(world, Visibility.PRIVATE if how == "ban" else Visibility.PUBLIC)
    async with connected(world.server.port, get(f"{root}{recording.code}.mp3")) as running:
        assert await status(running) == 200
        await running[0].readexactly(1_000_000)
        async with world.store.read() as db:
            room = await rooms.room(db, recording.room_id)
        assert room is not None
        match how:
            case "ban":
                await world.member(room, ALICE, "ban")
            case "private":
                await world.change(room, visibility=Visibility.PRIVATE)
            case "unpublish":
                await world.save(replace(recording, public=False))
            case "deletion":
                await world.save(replace(recording, state=RecordingState.DELETED))
            case "redaction":
                await world.chunk(recording, 1, ChunkState.REDACTED)
                await world.episode(recording, b"without it")
        await fewer(world)
        assert await rest(running) < BYTES - 1_000_000


async def test_a_download_outlives_its_file(impatient: None, world: World) -> None:
    """A running download goes on to its end while its episode heals."""
    root, recording = await long_one(world)
    async with connected(world.server.port, get(f"{root}{recording.code}.mp3")) as running:
        assert await status(running) == 200
        await world.episode(recording, b"healed")
        await running[0].readexactly(BYTES - 1)
        assert await running[0].readexactly(1) == b"\0"


async def test_a_full_house_makes_room_for_who_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Idle connections give way, the longest first; downloads have a share; one log line a minute."""
    monkeypatch.setattr(capacity, "connections", lambda _: 4)
    async with world_of(tmp_path / "data") as (world, _), AsyncExitStack() as stack:

        async def come(said: str = "") -> Connection:
            return await stack.enter_async_context(connected(world.server.port, said))

        root, recording = await long_one(world)
        idle = [await come() for _ in range(4)]
        download = get(f"{root}{recording.code}.mp3")
        assert await status(await come(get("/healthz"))) == 200
        assert await rest(idle[0]) == 0
        for _ in range(3):
            assert await status(await come(download)) == 200
        assert await status(await come(download)) == 503  # a share is for short requests
        assert await status(await come(get("/healthz"))) == 200
        assert world.server.connections == 4
        told = [record for record in caplog.records if record.name == connections.log.name]
        assert len(told) == 1
        assert "127.0.0.1" not in told[0].getMessage()


async def test_a_house_of_busy_ones_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all places taken by downloads a new connection is closed without an answer until one ends."""
    monkeypatch.setattr(capacity, "connections", lambda _: 2)
    monkeypatch.setattr(connections, "TRANSFERS", 1)
    async with world_of(tmp_path / "data") as (world, client):
        root, recording = await long_one(world)
        download = get(f"{root}{recording.code}.mp3")
        async with connected(world.server.port, download) as one:
            assert await status(one) == 200
            async with connected(world.server.port, download) as two:
                assert await status(two) == 200
                async with connected(world.server.port, get("/healthz")) as three:
                    assert await rest(three) == 0
            await fewer(world, 1)
            async with client.get("/healthz") as answer:
                assert answer.status == 200


async def test_each_who_asks_a_trusted_proxy_has_a_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests through a trusted proxy are counted by its header; one client too many gets 429."""
    monkeypatch.setattr(connections, "MOST_OF_A_CLIENT", 2)
    web = {"port": 0, "trusted_proxies": ["127.0.0.0/8"]}
    async with world_of(tmp_path / "data", web=web) as (world, client), AsyncExitStack() as stack:
        root, recording = await long_one(world)

        async def ask(address: str) -> int:
            said = get(f"{root}{recording.code}.mp3", X_Forwarded_For=f"1.2.3.4, {address}")
            return await status(await stack.enter_async_context(connected(world.server.port, said)))

        assert [await ask("8.8.8.8") for _ in range(3)] == [200, 200, 429]
        assert await ask("9.9.9.9") == 200
        async with client.get("/healthz") as answer:
            assert answer.status == 200


async def test_a_proxy_that_nobody_named_is_not_one_listener(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the setting the header is ignored, and connections of this machine are not counted by address."""
    monkeypatch.setattr(connections, "MOST_OF_A_CLIENT", 2)
    async with AsyncExitStack() as stack:
        for _ in range(5):
            said = get("/healthz", X_Forwarded_For="8.8.8.8")
            assert await status(await stack.enter_async_context(connected(world.server.port, said))) == 200


class Peer(asyncio.Transport):
    """A transport from any address."""

    def __init__(self, address: str) -> None:
        super().__init__({"peername": (address, 1234)})
        self.gone = False

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self.gone = True

    def abort(self) -> None:
        self.gone = True


async def test_one_address_has_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client above its number takes the place of its own idle connections, never of another's."""
    monkeypatch.setattr(connections, "MOST_OF_A_CLIENT", 2)
    admitted = connections.Connections(Clients(), lambda: 0.0)
    server = admitted.server(answer)

    def come(address: str) -> tuple[connections.ClientConnection, Peer]:
        line, peer = server(), Peer(address)
        assert isinstance(line, connections.ClientConnection)
        line.connection_made(peer)
        return line, peer

    other = come("9.9.9.9")
    first, second = come("8.8.8.8"), come("8.8.8.8")
    third = come("8.8.8.8")
    assert [one[1].gone for one in (other, first, second, third)] == [False, True, False, False]
    for line, _ in (second, third):
        line.busy = True
    assert come("8.8.8.8")[1].gone
    assert not other[1].gone
    for line, _ in (other, second, third):
        line.connection_lost(None)
    assert len(admitted) == 0
    assert not come("8.8.8.8")[1].gone


async def answer(_: web.BaseRequest) -> web.StreamResponse:
    return web.Response()


def test_the_recorder_keeps_its_share_of_the_files() -> None:
    """Whatever the limit is, the web never gets all descriptors."""
    for limit in (64, 256, 1024, 4096, 1 << 20):
        assert capacity.connections(limit) + 4 * capacity.backlog(limit) <= limit - min(256, limit // 2)
    assert capacity.connections(1024) > 500
