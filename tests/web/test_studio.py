"""Requests below a studio's address: what is taken, what is refused, and what is told of it."""

import asyncio
import json
import logging
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from bot.studio import writing
from bot.web import bodies, studio_bounds
from bot.web.studio_bounds import Buckets
from storage import archive, studios
from storage.errors import DiskFullError, StoreBusyError
from storage.records import BlobKey, RecordingState, StudioSlice, StudioState, Visibility
from tests.web.studio import PAGE, Page, page_of, speaking_room
from tests.web.test_connections import Connection, connected, fewer, rest, status
from tests.web.world import ALICE, MOD, World, world_of

SOUND = bytes(range(256)) * 100


@pytest.fixture
async def page(world: World, client: ClientSession) -> Page:
    return await page_of(world, client)


@pytest.fixture
async def live(page: Page) -> Page:
    assert (await page.step("start"))[0] == 200
    return page


def scratch(world: World) -> list[str]:
    return [file.name for file in world.store.blobs.scratch.iterdir()]


async def test_a_broadcast_from_start_to_end(page: Page) -> None:
    """Steps and slices become events of the journal, in their order; the state tells what is there."""
    begun = await page.state()
    assert begun["state"] == "waiting"
    assert (begun["client"], begun["have"], begun["room"]) == (None, [], "Kitchen radio")
    assert begun["expires_at"] - begun["now"] == 24 * 3600 * 1000
    assert [(await page.step("start"))[0] for _ in range(2)] == [200, 200]
    assert [(await page.send(number))[0] for number in (1, 2, 2, 4)] == [201, 201, 200, 201]
    for step in ("pause", "pause", "resume"):
        assert (await page.step(step))[0] == 200
    assert (await page.send(5))[0] == 201
    status, state = await page.step("stop", last=5)
    assert (status, state["state"], state["last"], state["have"]) == (200, "over", 5, [[1, 2], [4, 5]])
    assert state["client"] == PAGE
    assert (await page.send(3))[0] == 201
    assert await page.send(6) == (410, {"problem": "over"})
    heard = [each.event_id.rpartition(".")[2] for each in await page.heard()]
    assert heard == ["started", "1", "2", "4", "change-1", "change-2", "5", "change-3", "3"]


async def test_a_slice_is_on_the_disk_when_it_is_acknowledged(world: World, live: Page) -> None:
    """Its bytes are a blob of their hash, and nothing is left of the upload."""
    assert await live.send(1, SOUND) == (201, {"number": 1})
    blob = sha256(SOUND).hexdigest()
    async with world.store.read() as db:
        piece = await studios.slice_of(db, live.studio.id, 1)
    assert piece is not None
    assert (piece.blob, piece.bytes, piece.duration_ms) == (blob, len(SOUND), 5000)
    assert await world.store.blobs.read(BlobKey(blob)) == SOUND
    assert scratch(world) == []


async def test_what_a_page_may_not_do(live: Page) -> None:
    """Another page, another sound under a number that is taken, and steps at the wrong time are refused by name."""
    other = live.as_other()
    assert await other.step("pause") == (409, {"problem": "elsewhere"})
    assert await other.step("start", title="Mine") == (409, {"problem": "elsewhere"})
    assert await other.send(1) == (409, {"problem": "elsewhere"})
    assert await live.send(1, b"one") == (201, {"number": 1})
    assert await live.send(1, b"other") == (409, {"problem": "other_bytes"})
    assert (await live.state())["title"] is None


async def test_nothing_is_taken_before_the_start(page: Page) -> None:
    """A slice or a pause of what has not begun is refused."""
    assert await page.send(1) == (409, {"problem": "waiting"})
    assert await page.step("pause") == (409, {"problem": "waiting"})


async def test_two_race_for_one_number(live: Page) -> None:
    """Two sounds under one number are sent at once: one is taken, and the other refused."""
    both = await asyncio.gather(live.send(1, SOUND), live.send(1, SOUND[1:]), live.send(2, SOUND), live.send(2, SOUND))
    assert sorted(answer[0] for answer in both[:2]) == [201, 409]
    assert sorted(answer[0] for answer in both[2:]) == [200, 201]
    assert (await live.state())["have"] == [[1, 2]]


async def test_two_race_to_start(page: Page) -> None:
    """Two pages start at once: one does."""
    answers = await asyncio.gather(page.step("start"), page.as_other().step("start"))
    assert sorted(answer[0] for answer in answers) == [200, 409]


# ---- who may


async def test_addresses_that_never_were(world: World, client: ClientSession) -> None:
    """An unknown token, another name below a studio's address, and other methods are refused."""
    page = await page_of(world, client)
    for path in ("/studio/", "/studio/abc/", f"/studio/{'a' * 52}/", f"/studio/{'a' * 52}/state", f"{page.root}x"):
        async with client.get(path) as answer:
            assert answer.status == 404
            if path.endswith("/state"):  # a proxy whose bot is away says no more than 404
                assert await answer.json() == {"problem": "unknown"}
    for method, name, allowed in (
        ("PUT", "", "GET, HEAD"),
        ("GET", "slice-1", "PUT"),
        ("PUT", "start", "POST"),
        ("POST", "cover", "PUT, DELETE"),
        ("OPTIONS", "state", "GET, HEAD"),
        ("DELETE", "state", "GET, HEAD"),
    ):
        async with client.request(method, page.root + name) as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, allowed)
            assert "Access-Control-Allow-Origin" not in answer.headers
    for name in ("slice-0", "slice-01", "slice-1000000", "slice--1", "slice-１", "slice-1/2"):
        assert (await page.ask("PUT", name, data=b"x"))[0] == 404
    for method in ("POST", "PUT", "DELETE"):
        async with client.request(method, "/") as answer:
            assert answer.status == 405


async def test_no_answer_is_kept_or_told_on(page: Page, client: ClientSession) -> None:
    """No cache keeps an answer, no other site learns its address, no other site's page reads it; a microphone is the
    page's alone."""
    for name in ("", "state", "slice-1"):
        async with client.get(page.root + name) as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert "noindex" in answer.headers["X-Robots-Tag"]
            assert "Access-Control-Allow-Origin" not in answer.headers
            assert "ETag" not in answer.headers
    async with client.get(page.root[:-1], allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (308, page.root.split("/")[2] + "/")


ENDS: dict[str, Callable[[World, Page], Awaitable[Any]]] = {
    "ban": lambda world, page: world.member(room_of(page), ALICE, "ban"),
    "power": lambda world, page: world.state(room_of(page), "m.room.power_levels", {"users": {MOD: 100}}),
    "record off": lambda world, page: world.change(room_of(page), recording_on=False),
    "studio off": lambda world, page: world.change(room_of(page), studio=False),
    "speakers": lambda world, page: world.change(room_of(page), speakers=(MOD,)),
    "the bot left": lambda world, page: world.change(room_of(page), joined=False),
}


def room_of(page: Page) -> Any:
    return _Room(page.studio.room_id)


class _Room:
    def __init__(self, room_id: str) -> None:
        self.room_id = room_id


@pytest.mark.parametrize("how", ENDS)
async def test_it_ends_with_the_right_to_it(world: World, live: Page, client: ClientSession, how: str) -> None:
    """With the right to broadcast the address ends, for everything: people read why."""
    assert (await live.send(1))[0] == 201
    await ENDS[how](world, live)
    for answer in (await live.send(2), await live.step("stop"), await live.ask("GET", "state")):
        assert answer == (410, {"problem": "over"})
    async with client.get(live.root, headers={"Accept": "text/html"}) as page:
        assert page.status == 410
        assert "!aircheck studio" in await page.text()
    async with client.get(live.root) as page:
        assert await page.json() == {"problem": "over"}


async def test_it_waits_until_the_rooms_were_read(world: World, live: Page) -> None:
    """Before the rooms' state was read, and in a room that was restored, nothing is taken, and may be later."""
    world.fresh = False
    for answer in (await live.send(1), await live.step("pause"), await live.ask("GET", "state")):
        assert answer == (503, {"problem": "later"})
    assert (await live.ask("GET", ""))[0] == 503
    world.fresh = True
    assert (await live.send(1))[0] == 201


async def test_it_ends_with_time(world: World, page: Page, client: ClientSession) -> None:
    """A studio that waits ends after a day, and a day after its stop late slices are taken no more."""
    late = await page_of(world, client)
    assert (await late.step("start"))[0] == 200
    world.clock.pass_by(24 * 3600)
    assert await page.step("start") == (410, {"problem": "over"})
    assert (await late.send(1))[0] == 201
    assert (await late.step("stop", last=3))[0] == 200
    world.clock.pass_by(24 * 3600 - 1)
    assert (await late.send(2))[0] == 201
    world.clock.pass_by(1)
    assert await late.send(3) == (410, {"problem": "over"})


async def test_an_upload_ends_with_the_right(world: World, live: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member who is removed from the room in the middle of an upload is told so, and nothing of it is kept."""
    monkeypatch.setattr(bodies, "CHECK_EACH_S", 0.01)
    async with connected(world.server.port, put(live, 1, Content_Length="1000") + "x" * 500) as upload:
        await begun(world)
        await world.member(room_of(live), ALICE, "ban")
        assert await status(upload) == 410
    assert scratch(world) == []
    assert (await live.now()).bytes == 0


async def begun(world: World) -> None:
    """Wait until an upload holds its place."""
    async with asyncio.timeout(20):
        while not world.server.uploads:  # noqa: ASYNC110  the server tells nobody
            await asyncio.sleep(0.005)


def put(page: Page, number: int, **headers: str) -> str:
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"PUT {page.root}slice-{number} HTTP/1.1\r\nHost: x\r\nX-Client: {page.name}\r\n{more}\r\n"


# ---- what is hostile


async def problem(connection: Connection) -> dict[str, Any]:
    """Return the JSON of an answer whose head was read."""
    async with asyncio.timeout(20):
        found: dict[str, Any] = json.loads((await connection[0].readuntil(b"}")).decode())
    return found


async def test_a_length_that_is_too_great(world: World, live: Page) -> None:
    """A body that announces more than the cap is refused before any of it has come."""
    async with connected(world.server.port, put(live, 1, Content_Length=str(writing.MOST_BYTES + 1))) as upload:
        assert await status(upload) == 413
        assert (await problem(upload))["problem"] == "too_large"


async def test_a_body_without_an_end(world: World, live: Page) -> None:
    """A body in chunks without end is refused at the cap, and nothing of it is left."""
    piece = f"{0x10000:x}\r\n{'x' * 0x10000}\r\n"
    async with connected(world.server.port, put(live, 1, Transfer_Encoding="chunked")) as upload:
        sending = asyncio.create_task(endless(upload, piece))
        try:
            assert await status(upload) == 413
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
    assert scratch(world) == []


async def endless(connection: Connection, piece: str) -> None:
    while True:
        connection[1].write(piece.encode())
        await connection[1].drain()


@pytest.mark.parametrize("reset", [False, True])
async def test_a_body_that_ends_early(world: World, live: Page, caplog: pytest.LogCaptureFixture, reset: bool) -> None:
    """An upload whose connection is closed or lost, as that of a tab that is closed, leaves no file and no connection,
    is no error, and can be made again."""
    async with connected(world.server.port, put(live, 1, Content_Length="1000") + "x" * 500) as upload:
        await begun(world)
        if not reset:
            upload[1].write_eof()
            assert await upload[0].read() == b""
    await settled(world)
    await fewer(world)
    assert scratch(world) == []
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert (await live.send(1))[0] == 201


def test_a_file_that_can_not_be_written_is_removed(tmp_path: Path) -> None:
    """An upload that a full disk does not take leaves no file, though closing it fails again."""
    spool = bodies.Spool(tmp_path / "upload")
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    spool.write(b"sound")
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, most[1]))
        with pytest.raises(OSError, match="File too large"):
            spool.write(b"", last=True)
        spool.discard()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    assert list(tmp_path.iterdir()) == []


async def settled(world: World) -> None:
    """Wait until no upload runs."""
    async with asyncio.timeout(20):
        while world.server.uploads:  # noqa: ASYNC110  the server tells nobody
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("body", "headers", "answer"),
    [
        (b"", {}, 400),
        (b"x", {"X-Client": "short"}, 400),
        (b"x", {"X-Client": "x" * 65}, 400),
        (b"x", {"X-Client": "page/number/one"}, 400),
        (b"x", {"X-Duration-Ms": "0"}, 400),
        (b"x", {"X-Duration-Ms": "-5"}, 400),
        (b"x", {"X-Duration-Ms": "1e3"}, 400),
        (b"x", {"X-Duration-Ms": "9" * 500}, 400),
        (b"x", {"Content-Encoding": "gzip"}, 415),
        (b"x", {"Expect": "miracles"}, 417),
        (b"x", {"Expect": "100-continue"}, 201),
    ],
)
async def test_odd_slices(live: Page, body: bytes, headers: dict[str, str], answer: int) -> None:
    """An empty slice, odd headers and packed bodies are refused with a name."""
    status, told = await live.send(1, body, **headers)
    assert status == answer
    assert told.get("problem") == (None if answer == 201 else "invalid")


async def test_who_asks_first_is_told_to_go_on(world: World, live: Page) -> None:
    """A client that expects 100 gets it before the body, and the answer after it; not where it is refused anyway."""
    async with connected(world.server.port, put(live, 1, Content_Length="5", Expect="100-continue")) as upload:
        assert await status(upload) == 100
        upload[1].write(b"sound")
        assert await status(upload) == 201
    other = put(live.as_other(), 2, Content_Length="5", Expect="100-continue")
    async with connected(world.server.port, other) as upload:
        assert await status(upload) == 409


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nothing",
        b"[]",
        b'"client"',
        b"[" * 60_000,
        b'{"a":' * 12_000,
        b'{"client": "page-number-one", "last": ' + b"9" * 5000 + b"}",
        b'{"client": "page-number-one", "last": 1e999}',
        b'{"client": "page-number-one", "last": NaN}',
        b'{"client": "page-number-one", "last": -1}',
        b'{"client": "page-number-one", "last": 2.5}',
        b'{"client": "page-number-one", "last": true}',
        b'{"client": "page-number-one", "last": [1]}',
        b'{"client": "page-number-one", "last": 1000000}',
        b'{"client": 1}',
        b'{"client": null}',
        b'{"client": "\\ud800aaaaaaaaaa"}',
        b'{"client": ["page-number-one"]}',
        b"\xff\xfe{\x00}\x00",
        b"\xed\xa0\x80",
    ],
)
async def test_odd_json(live: Page, body: bytes) -> None:
    """JSON that is no object of the right types is refused, and changes nothing."""
    status, told = await live.ask("POST", "stop", data=body)
    assert (status, told["problem"]) == (400, "invalid")
    assert (await live.now()).state is StudioState.LIVE


async def test_json_that_is_too_long(live: Page) -> None:
    """A large body is refused before it is read as JSON."""
    status, told = await live.ask("POST", "stop", data=b" " * 100_000)
    assert (status, told["problem"]) == (413, "too_large")


async def test_who_sends_nothing_is_closed(world: World, live: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload that stands still is ended, and its place is free again."""
    monkeypatch.setattr(bodies, "CHECK_EACH_S", 0.01)
    monkeypatch.setattr(bodies, "STUCK_S", 0.05)
    async with connected(world.server.port, put(live, 1, Content_Length="1000") + "x") as upload:
        assert await status(upload) == 408
    await settled(world)
    assert scratch(world) == []


async def test_who_only_drips_is_closed(world: World, live: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload that moves too slowly for too long is ended, however often a byte comes."""
    monkeypatch.setattr(bodies, "GRACE_S", 0.1)
    async with connected(world.server.port, put(live, 1, Content_Length="1000000")) as upload:
        dripping = asyncio.create_task(drip(upload))
        try:
            assert await status(upload) == 408
        finally:
            dripping.cancel()
            await asyncio.gather(dripping, return_exceptions=True)
        assert await rest(upload) < 1000


async def drip(connection: Connection) -> None:
    while True:
        connection[1].write(b"x")
        await asyncio.sleep(0.01)


async def test_who_sends_slowly_is_waited_for(world: World, live: Page) -> None:
    """An upload that goes on piece by piece is taken, and leaves the server free for others meanwhile."""
    async with connected(world.server.port, put(live, 1, Content_Length=str(len(SOUND)))) as upload:
        for start in range(0, len(SOUND), 5000):
            upload[1].write(SOUND[start : start + 5000])
            await upload[1].drain()
            assert (await live.state())["have"] == []
            if start == 0:
                await begun(world)
        assert await status(upload) == 201


# ---- bounds


async def test_a_studio_has_few_uploads_at_once(world: World, live: Page) -> None:
    """With all of its places taken a studio's next upload is put off, others' are not."""
    most = studio_bounds.MOST_OF_A_STUDIO
    async with uploads_begun(world, live, most):
        status, told = await live.send(99)
        assert (status, told["problem"]) == (429, "too_fast")
        async with world.store.read() as db:
            assert len(await studios.open_in(db)) == 1
    await settled(world)
    assert (await live.send(99))[0] == 201


@asynccontextmanager
async def uploads_begun(world: World, page: Page, count: int) -> AsyncIterator[None]:
    """Hold uploads open that have begun and don't end."""
    async with AsyncExitStack() as lines:
        for number in range(1, count + 1):
            await lines.enter_async_context(connected(world.server.port, put(page, number, Content_Length="9") + "x"))
        async with asyncio.timeout(20):
            while world.server.uploads < count:  # noqa: ASYNC110  the server tells nobody
                await asyncio.sleep(0.005)
        yield


async def test_slices_come_at_a_bounded_rate(world: World, live: Page) -> None:
    """After a rush a studio has to wait, for as long as it is told."""
    seconds = [0.0]
    world.uptime = lambda: seconds[0]
    answers = [await live.send(number) for number in range(1, 62)]
    assert [answer[0] for answer in answers] == [201] * 60 + [429]
    seconds[0] += 1
    assert (await live.send(61))[0] == 201


async def test_bytes_count_whatever_becomes_of_them(world: World, live: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uploads that break off cost what whole ones do, and are bounded alike."""
    left = Buckets(1, 5, lambda: 0.0)
    monkeypatch.setattr(world.server._bounds, "_bytes", left)
    async with connected(world.server.port, put(live, 1, Content_Length="9") + "x" * 8), asyncio.timeout(20):
        while left._left(live.studio.id) > 0:  # noqa: ASYNC110  the server tells nobody
            await asyncio.sleep(0.005)
    await settled(world)
    assert (await live.send(1))[0] == 429


async def test_a_broadcast_has_a_size(live: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than the longest broadcast can be is refused."""
    monkeypatch.setattr(writing, "MOST_BYTES_A_SECOND", 1)
    refused = (507, {"problem": "broadcast_full", "detail": "this broadcast is as large as one may be"})
    assert await live.send(1, bytes(21_601)) == refused
    assert (await live.send(1, bytes(21_600)))[0] == 201
    assert await live.send(2, b"x") == refused


async def test_a_room_or_a_disk_that_is_full(tmp_path: Path) -> None:
    """A room that has used up its space, and a disk that is nearly full, take nothing more, and say which it is."""
    room, disk = "the room has used up its space on this server", "the server's disk is full"
    for storage, named, detail in (
        ({"max_bytes_per_room": 4}, "room_full", room),
        ({"min_free_bytes": 1 << 60}, "disk_full", disk),
    ):
        async with world_of(tmp_path / named, storage=storage) as (world, client):
            page = await page_of(world, client)
            await page.step("start")
            assert await page.send(1, b"sound") == (507, {"problem": named, "detail": detail})
            assert scratch(world) == []


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (DiskFullError("full"), (507, {"problem": "disk_full", "detail": "the server's disk is full"})),
        (StoreBusyError("away"), (503, {"problem": "later"})),
    ],
)
async def test_a_store_that_is_away(
    live: Page, monkeypatch: pytest.MonkeyPatch, error: Exception, answer: tuple[int, dict[str, Any]]
) -> None:
    """While the store can't be used a slice is put off, and taken when it can."""

    async def fails(*_: object) -> None:
        raise error

    with monkeypatch.context() as away:
        away.setattr(studios, "save_slice", fails)
        assert await live.send(1) == answer
    assert (await live.send(1))[0] == 201


# ---- what is told


async def test_texts_before_it_begins(live: Page, world: World) -> None:
    """Texts are cleaned and kept for the recording; user ids are masked."""
    said = {"title": " Soup  for @bob:hs ", "description": "Stock first,\nthen \ud800bread."}
    status, state = await live.ask("POST", "texts", data=json.dumps(said))
    assert status == 200
    assert "@bob:hs" not in state["title"]
    assert state["title"].startswith("Soup for")
    assert state["description"] == "Stock first,\nthen bread."
    assert (await live.step("texts", title=None))[1]["title"] is None
    assert (await live.now()).description == "Stock first,\nthen bread."


async def test_texts_that_are_too_long(live: Page) -> None:
    """Texts have the lengths that the commands `title` and `describe` allow."""
    assert (await live.step("texts", title="x" * 200, description="y" * 4000))[0] == 200
    assert (await live.step("texts", title="x" * 201))[0] == 400
    assert (await live.step("texts", description="y" * 4001))[0] == 400
    assert (await live.step("texts", title=5))[0] == 400
    assert (await live.state())["title"] == "x" * 200


async def test_texts_of_what_is_recorded(live: Page, world: World) -> None:
    """While it is recorded they change the recording, as the commands do."""
    recording = await live.recorded(state=RecordingState.LIVE, title="Before")
    assert (await live.step("texts", title="Soup", description="Stock first."))[0] == 200
    told = await world.look(recording.code)
    assert (told.title, told.description) == ("Soup", "Stock first.")
    assert (await live.state())["code"] == recording.code


async def test_where_it_can_be_heard(world: World, client: ClientSession) -> None:
    """The page of the recording is told where it is public: a studio's address opens nothing that is private."""
    room = await speaking_room(world, visibility=Visibility.PUBLIC)
    page = await page_of(world, client, room)
    await page.step("start")
    assert (await page.state())["heard"] is None
    recording = await page.recorded(state=RecordingState.LIVE)
    told = await page.state()
    assert told["page"] == f"{world.server.address}/r/{room.key}/{recording.code}"
    assert told["heard"] == "public"
    for changes, heard in (
        ({}, "members"),
        ({"unreviewed": True}, "review"),
        ({"state": RecordingState.EMPTY}, None),
        ({"state": RecordingState.DELETED}, None),
    ):
        await world.save(replace(recording, public=False, **changes))
        told = await page.state()
        assert (told["page"], told["heard"]) == (None, heard)


async def test_who_listens(world: World, client: ClientSession) -> None:
    """A speaker is told how many players listen, each once."""
    room = await speaking_room(world, visibility=Visibility.PUBLIC)
    page = await page_of(world, client, room)
    await page.step("start")
    recording = await page.recorded(state=RecordingState.LIVE)
    assert (await page.state())["listeners"] == 0
    for agent in ("one", "two", "one"):
        async with client.get(f"/r/{room.key}/{recording.code}.m3u8", headers={"User-Agent": agent}) as answer:
            assert answer.status == 404  # not yet: nothing was said
    assert (await page.state())["listeners"] == 2
    world.clock.pass_by(30)
    assert (await page.state())["listeners"] == 0


async def test_a_cover(live: Page, world: World) -> None:
    """A picture becomes a square JPEG of the recording, and is gone again when it is taken back."""
    recording = await live.recorded(state=RecordingState.LIVE)
    picture = a_picture()
    status, state = await live.ask("PUT", "cover", data=picture)
    assert (status, state["cover"]) == (200, True)
    cover = (await live.now()).cover
    assert cover is not None
    assert cover == (await world.look(recording.code)).cover
    assert (await world.store.blobs.read(cover)).startswith(b"\xff\xd8\xff")
    assert (await live.ask("PUT", "cover", data=b"no picture"))[1]["problem"] == "invalid"
    assert (await live.now()).cover == cover
    status, state = await live.ask("DELETE", "cover")
    assert (status, state["cover"]) == (200, False)
    async with world.store.read() as db:
        recorded = await archive.recording(db, recording.id)
    assert recorded is not None
    assert recorded.cover is None
    assert scratch(world) == []


def a_picture() -> bytes:
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (1500, 1000), (200, 30, 30)).save(out, "PNG")
    return out.getvalue()


async def test_ranges_are_bounded(world: World, live: Page) -> None:
    """However odd the numbers are, the state is small."""
    async with world.store.write() as db:
        now = world.clock()
        for number in range(1, 41, 2):
            await studios.save_slice(db, StudioSlice(live.studio.id, number, BlobKey("ab" * 32), 1, now))
    async with world.store.read() as db:
        assert await studios.ranges_of(db, live.studio.id, 3) == [(1, 1), (3, 3), (5, 5)]


async def test_nothing_of_it_is_logged(live: Page, world: World, caplog: pytest.LogCaptureFixture) -> None:
    """No log line holds a token, a title or the name of a client."""
    for logger in ("bot", "storage", "aiohttp"):  # the database's driver tells all, and is capped (`bot.log`)
        caplog.set_level("DEBUG", logger)
    await live.step("texts", title="Something secret")
    await live.send(1)
    await live.as_other().send(2)
    await live.ask("POST", "stop", data=b"{")
    async with connected(world.server.port, f"PUT {live.root}slice-3 HTTP/1.1\r\nHost: x\r\nBad header\r\n\r\n") as odd:
        assert await status(odd) == 400
    said = "\n".join(record.getMessage() for record in caplog.records)
    for secret in (live.root.split("/")[2], "Something secret", PAGE):
        assert secret not in said
