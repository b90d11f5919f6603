"""The player of a public recording for other sites: oEmbed, and the page in its frame."""

import json

import pytest
from aiohttp import ClientSession
from lxml import etree

from storage.records import RecordingState, Room, Visibility
from tests.web.reader import page
from tests.web.world import ALICE, World


@pytest.fixture
async def room(world: World) -> Room:
    return await world.room(visibility=Visibility.PUBLIC)


async def test_a_public_recording_can_be_embedded(world: World, client: ClientSession, room: Room) -> None:
    """A public recording's page names its oEmbed answers, which have a frame with its player, in JSON and in XML."""
    recording = await world.recording(room, title='Soup & "bread"')
    await world.episode(recording)
    async with client.get(f"/r/{room.key}/{recording.code}") as answer:
        own = str(answer.url)
    links = [link for link in (await page(client, own)).addresses if "/oembed?" in link]
    assert len(links) == 2
    said = []
    for link in links:
        async with client.get(link) as answer:
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            body, is_json = await answer.read(), answer.content_type == "application/json"
        said.append(json.loads(body) if is_json else {field.tag: field.text for field in etree.fromstring(body)})
    for each in said:
        assert (each["version"], each["type"], each["title"]) == ("1.0", "rich", 'Soup & "bread"')
        assert each["author_name"] == "Kitchen radio"
        assert f'src="{own}.embed"' in each["html"]
        assert 'title="Soup &amp; &quot;bread&quot;"' in each["html"]


async def test_the_embedded_player_alone_may_be_framed(world: World, client: ClientSession, room: Room) -> None:
    """Any site may frame the embedded player, which can be heard without a script, and no other page."""
    recording = await world.recording(room, title="Soup")
    await world.episode(recording)
    framed = {}
    for name in ("", recording.code, f"{recording.code}.embed"):
        async with client.get(f"/r/{room.key}/{name}") as answer:
            policy = answer.headers["Content-Security-Policy"]
            framed[name] = (policy.rpartition("frame-ancestors ")[2], "X-Frame-Options" in answer.headers)
            assert "unsafe" not in policy
    assert framed == {"": ("'none'", True), recording.code: ("'none'", True), f"{recording.code}.embed": ("*", False)}
    found = await page(client, f"/r/{room.key}/{recording.code}.embed")
    assert f"{recording.code}.mp3" in found.addresses
    assert "audio" in found.tags
    assert "Soup" in found.text


async def test_nothing_else_can_be_embedded(world: World, client: ClientSession, room: Room) -> None:
    """Private recordings, what is live, other addresses and other servers have no oEmbed answer and no player."""
    hidden = await world.recording(room, public=False)
    await world.episode(hidden)
    live = await world.recording(room, state=RecordingState.LIVE)
    await world.member(room, ALICE)
    token = await world.listener(room, ALICE)
    for name in (f"/r/{room.key}/{hidden.code}.embed", f"/r/{room.key}/{live.code}.embed"):
        async with client.get(name) as answer:
            assert answer.status == 404
    async with client.get(f"/p/{token}/{hidden.code}") as answer:
        assert answer.status == 200
    base = world.server.address
    for url in (
        f"{base}/r/{room.key}/{hidden.code}",
        f"{base}/r/{room.key}/{live.code}",
        f"{base}/r/{room.key}/",
        f"{base}/p/{token}/{hidden.code}",
        f"https://elsewhere.example/r/{room.key}/{hidden.code}",
        "",
    ):
        async with client.get("/oembed", params={"url": url}) as answer:
            assert answer.status == 404, url
    async with client.get(f"/p/{token}/{hidden.code}.embed") as answer:
        assert answer.status == 404


@pytest.mark.parametrize(
    ("query", "status", "width"),
    [({}, 200, 640), ({"maxwidth": "300"}, 200, 300), ({"maxwidth": "20"}, 404, 0), ({"format": "html"}, 501, 0)],
)
async def test_a_site_says_what_it_takes(
    world: World, client: ClientSession, room: Room, query: dict[str, str], status: int, width: int
) -> None:
    """The frame is no wider than asked for; a format that there is not is said to be none."""
    recording = await world.recording(room)
    await world.episode(recording)
    url = f"{world.server.address}/r/{room.key}/{recording.code}?t=20"
    async with client.get("/oembed", params={"url": url, **query}) as answer:
        assert answer.status == status
        if status == 200:
            assert (await answer.json())["width"] == width
