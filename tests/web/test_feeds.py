"""Feeds over HTTP: byte-stable, with the addresses of their own listener."""

import asyncio
import gzip
from collections.abc import Sequence
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from aiohttp import ClientSession

from bot.feeds.model import Channel, Item
from bot.feeds.rss import render
from storage.records import PodcastTexts, RecordingState, Room, UserId, Visibility
from tests.web.world import ALICE, BOB, World

GZIP = {"Accept-Encoding": "br, gzip;q=0.8"}
PLAIN = {"Accept-Encoding": "identity"}


async def xml_of(client: ClientSession, address: str) -> str:
    async with client.get(address, headers=PLAIN) as answer:
        assert answer.status == 200
        return (await answer.read()).decode()


def enclosures(xml: str) -> list[str]:
    root = ElementTree.fromstring(xml)  # noqa: S314  our own
    return [node.attrib["url"] for node in root.iter("enclosure")]


@pytest.fixture
async def room(world: World) -> Room:
    """Make a public room with two episodes."""
    made = await world.room(visibility=Visibility.PUBLIC)
    for audio in (b"one", b"two"):
        await world.episode(await world.recording(made), audio)
    return made


async def test_links_of_a_feed_lead_to_what_they_say(world: World, client: ClientSession, room: Room) -> None:
    """Every enclosure, cover and page of a feed exists with the size and type that the feed says."""
    root = ElementTree.fromstring(await xml_of(client, f"/r/{room.key}/feed.xml"))  # noqa: S314
    nodes = list(root.iter("enclosure"))
    assert len(nodes) == 2
    for node in nodes:
        async with client.head(node.attrib["url"]) as answer:
            assert answer.status == 200
            assert answer.headers["Content-Length"] == node.attrib["length"]
            assert answer.headers["Content-Type"] == node.attrib["type"]
    pages = [node.text or "" for node in root.iter("link")]
    covers = [node.attrib["href"] for node in root.iter("{http://www.itunes.com/dtds/podcast-1.0.dtd}image")]
    for address in pages + covers:
        async with client.head(address) as answer:
            assert answer.status == 200, address


async def test_feed_is_rss_and_asks_to_be_checked(client: ClientSession, room: Room) -> None:
    """A feed is application/rss+xml, must be revalidated, and may be read by any web player."""
    async with client.get(f"/r/{room.key}/feed.xml") as answer:
        assert answer.content_type == "application/rss+xml"
        assert "no-cache" in answer.headers["Cache-Control"]
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "X-Robots-Tag" not in answer.headers


async def test_both_encodings_are_one_feed(client: ClientSession, room: Room) -> None:
    """Each encoding has its own strong tag, and each tag is known in both."""
    address = f"/r/{room.key}/feed.xml"
    async with client.get(address, headers=PLAIN) as plain, client.get(address, headers=GZIP) as packed:
        assert "Content-Encoding" not in plain.headers
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(await packed.read()) == await plain.read()
        assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
        tags = [plain.headers["ETag"], packed.headers["ETag"]]
    assert tags[0] != tags[1]
    for tag in tags:
        for encoding in (PLAIN, GZIP):
            async with client.get(address, headers={**encoding, "If-None-Match": tag}) as answer:
                assert answer.status == 304
                assert await answer.read() == b""


@pytest.mark.parametrize("accepted", ["gzip;q=0", "br", "identity", "*;q=0", ""])
async def test_gzip_is_not_forced(client: ClientSession, room: Room, accepted: str) -> None:
    """A client that does not accept gzip gets none."""
    async with client.get(f"/r/{room.key}/feed.xml", headers={"Accept-Encoding": accepted}) as answer:
        assert "Content-Encoding" not in answer.headers


async def test_head_of_a_feed(client: ClientSession, room: Room) -> None:
    """HEAD gives the length that GET would send."""
    address = f"/r/{room.key}/feed.xml"
    async with client.get(address, headers=GZIP) as got, client.head(address, headers=GZIP) as head:
        assert head.headers["Content-Length"] == str(len(await got.read()))
        assert head.headers["ETag"] == got.headers["ETag"]


async def test_feed_in_pieces(client: ClientSession, room: Room) -> None:
    """A range of a feed is of the requested encoding, as long as the feed is the same."""
    address = f"/r/{room.key}/feed.xml"
    for encoding in (PLAIN, GZIP):
        async with client.get(address, headers=encoding) as answer:
            whole, tag = await answer.read(), answer.headers["ETag"]
        headers = {**encoding, "Range": "bytes=10-19"}
        async with client.get(address, headers={**headers, "If-Range": tag}) as answer:
            assert answer.status == 206
            assert await answer.read() == whole[10:20]
        async with client.get(address, headers={**headers, "If-Range": '"other"'}) as answer:
            assert answer.status == 200
            assert await answer.read() == whole


async def test_tag_moves_with_the_content_only(world: World, client: ClientSession, room: Room) -> None:
    """The tag changes only with the content of the feed."""
    address = f"/r/{room.key}/feed.xml"
    tags = []
    for _ in range(2):
        async with client.get(address) as answer:
            tags.append(answer.headers["ETag"])
        await world.room()  # a write that is nothing to this feed
    await world.episode(await world.recording(room), b"three")
    async with client.get(address) as answer:
        tags.append(answer.headers["ETag"])
    assert tags[0] == tags[1] != tags[2]


async def test_each_listener_has_their_own_addresses(world: World, client: ClientSession, room: Room) -> None:
    """A personal feed holds its listener's token in every address, also under concurrent requests."""
    tokens = []
    for user in (ALICE, BOB):
        await world.member(room, user, at=1)
        tokens.append(await world.listener(room, user))
    feeds = await asyncio.gather(*(xml_of(client, f"/p/{token}/feed.xml") for token in tokens * 3))
    for token, other, xml in zip(tokens * 3, tokens[::-1] * 3, feeds, strict=True):
        assert other not in xml
        assert room.key not in xml
        assert "\ue000" not in xml
        assert len(enclosures(xml)) == 2
        assert all(f"/p/{token}/" in address for address in enclosures(xml))


async def test_feed_is_rendered_once_for_all_who_hear_the_same(
    world: World, client: ClientSession, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listeners who hear the same share one rendering, also under concurrent requests."""
    rendered = []

    def counted(channel: Channel, items: Sequence[Item]) -> bytes:
        rendered.append(channel)
        return render(channel, items)

    monkeypatch.setattr("bot.feeds.rss.render", counted)
    tokens = []
    for number, user in enumerate((ALICE, BOB)):
        await world.member(room, user, at=number)
        tokens.append(await world.listener(room, user))
    await asyncio.gather(*(xml_of(client, f"/p/{token}/feed.xml") for token in tokens * 3))
    assert len(rendered) == 1


async def test_personal_feed_is_for_nobody_else(world: World, client: ClientSession, room: Room) -> None:
    """A personal feed is not indexed, cached by others or readable by other sites, and sends no referrer."""
    await world.member(room, ALICE)
    async with client.get(f"/p/{await world.listener(room, ALICE)}/feed.xml") as answer:
        assert answer.headers["Cache-Control"].startswith("private")
        assert "noindex" in answer.headers["X-Robots-Tag"]
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_guid_is_one_in_all_feeds(world: World, client: ClientSession, room: Room) -> None:
    """An episode has the same GUID in the public feed and in a personal one."""
    await world.member(room, ALICE)
    feeds = [
        await xml_of(client, f"/r/{room.key}/feed.xml"),
        await xml_of(client, f"/p/{await world.listener(room, ALICE)}/feed.xml"),
    ]
    guids = [[node.text for node in ElementTree.fromstring(xml).iter("guid")] for xml in feeds]  # noqa: S314
    assert guids[0] == guids[1]
    assert len(guids[0]) == 2


async def test_public_feed_has_what_is_public_only(world: World, client: ClientSession, room: Room) -> None:
    """A recording from private times, or one that is held, is in no public feed."""
    private = await world.recording(room, public=False)
    await world.episode(private, b"private")
    held = await world.recording(room, state=RecordingState.INCOMPLETE)
    await world.episode(held, b"held", published_at=None)
    xml = await xml_of(client, f"/r/{room.key}/feed.xml")
    assert private.code not in xml
    assert held.code not in xml


async def test_healing_changes_only_the_file(world: World, client: ClientSession, room: Room) -> None:
    """A healed episode keeps GUID and address; its length is the new file's."""
    recording = await world.recording(room, state=RecordingState.INCOMPLETE)
    await world.episode(recording, b"with a hole")
    before = await xml_of(client, f"/r/{room.key}/feed.xml")
    await world.episode(recording, b"now it is whole")
    await world.save(replace(recording, state=RecordingState.COMPLETE))
    after = await xml_of(client, f"/r/{room.key}/feed.xml")
    assert enclosures(before) == enclosures(after)
    assert f"guid-{recording.id}" in before
    assert f"guid-{recording.id}" in after
    assert 'length="11"' in before
    assert 'length="15"' in after


async def test_name_and_topic_come_from_the_room(world: World, client: ClientSession, room: Room) -> None:
    """The channel is called and described as the room is, without anybody's MXID."""
    await world.state(room, "m.room.name", {"name": "Radio <&> @alice:hs"})
    await world.state(room, "m.room.topic", {"topic": ["no text"]})
    await world.change(room)
    xml = await xml_of(client, f"/r/{room.key}/feed.xml")
    assert "<title>Radio &lt;&amp;&gt; Somebody</title>" in xml
    assert "@" not in xml


async def test_words_of_a_room_are_read_with_its_servers(world: World, client: ClientSession, room: Room) -> None:
    """In a room's name and topic only ids of its members' servers are masked, in every form."""
    await world.member(room, UserId("@eve:cellar"))
    await world.state(room, "m.room.name", {"name": "Live @18:30 with %40eve%3Acellar"})
    await world.state(room, "m.room.topic", {"topic": "by @eve:cellar, git@github.com:me/tool.git, @max:attic"})
    await world.change(room)
    xml = await xml_of(client, f"/r/{room.key}/feed.xml")
    assert "<title>Live @18:30 with Somebody</title>" in xml
    assert "by Somebody, git@github.com:me/tool.git, @max:attic" in xml


async def test_nameless_room_is_called_by_its_first_public_speaker(world: World, client: ClientSession) -> None:
    """A room without a name is called by the first speaker whom this feed may name."""
    room = await world.room(name=None, visibility=Visibility.PUBLIC)
    await world.episode(await world.recording(room, public=False, broadcaster_name="Secret Sue"), b"1")
    await world.episode(await world.recording(room, broadcaster_name="Olga"), b"2")
    xml = await xml_of(client, f"/r/{room.key}/feed.xml")
    assert "<title>Room of Olga</title>" in xml
    assert "Sue" not in xml


async def test_feeds_are_built_from_the_setting_alone(world: World, client: ClientSession, room: Room) -> None:
    """The Host of a request changes nothing in the feed."""
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", **PLAIN}
    async with client.get(f"/r/{room.key}/feed.xml", headers=headers) as answer:
        assert b"evil" not in await answer.read()


async def test_a_podcast_is_what_its_room_says_it_is(world: World, client: ClientSession, room: Room) -> None:
    """Texts that a moderator gave stand in feed and page at once; GUIDs and addresses stay, and so do the bytes."""
    before = await xml_of(client, f"/r/{room.key}/feed.xml")
    texts = PodcastTexts("Soup & Bread", "All of it.", "The Kitchen", "pt-BR", "Arts > Food", explicit=True)
    await world.change(room, podcast=texts)
    after = await xml_of(client, f"/r/{room.key}/feed.xml")
    assert after == await xml_of(client, f"/r/{room.key}/feed.xml")
    channel = ElementTree.fromstring(after)[0]  # noqa: S314
    itunes = "{http://www.itunes.com/dtds/podcast-1.0.dtd}"
    told = [channel.findtext(name) for name in ("title", "description", "language", f"{itunes}author")]
    assert told == ["Soup & Bread", "All of it.", "pt-BR", "The Kitchen"]
    assert [node.attrib["text"] for node in channel.iter(f"{itunes}category")] == ["Arts", "Food"]
    assert {node.text for node in channel.iter(f"{itunes}explicit")} == {"true"}
    for name in ("guid", "{https://podcastindex.org/namespace/1.0}guid"):
        found = [[node.text for node in ElementTree.fromstring(xml).iter(name)] for xml in (before, after)]  # noqa: S314
        assert found[0] == found[1]
    assert enclosures(after) == enclosures(before)
    async with client.get(f"/r/{room.key}/", headers=PLAIN) as answer:
        page = await answer.text()
    assert "Soup &amp; Bread" in page
    assert "All of it." in page
    assert "Kitchen radio" not in page
