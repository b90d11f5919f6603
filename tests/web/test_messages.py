"""Answers at an address that is closed, or where nothing is: for people and for apps."""

from collections.abc import Awaitable, Callable
from urllib.parse import urljoin

import feedparser
import pytest
from aiohttp import ClientSession

from bot.feeds.addresses import look_up_hash
from storage import ended_addresses, heirs, rooms
from storage.records import Room, Visibility
from tests.web.reader import Reader
from tests.web.world import ALICE, NOW, World

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
NO_PAGES = (
    "{code}.mp3",
    "{code}.chapters.json",
    "{code}.m3u8",
    "live.mp3",
    "cover-1.jpg",
    "{code}.stems.zip",
    "nothing",
)


async def renew_all(world: World, room: Room) -> None:
    async with world.store.write() as db:
        await rooms.forget_listeners(db, NOW)


async def end_the_line(world: World, room: Room) -> None:
    """The room was upgraded and left; then its moderators took the upgrade back."""
    heir = await world.room("New kitchen")
    await world.member(heir, ALICE)
    async with world.store.write() as db:
        await heirs.inherit(db, room.room_id, heir.room_id)
    await world.change(room, joined=False)
    async with world.store.write() as db:
        await heirs.end(db, room.room_id)


ENDINGS: dict[str, tuple[Callable[[World, Room], Awaitable[object]], str]] = {
    "left": (lambda world, room: world.member(room, ALICE, "leave"), "you are no longer in its room"),
    "banned": (lambda world, room: world.member(room, ALICE, "ban"), "you are no longer in its room"),
    "the bot left": (lambda world, room: world.change(room, joined=False), "the bot is no longer in its room"),
    "the podcast's line has ended": (end_the_line, "the bot is no longer in its room"),
    "all were renewed": (renew_all, "was replaced by a new one: send `!aircheck feed` in its room"),
}


@pytest.mark.parametrize("case", ENDINGS)
async def test_closed_personal_address(world: World, client: ClientSession, case: str) -> None:
    """A personal address that was good once is 410 with one sentence as feed and as page, and 404 as anything else."""
    end, sentence = ENDINGS[case]
    room = await world.room()
    await world.member(room, ALICE)
    recording = await world.recording(room)
    await world.episode(recording)
    root = f"/p/{await world.listener(room, ALICE)}/"
    await end(world, room)
    for name in ("feed.xml", "feed-2.xml", "feed-1-3.xml"):
        async with client.get(f"{root}{name}") as answer:
            assert answer.status == 410
            assert answer.content_type == "application/rss+xml"
            assert answer.headers["Cache-Control"] == "no-store"
            parsed = feedparser.parse(await answer.read())
        assert not parsed.bozo
        assert parsed.entries == []
        assert sentence in parsed.feed.description
        assert parsed.feed.description.count(".") == 1
        assert {parsed.feed.itunes_block, parsed.feed.podcast_block} <= {1, "yes"}
    for name in ("", recording.code):
        async with client.get(f"{root}{name}", headers=BROWSER) as answer:
            assert answer.status == 410
            assert answer.content_type == "text/html"
            page = Reader(await answer.text())
        assert sentence.replace("`", "") in " ".join(page.text.split())
        async with client.get(f"{root}{name}") as answer:
            assert answer.status == 410
            assert sentence in await answer.text()
    for name in NO_PAGES:
        async with client.get(f"{root}{name.format(code=recording.code)}") as answer:
            assert answer.status == 404, name
            assert len(await answer.read()) < 32


async def test_closed_address_never_tells_its_room(world: World, client: ClientSession) -> None:
    """The sentence names neither the room nor a person, and is in the room's language."""
    room = await world.room(language="de")
    await world.member(room, ALICE, "ban")
    root = f"/p/{await world.listener(room, ALICE)}/"
    async with client.get(f"{root}feed.xml") as answer:
        body = await answer.read()
    assert feedparser.parse(body).feed.language == "de"
    async with client.get(root, headers=BROWSER) as answer:
        body += await answer.read()
    assert b"Kitchen" not in body
    assert b"alice" not in body.lower()


async def test_joining_again_revives_it(world: World, client: ClientSession) -> None:
    """The address of who left works again once they have joined again, and once the bot is back."""
    room = await world.room()
    await world.member(room, ALICE)
    feed = f"/p/{await world.listener(room, ALICE)}/feed.xml"

    async def status() -> int:
        async with client.get(feed) as answer:
            return answer.status

    await world.member(room, ALICE, "leave", at=2)
    assert await status() == 410
    await world.member(room, ALICE, "join", at=3)
    assert await status() == 200
    await world.change(room, joined=False)
    assert await status() == 410
    await world.change(room, joined=True)
    assert await status() == 200


async def test_ended_addresses_are_forgotten_after_years(world: World, client: ClientSession) -> None:
    """An address that ended long ago is answered as one that never was."""
    token = "a" * 52
    async with world.store.write() as db:
        await ended_addresses.note(db, [look_up_hash(token)], NOW)
        await ended_addresses.note(db, [look_up_hash(token)], NOW)
    for before, status in ((NOW, 410), (NOW.replace(year=NOW.year + 1), 404)):
        async with world.store.write() as db:
            await ended_addresses.prune(db, before)
        async with client.get(f"/p/{token}/feed.xml") as answer:
            assert answer.status == status


@pytest.mark.parametrize("path", ["/x", "/r/unknown/", "/r/unknown/abcdef", "/p/short/", "/a/b/c/d", "/static/x"])
async def test_people_get_a_page_where_nothing_is(world: World, client: ClientSession, path: str) -> None:
    """A browser's user reads a page, whose style sheet and links are found from where it stands; an app gets a line."""
    async with client.get(path, headers=BROWSER) as answer:
        assert answer.status == 404
        assert answer.headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        page = Reader(await answer.text())
    assert "There is nothing at this address" in page.text
    for link in (each for each in page.addresses if not each.startswith("#")):
        async with client.get(urljoin(f"http://x{path}", link).removeprefix("http://x")) as answer:
            assert answer.status == 200, link
    async with client.get(path) as answer:
        assert await answer.text() == "Not found\n"
    async with client.get("/a" * 100, headers=BROWSER) as answer:
        assert await answer.text() == "Not found\n"


async def test_people_are_told_when_to_come_back(world: World, client: ClientSession) -> None:
    """Until the rooms' state was read a browser's user gets a page that says so, with Retry-After."""
    room = await world.room(visibility=Visibility.PRIVATE)
    await world.member(room, ALICE)
    token = await world.listener(room, ALICE)
    world.fresh = False
    async with client.get(f"/p/{token}/", headers=BROWSER) as answer:
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert "try again in half a minute" in await answer.text()
