"""The page of a studio: its headers, its language, and the modules of its script."""

import re

import pytest
from aiohttp import ClientSession

from storage.records import Room
from tests.web.studio import speaking_room, studio_in
from tests.web.world import World

HTML = {"Accept": "text/html"}
MODULE = re.compile(r'"\./([\w.-]+\.js)"')


@pytest.fixture
async def room(world: World) -> Room:
    return await speaking_room(world)


async def page_of(world: World, client: ClientSession, room: Room) -> str:
    _, token = await studio_in(world.store, room.room_id)
    async with client.get(f"/studio/{token}/", headers=HTML) as answer:
        assert answer.status == 200
        return await answer.text()


async def test_the_page_may_use_the_microphone_and_is_kept_by_none(
    world: World, client: ClientSession, room: Room
) -> None:
    """Only this page may use the microphone; nobody keeps it, lists it, frames it or learns of it by a link."""
    _, token = await studio_in(world.store, room.room_id)
    async with client.get(f"/studio/{token}/", headers=HTML) as answer:
        headers = answer.headers
    assert headers["Permissions-Policy"].startswith("microphone=(self)")
    assert (headers["Cache-Control"], headers["X-Robots-Tag"]) == ("no-store", "noindex")
    assert (headers["Referrer-Policy"], headers["X-Frame-Options"]) == ("no-referrer", "DENY")
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert token not in await page_of(world, client, room)
    async with client.get("/", headers=HTML) as answer:
        assert "Permissions-Policy" not in answer.headers


async def test_every_module_that_is_imported_is_served(world: World, client: ClientSession, room: Room) -> None:
    """Modules name one another as they are served, and none is missing."""
    html = await page_of(world, client, room)
    asked = set(re.findall(r"static/(studio-[\w.-]+\.js)", html))
    seen: set[str] = set()
    while asked:
        name = asked.pop()
        seen.add(name)
        async with client.get(f"/static/{name}") as answer:
            assert answer.status == 200, name
            assert answer.content_type == "text/javascript"
            asked |= set(MODULE.findall(await answer.text())) - seen
    assert any(name.startswith("studio-queue-") for name in seen)
    assert all(re.fullmatch(r"studio[a-z0-9-]*-[0-9a-f]{12}\.js", name) for name in seen)


async def test_the_page_speaks_the_rooms_language(world: World, client: ClientSession, room: Room) -> None:
    """In a German room all words for the script are German too."""
    await world.change(room, language="de")
    html = await page_of(world, client, room)
    assert '<html lang="de"' in html
    assert "Auf Sendung gehen" in html
    assert "You are live" not in html
