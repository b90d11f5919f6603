"""The pictures of rooms."""

from datetime import timedelta
from io import BytesIO

from aiohttp import ClientSession
from PIL import Image

from storage import rooms
from storage.records import Room
from tests.web.reader import page
from tests.web.world import NOW, World


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
