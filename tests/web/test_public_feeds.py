"""Feeds beside those of rooms: speakers, all public podcasts, their list; and live broadcasts in feeds."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import listparser
import pytest
from aiohttp import ClientSession

import bot.web.public_feeds
from bot.feeds.guids import episode_guid, podcast_guid, speaker_id, stream_guid
from storage import heirs, optouts, rooms
from storage.records import (
    EVERYWHERE,
    OptOut,
    Position,
    Recording,
    RecordingState,
    Room,
    UserId,
    Visibility,
)
from tests.feeds.schemas import faults
from tests.web.on_the_air import Broadcast
from tests.web.world import ALICE, BOB, NOW, World, world_of

P20 = "{https://podcastindex.org/namespace/1.0}"
PLAIN = {"Accept-Encoding": "identity"}


async def channel_at(client: ClientSession, address: str) -> Any:
    async with client.get(address, headers=PLAIN) as answer:
        assert answer.status == 200, address
        assert answer.content_type == "application/rss+xml"
        channel = ElementTree.fromstring(await answer.read()).find("channel")  # noqa: S314  our own
        assert channel is not None
        return channel


def guids(channel: Any) -> list[str]:
    return [node.findtext("guid") for node in channel.findall("item")]


async def public_room(world: World, *speakers: UserId, **changes: Any) -> tuple[Room, list[Recording]]:
    """Make a public room with an episode of each of these speakers, named by their user ids."""
    room = await world.room(visibility=Visibility.PUBLIC, **changes)
    said = [await world.recording(room, broadcaster=user, broadcaster_name=user[1:-3].title()) for user in speakers]
    for recording in said:
        await world.episode(recording, recording.code.encode())
    return room, said


def feed_of(world: World, room: Room, user: UserId) -> str:
    return f"/r/{room.key}/speaker-{speaker_id(world.store.secret(), room.key, user)}.xml"


# ---- live broadcasts


async def test_a_feed_tells_of_a_broadcast_from_its_beginning_to_after_its_end(
    world: World, client: ClientSession
) -> None:
    """A live item is pending, live, then ended for half an hour, under one GUID that is not the episode's; the GUIDs
    and enclosures of the items stay."""
    room, (old,) = await public_room(world, ALICE)
    running = await world.recording(room, state=RecordingState.LIVE, started_at=NOW)
    told = []
    for stage in ("pending", "live", "ended", "over"):
        if stage == "live":
            await Broadcast(world, running).speak(10)
        if stage == "ended":
            await world.save(replace(running, state=RecordingState.COMPLETE, ended_at=NOW))
            await world.episode(running, b"sound")
        if stage == "over":
            world.clock.pass_by(30 * 60)
        channel = await channel_at(client, f"/r/{room.key}/feed.xml")
        told.append([(node.get("status"), node.findtext("guid")) for node in channel.findall(f"{P20}liveItem")])
        assert f"guid-{old.id}" in guids(channel)
    guid = stream_guid(running.event_id)
    assert told == [[("pending", guid)], [("live", guid)], [("ended", guid)], []]
    assert guid != episode_guid(running.event_id)
    assert len(guids(channel)) == 2


async def test_personal_feeds_tell_nothing_of_live_broadcasts(world: World, client: ClientSession) -> None:
    """A personal feed has no live items."""
    room, _ = await public_room(world, ALICE)
    await world.member(room, BOB)
    await world.recording(room, state=RecordingState.LIVE, started_at=NOW)
    channel = await channel_at(client, f"/p/{await world.listener(room, BOB)}/feed.xml")
    assert channel.find(f"{P20}liveItem") is None


# ---- speakers


async def test_each_speaker_of_a_public_room_has_a_feed(world: World, client: ClientSession) -> None:
    """The feed of a speaker holds the public episodes in which they are heard, under the addresses and GUIDs that these
    have in the room's feed, and no user id."""
    room, (first, _, third) = await public_room(world, ALICE, BOB, ALICE)
    both = await world.session(room, "Bob", "Alice")
    channel = await channel_at(client, feed_of(world, room, ALICE))
    assert guids(channel) == [f"guid-{third.id}", f"guid-{first.id}"]
    assert channel.findtext("title") == "Alice in Kitchen radio"
    of_room = await channel_at(client, f"/r/{room.key}/feed.xml")
    items = {node.findtext("guid"): node.find("enclosure").get("url") for node in of_room.findall("item")}
    for node in channel.findall("item"):
        assert node.find("enclosure").get("url") == items[node.findtext("guid")]
    await world.episode(both, b"both")
    heard = both.speakers[1].user_id
    assert guids(await channel_at(client, feed_of(world, room, heard))) == [f"guid-{both.id}"]
    async with client.get(feed_of(world, room, ALICE)) as answer:
        assert "@" not in (await answer.text())


async def test_only_speakers_in_public_have_feeds(world: World, client: ClientSession) -> None:
    """Whoever is heard in private recordings alone, has no name, or is not heard, has no feed; nor has a private room
    or a personal address."""
    room, _ = await public_room(world, ALICE)
    await world.episode(await world.recording(room, broadcaster=BOB, broadcaster_name="Bob", public=False))
    nameless = UserId("@nameless:hs")
    await world.episode(await world.recording(room, broadcaster=nameless, broadcaster_name="@nameless:hs"))
    await world.member(room, ALICE)
    name = feed_of(world, room, ALICE).rsplit("/", 1)[1]
    for address in (
        feed_of(world, room, BOB),
        feed_of(world, room, nameless),
        f"/r/{room.key}/speaker-{'0' * 16}.xml",
        f"/p/{await world.listener(room, ALICE)}/{name}",
    ):
        async with client.get(address) as answer:
            assert answer.status == 404, address
    await world.change(room, visibility=Visibility.PRIVATE)
    async with client.get(feed_of(world, room, ALICE)) as answer:
        assert answer.status == 404


async def test_opting_out_ends_a_speakers_feed(world: World, client: ClientSession) -> None:
    """The feed of a speaker is gone while they have opted out, here or everywhere."""
    room, _ = await public_room(world, ALICE)
    statuses = []
    for number, (where, out) in enumerate([(room.room_id, True), (room.room_id, False), (EVERYWHERE, True)]):
        async with world.store.write() as db:
            await optouts.add(db, OptOut(ALICE, where, Position(number), out, NOW))
        async with client.get(feed_of(world, room, ALICE)) as answer:
            statuses.append(answer.status)
    assert statuses == [404, 200, 404]


async def test_a_speakers_feed_tells_of_their_broadcasts_alone(world: World, client: ClientSession) -> None:
    """Live items of a speaker's feed are those in which they speak, and not those of somebody of the same name."""
    room, _ = await public_room(world, ALICE, BOB)
    await world.recording(room, broadcaster=BOB, broadcaster_name="Alice", state=RecordingState.LIVE, started_at=NOW)
    channels = [await channel_at(client, feed_of(world, room, user)) for user in (ALICE, BOB)]
    assert [len(channel.findall(f"{P20}liveItem")) for channel in channels] == [0, 1]


# ---- the whole server


async def test_one_feed_has_all_public_podcasts(world: World, client: ClientSession) -> None:
    """The server's feed holds the newest episodes of all public rooms, each with the GUID and enclosure of its room's
    feed, and what is on the air; nothing of private rooms, and its cover exists."""
    one, (first,) = await public_room(world, ALICE)
    two, (second,) = await public_room(world, BOB, name="Cellar & <attic>")
    private = await world.room()
    await world.episode(await world.recording(private))
    await world.recording(one, state=RecordingState.LIVE, started_at=NOW)
    channel = await channel_at(client, "/feed.xml")
    assert guids(channel) == [f"guid-{second.id}", f"guid-{first.id}"]
    enclosures = [node.get("url") for node in channel.iter("enclosure")]
    base = world.server.address
    assert enclosures[1:] == [f"{base}/r/{two.key}/{second.code}.mp3", f"{base}/r/{one.key}/{first.code}.mp3"]
    assert channel.findtext("item/description").startswith("<p>Cellar &amp; &lt;attic&gt;</p>")
    assert channel.findtext(f"{P20}guid") == podcast_guid(f"{base}/feed.xml")
    cover = channel.find("{http://www.itunes.com/dtds/podcast-1.0.dtd}image").get("href")
    async with client.head(cover) as answer:
        assert (answer.status, answer.content_type) == (200, "image/jpeg")


async def test_the_servers_feed_has_a_hundred_episodes(
    world: World, client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more than the newest hundred are in the server's feed, of whatever rooms."""
    monkeypatch.setattr(bot.web.public_feeds, "MOST_ITEMS", 3)
    _, old = await public_room(world, ALICE, ALICE)
    _, new = await public_room(world, ALICE, ALICE)
    assert guids(await channel_at(client, "/feed.xml")) == [
        f"guid-{recording.id}" for recording in (new[1], new[0], old[1])
    ]


async def test_the_servers_feed_changes_with_its_content_only(world: World, client: ClientSession) -> None:
    """Feed and list keep their bytes and tags through anything that is nothing to them, and answer 304."""
    await public_room(world, ALICE)
    before = []
    for address in ("/feed.xml", "/podcasts.opml"):
        async with client.get(address) as answer:
            before.append((answer.headers["ETag"], answer.headers["Last-Modified"], await answer.read()))
    world.clock.pass_by(60)
    private = await world.room()
    await world.episode(await world.recording(private), b"private")
    for address, (tag, modified, body) in zip(("/feed.xml", "/podcasts.opml"), before, strict=True):
        async with client.get(address) as answer:
            now = (answer.headers["ETag"], answer.headers["Last-Modified"], await answer.read())
        assert now == (tag, modified, body)
        async with client.get(address, headers={"If-None-Match": tag}) as answer:
            assert answer.status == 304


async def test_an_empty_server_has_an_empty_feed_and_list(world: World, client: ClientSession) -> None:
    """Without public podcasts feed and list are valid and empty."""
    assert guids(await channel_at(client, "/feed.xml")) == []
    async with client.get("/podcasts.opml", headers=PLAIN) as answer:
        assert listparser.parse(await answer.text()).feeds == []


async def test_podcast_apps_can_import_the_list(world: World, client: ClientSession) -> None:
    """The list has the title and addresses of each public podcast, as people wrote the title; a podcast that moved to
    another room is there once."""
    one, _ = await public_room(world, ALICE, name='Tom & Jerry\'s "show" <live>')
    two, _ = await public_room(world, BOB)
    heir = await world.room(visibility=Visibility.PUBLIC)
    async with world.store.write() as db:
        await heirs.inherit(db, two.room_id, heir.room_id)
        await rooms.touch(db, two.room_id, NOW)
    async with client.get("/podcasts.opml", headers=PLAIN) as answer:
        assert answer.content_type == "text/x-opml"
        found = listparser.parse(await answer.text())
    assert found.bozo == 0
    assert {(feed.title, feed.url) for feed in found.feeds} == {
        ('Tom & Jerry\'s "show" <live>', f"{world.server.address}/r/{one.key}/feed.xml"),
        ("Kitchen radio", f"{world.server.address}/r/{two.key}/feed.xml"),
    }


async def test_pages_link_the_feeds(world: World, client: ClientSession) -> None:
    """The home page links the server's feed and list, the page of a public room the feeds of its speakers; the page of
    a private address links none of them."""
    room, _ = await public_room(world, ALICE, BOB)
    await world.member(room, ALICE)
    async with client.get("/", headers=PLAIN) as answer:
        home = await answer.text()
    assert 'href="feed.xml"' in home
    assert 'href="podcasts.opml"' in home
    async with client.get(f"/r/{room.key}/", headers=PLAIN) as answer:
        page = await answer.text()
    for user, name in ((ALICE, "Alice"), (BOB, "Bob")):
        feed = feed_of(world, room, user).rsplit("/", 1)[1]
        assert f'href="{feed}" type="application/rss+xml" aria-label="Feed of {name} alone"' in page
    async with client.get(f"/p/{await world.listener(room, ALICE)}/", headers=PLAIN) as answer:
        assert "speaker-" not in await answer.text()


async def test_all_that_is_served_is_as_the_schemas_say(world: World, client: ClientSession) -> None:
    """Feeds of rooms, listeners, speakers and the server, and the list, are as their schemas say, with live broadcasts
    and in names from right to left."""
    room, _ = await public_room(world, ALICE, BOB, name="\u05e8\u05d3\u05d9\u05d5 & <co>")
    await world.session(room, "\u05d3\u05e0\u05d4", "Ann")
    running = await world.recording(room, state=RecordingState.LIVE, started_at=NOW)
    await Broadcast(world, running).speak(10)
    await world.member(room, ALICE)
    listener = await world.listener(room, ALICE)
    for address in ("/feed.xml", f"/r/{room.key}/feed.xml", feed_of(world, room, ALICE), f"/p/{listener}/feed.xml"):
        async with client.get(address, headers=PLAIN) as answer:
            assert faults(await answer.read()) == [], address
    async with client.get("/podcasts.opml", headers=PLAIN) as answer:
        assert faults(await answer.read(), "opml") == []


async def test_the_feeds_say_that_they_moved(tmp_path: Path) -> None:
    """After a change of `web.public_url` the feeds of speakers and of the server name their new address."""
    for address in ("https://old.example.org", "https://new.example.org"):
        async with world_of(tmp_path, web={"port": 0, "public_url": address}) as (world, client):
            if "old" in address:
                room, _ = await public_room(world, ALICE)
            told = [await channel_at(client, each) for each in ("/feed.xml", feed_of(world, room, ALICE))]
            moved = [channel.findtext("{http://www.itunes.com/dtds/podcast-1.0.dtd}new-feed-url") for channel in told]
    assert moved == [f"{address}/feed.xml", f"{address}{feed_of(world, room, ALICE)}"]
