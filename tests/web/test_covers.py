"""The pictures of rooms, and of recordings."""

from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from typing import Any

from aiohttp import ClientSession
from lxml import etree
from PIL import Image

from storage import rooms
from storage.records import BlobKey, Recording, RecordingState, Room
from tests.web.reader import page
from tests.web.world import BOB, NOW, World

NAMESPACES = {
    "itunes": "http://www.itunes.com/dtds/podcast-1.0.dtd",
    "podcast": "https://podcastindex.org/namespace/1.0",
}


async def test_cover_is_what_apple_takes(world: World, client: ClientSession, room: Room) -> None:
    """The cover is a square RGB JPEG of 3000 pixels below 512 kB that may be cached for ever."""
    html = (await page(client, f"/r/{room.key}/")).addresses
    name = next(address for address in html if address.startswith("cover-")).replace("-400", "")
    async with client.get(f"/r/{room.key}/{name}") as answer:
        body = await answer.read()
        assert answer.content_type == "image/jpeg"
        assert "immutable" in answer.headers["Cache-Control"]
    with Image.open(BytesIO(body)) as picture:
        assert (picture.format, picture.size, picture.mode) == ("JPEG", (3000, 3000), "RGB")
    assert len(body) < 512_000
    async with client.head(f"/r/{room.key}/{name}") as answer:
        assert answer.headers["Content-Length"] == str(len(body))
        tag = answer.headers["ETag"]
    async with client.get(f"/r/{room.key}/{name}", headers={"If-None-Match": tag}) as answer:
        assert answer.status == 304
        date = answer.headers["Last-Modified"]
    async with world.store.write() as db:
        await rooms.touch(db, room.room_id, NOW + timedelta(hours=1))
    async with client.get(f"/r/{room.key}/{name}", headers={"If-None-Match": tag}) as answer:
        assert answer.headers["Last-Modified"] == date  # the room changed, the picture did not
    async with client.get(f"/r/{room.key}/cover-0000000000000000.jpg") as answer:
        assert answer.status == 404


async def test_pages_show_a_smaller_cover(world: World, client: ClientSession, room: Room) -> None:
    """A page's cover is a JPEG of 400 pixels, a fraction of what feeds give to apps."""
    name = next(each for each in (await page(client, f"/r/{room.key}/")).addresses if each.startswith("cover-"))
    async with client.get(f"/r/{room.key}/{name}") as answer:
        body = await answer.read()
        assert "immutable" in answer.headers["Cache-Control"]
    with Image.open(BytesIO(body)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (400, 400))
    assert len(body) < 40_000


async def test_cover_moves_with_the_name(world: World, client: ClientSession, room: Room) -> None:
    """A renamed room has a new picture at a new address."""

    async def cover() -> str:
        found = (await page(client, f"/r/{room.key}/")).addresses
        return next(address for address in found if address.startswith("cover-"))

    before = await cover()
    await world.state(room, "m.room.name", {"name": "日本語ラジオ"})
    await world.change(room)
    after = await cover()
    assert before != after
    async with client.get(f"/r/{room.key}/{after}") as answer:
        assert answer.status == 200


async def test_cover_that_was_made_is_served(world: World, client: ClientSession, room: Room) -> None:
    """A room whose picture was made of its avatar serves it at an address of its own."""
    recording = await world.recording(room)
    episode = await world.episode(recording, b"\xff\xd8\xff picture")  # any blob will do
    await world.change(room, cover=episode.blob)
    name = f"cover-{episode.blob[:16]}.jpg"
    assert name.replace(".", "-400.") in (await page(client, f"/r/{room.key}/")).addresses
    async with client.get(f"/r/{room.key}/{name}") as answer:
        assert await answer.read() == b"\xff\xd8\xff picture"


async def test_cover_that_a_moderator_chose_comes_first(world: World, client: ClientSession, room: Room) -> None:
    """A chosen picture is served, and named by every page and feed, in the place of the room's own."""
    made, chosen = [
        (await world.episode(await world.recording(room), picture)).blob
        for picture in (b"\xff\xd8\xff 1", b"\xff\xd8\xff 2")
    ]
    await world.change(room, cover=made, own_cover=chosen)
    name = f"cover-{chosen[:16]}.jpg"
    assert name.replace(".", "-400.") in (await page(client, f"/r/{room.key}/")).addresses
    for address, content in (("feed.xml", name.encode()), (name, b"\xff\xd8\xff 2")):
        async with client.get(f"/r/{room.key}/{address}", headers={"Accept-Encoding": "identity"}) as answer:
            assert content in await answer.read()


def square(colour: str) -> bytes:
    out = BytesIO()
    Image.new("RGB", (1400, 1400), colour).save(out, "JPEG")
    return out.getvalue()


async def with_cover(world: World, room: Room, **changes: Any) -> tuple[Recording, str]:
    """Add an episode with a cover of its own, and return it with the file name of the picture."""
    picture = await world.episode(await world.recording(room), square("red"))  # any blob will do
    recording = await world.recording(room, cover=picture.blob, **changes)
    await world.episode(recording, b"ID3 with a cover")
    return recording, f"cover-{recording.code}-{picture.blob[:16]}.jpg"


async def test_a_recording_shows_its_own_cover(world: World, client: ClientSession, room: Room) -> None:
    """Its page, its player for other sites, previews of links, its episode in the feed and search engines have its own
    picture; the room keeps that of the room."""
    recording, name = await with_cover(world, room)
    root = f"/r/{room.key}/"
    for address in (recording.code, f"{recording.code}.embed"):
        assert name.replace(".", "-400.") in (await page(client, root + address)).addresses
    async with client.get(root + recording.code) as answer:
        html = await answer.text()
    assert f'property="og:image" content="{world.server.address}{root}{name.replace(".", "-800.")}"' in html
    assert f"{root}{name}" in html  # of the linked data
    async with client.get(f"{root}feed.xml") as answer:
        feed = etree.fromstring(await answer.read())
    named = feed.xpath("//item/itunes:image/@href", namespaces=NAMESPACES)
    assert named == [f"{world.server.address}{root}{name}"]
    assert feed.xpath("//item/podcast:image/@href", namespaces=NAMESPACES) == named
    (of_room,) = feed.xpath("//channel/itunes:image/@href", namespaces=NAMESPACES)
    assert recording.code not in of_room
    assert name.replace(".", "-400.") not in (await page(client, root)).addresses
    query = {"url": f"{world.server.address}{root}{recording.code}", "format": "json"}
    async with client.get("/oembed", params=query) as answer:
        assert (await answer.json())["thumbnail_url"].endswith(name.replace(".", "-400."))


async def test_own_covers_are_served_like_others(world: World, client: ClientSession, room: Room) -> None:
    """A recording's cover has an address that changes with it, and may be cached for ever, whole or in the sizes of
    pages."""
    recording, name = await with_cover(world, room)
    for address, side in ((name, 1400), (name.replace(".", "-200."), 200)):
        async with client.get(f"/r/{room.key}/{address}") as answer:
            assert "immutable" in answer.headers["Cache-Control"]
            with Image.open(BytesIO(await answer.read())) as picture:
                assert (picture.format, picture.size) == ("JPEG", (side, side))
    for other in (f"cover-{recording.code}-0000000000000000.jpg", name.replace(recording.code, "abcdef")):
        async with client.get(f"/r/{room.key}/{other}") as answer:
            assert answer.status == 404


async def test_own_covers_are_for_those_who_hear_the_recording(world: World, client: ClientSession, room: Room) -> None:
    """A cover is as private as its recording, and goes with it."""
    private, hidden = await with_cover(world, room, public=False)
    recording, name = await with_cover(world, room)
    async with client.get(f"/r/{room.key}/{hidden}") as answer:
        assert answer.status == 404
    await world.member(room, BOB)
    token = await world.listener(room, BOB)
    async with client.get(f"/p/{token}/{hidden}") as answer:
        assert answer.status == 200
        assert "public" not in answer.headers["Cache-Control"]
    await world.save(replace(recording, state=RecordingState.DELETED))
    await world.save(replace(private, state=RecordingState.DELETED))
    for address in (f"/r/{room.key}/{name}", f"/p/{token}/{hidden}"):
        async with client.get(address) as answer:
            assert answer.status == 404


async def test_a_cover_that_is_gone_leaves_the_rest(world: World, client: ClientSession, room: Room) -> None:
    """The address of a picture whose file is gone answers that it is, and everything else is there."""
    recording = await world.recording(room, cover=BlobKey("0" * 64))
    await world.episode(recording, b"ID3 without its cover")
    async with client.get(f"/r/{room.key}/cover-{recording.code}-{'0' * 16}.jpg") as answer:
        assert answer.status == 404
    async with client.get(f"/r/{room.key}/{recording.code}") as answer:
        assert answer.status == 200
