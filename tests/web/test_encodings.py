"""Bodies in two encodings: which are packed, for whom, and under which entity tags."""

import gzip
from urllib.parse import quote

import pytest
from aiohttp import ClientResponse, ClientSession

from bot.audio.grid import SEGMENT_FRAMES
from bot.web.encodings import LARGE_BYTES, WORTH_BYTES
from bot.web.static_files import StaticFiles
from storage.records import DurationMs, Mark, Recording, RecordingState, Room, Visibility
from tests.web.on_the_air import Broadcast
from tests.web.reader import Reader
from tests.web.test_stems import a_call
from tests.web.world import ALICE, NOW, World

PACKED = {"Accept-Encoding": "gzip, deflate, br"}
STATIC = StaticFiles().names
REFUSED = {"Accept-Encoding": "gzip;q=0, *;q=0"}


@pytest.fixture
async def room(world: World) -> Room:
    return await world.room(visibility=Visibility.PUBLIC)


async def chaptered(world: World, room: Room, chapters: int) -> Recording:
    recording = await world.recording(room)
    marks = tuple(Mark(DurationMs(number * 1000), f"Speaker {number}") for number in range(chapters))
    await world.episode(recording, chapters=marks)
    return recording


async def both(client: ClientSession, address: str) -> tuple[ClientResponse, ClientResponse]:
    """Get a body packed and plain, of the same content."""
    async with client.get(address, headers=PACKED) as packed, client.get(address) as plain:
        assert packed.status == plain.status == 200
        assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
        assert "Content-Encoding" not in plain.headers
        assert packed.headers["Content-Encoding"] == "gzip"
        body = await packed.read()
        assert gzip.decompress(body) == await plain.read()
        assert int(packed.headers["Content-Length"]) == len(body) < int(plain.headers["Content-Length"])
    return packed, plain


@pytest.mark.parametrize(
    "name", ["", "{code}", "{code}.chapters.json", "feed.xml", "/", "/static/{css}", "/static/{hls_js}"]
)
async def test_texts_are_packed(world: World, client: ClientSession, room: Room, name: str) -> None:
    """Pages, feeds, JSON, scripts and style sheet are packed for clients that accept it, and for no others."""
    recording = await chaptered(world, room, 100)
    name = name.format(code=recording.code, **STATIC)
    address = name if name.startswith("/") else f"/r/{room.key}/{name}"
    packed, plain = await both(client, address)
    async with client.get(address, headers=REFUSED) as answer:
        assert "Content-Encoding" not in answer.headers
    if "ETag" in packed.headers:
        assert packed.headers["ETag"] != plain.headers["ETag"]
        for tag in (packed.headers["ETag"], plain.headers["ETag"]):
            for accepted in (PACKED, {}):
                async with client.get(address, headers={**accepted, "If-None-Match": tag}) as answer:
                    assert answer.status == 304
                    assert answer.headers["Vary"] == "Accept-Encoding"


async def test_small_and_large_bodies(world: World, client: ClientSession, room: Room) -> None:
    """A body that fits into a packet is not packed; a large one is, away from the event loop, to the same bytes."""
    few, many = [await chaptered(world, room, count) for count in (1, 1000)]
    async with client.get(f"/r/{room.key}/{few.code}.chapters.json", headers=PACKED) as answer:
        assert "Content-Encoding" not in answer.headers
        assert int(answer.headers["Content-Length"]) < WORTH_BYTES
    packed, plain = await both(client, f"/r/{room.key}/{many.code}.chapters.json")
    assert int(plain.headers["Content-Length"]) > LARGE_BYTES
    again, _ = await both(client, f"/r/{room.key}/{many.code}.chapters.json")
    assert again.headers["ETag"] == packed.headers["ETag"]


async def test_sound_and_pictures_are_not_packed(world: World, client: ClientSession, room: Room) -> None:
    """Sound, covers and fonts are sent as they are, so that ranges are of the file's own bytes."""
    recording = await world.recording(room)
    await world.episode(recording, bytes(100_000))
    async with client.get(f"/r/{room.key}/") as answer:
        html = await answer.text()
    cover = next(link for link in Reader(html).addresses if "cover-" in link).rpartition("/")[2]
    for address in (f"/r/{room.key}/{recording.code}.mp3", f"/r/{room.key}/{cover}", "/static/{font}", "/favicon.ico"):
        async with client.get(address.format(**STATIC), headers=PACKED) as answer:
            assert answer.status == 200
            assert "Content-Encoding" not in answer.headers
            assert "Vary" not in answer.headers


async def test_static_files_are_kept_for_ever(world: World, client: ClientSession) -> None:
    """A file of the pages has a name of its content, a strong tag and no end; the favicon may change in a day."""
    for address, kept in (("/static/{mark}", "max-age=31536000, immutable"), ("/favicon.ico", "max-age=86400")):
        async with client.get(address.format(**STATIC)) as answer:
            assert answer.headers["Cache-Control"] == f"public, {kept}"
            assert answer.content_type.startswith("image/")
            tag = answer.headers["ETag"]
        assert tag.startswith('"')
        async with client.get(address.format(**STATIC), headers={"If-None-Match": tag}) as answer:
            assert answer.status == 304


async def everything(world: World, room: Room) -> list[str]:
    """Make one of everything that the server has; return its addresses."""
    token = await world.listener(room, ALICE)
    await world.member(room, ALICE)
    recording = await chaptered(world, room, 2)
    live = await world.recording(room, state=RecordingState.LIVE, started_at=NOW)
    await Broadcast(world, live).speak(6 * SEGMENT_FRAMES)
    _, call = await a_call(world, room)
    world.clock.pass_by(30)
    names = ["", "feed.xml", "feed-1-1.xml", "now.json", recording.code, live.code, f"{recording.code}.mp3"]
    names += [f"{recording.code}.chapters.json", f"{live.code}.m3u8", f"{live.code}-0-0.mp3", "nothing"]
    names += [call.code, f"{call.code}.stem-1.ogg", f"{recording.code}.embed", f"{live.code}.embed"]
    page = quote(f"{world.server.address}/r/{room.key}/{recording.code}", safe="")
    fixed = ["/", "/healthz", "/robots.txt", "/favicon.ico", "/now.json", "/feed.xml", "/podcasts.opml", "/x"]
    fixed += [f"/oembed?url={page}", f"/oembed?format=xml&url={page}", "/oembed", f"/r/{room.key}"]
    fixed += [f"/static/{name}" for name in STATIC.values()]
    return [*(root + name for root in (f"/r/{room.key}/", f"/p/{token}/") for name in names), *fixed]


async def test_head_is_get_without_the_body(world: World, client: ClientSession, room: Room) -> None:
    """HEAD has the status and the headers of GET, packed and plain, for everything that the server has."""

    def headers(answer: ClientResponse) -> dict[str, str]:
        return {name: value for name, value in answer.headers.items() if name != "Date"}

    for address in await everything(world, room):
        for accepted in ({}, PACKED, {"Accept": "text/html"}):
            async with (
                client.get(address, headers=accepted, allow_redirects=False) as got,
                client.head(address, headers=accepted, allow_redirects=False) as head,
            ):
                assert head.status == got.status, address
                assert headers(head) == headers(got), address
                assert await head.read() == b""
                assert len(await got.read()) == int(got.headers["Content-Length"]), address


async def test_head_of_what_is_made_while_it_is_sent(world: World, client: ClientSession, room: Room) -> None:
    """HEAD of a stream or a zip has the headers of GET, and makes nothing."""
    live = await world.recording(room, state=RecordingState.LIVE, started_at=NOW)
    await Broadcast(world, live).speak(6 * SEGMENT_FRAMES)
    _, call = await a_call(world, room)
    world.clock.pass_by(30)
    for name in (f"{live.code}-live.mp3", "live.mp3", f"{call.code}.stems.zip"):
        async with client.get(f"/r/{room.key}/{name}") as got, client.head(f"/r/{room.key}/{name}") as head:
            assert (head.status, got.status) == (200, 200)
            hop = ("Date", "Transfer-Encoding")
            named = [{key: value for key, value in each.headers.items() if key not in hop} for each in (head, got)]
            assert named[0] == named[1], name
            got.close()


async def test_every_answer_has_the_same_protection(world: World, client: ClientSession, room: Room) -> None:
    """Everything says what it is, forbids guessing its type, and sends no referrer; CORS is for public things only."""
    for address in await everything(world, room):
        for accepted in ({}, {"Accept": "text/html"}):
            async with client.get(address, headers=accepted, allow_redirects=False) as answer:
                assert answer.headers["Server"] == "Aircheck"
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.headers["Referrer-Policy"] == "no-referrer"
                if answer.content_type == "text/html":
                    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
                if address.startswith("/p/"):
                    assert "Access-Control-Allow-Origin" not in answer.headers
                    assert "noindex" in answer.headers["X-Robots-Tag"]
                elif answer.status == 200 and address.startswith(("/r/", "/feed.xml", "/podcasts.opml", "/oembed")):
                    assert answer.headers["Access-Control-Allow-Origin"] == "*", address
