"""Identities in feeds: GUIDs, addresses of sound and the order of items, which apps know episodes by, never change."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

from aiohttp import ClientSession

from storage import heirs, rooms
from storage.records import RecordingState, Room, Visibility
from tests.web.world import NOW, World, world_of

PLAIN = {"Accept-Encoding": "identity"}
PODCAST_GUID = "{https://podcastindex.org/namespace/1.0}guid"
Identity = tuple[str, list[tuple[str | None, str, str | None]]]


async def identity(client: ClientSession, room: Room) -> Identity:
    """Return the podcast's GUID, and in the order of the items their GUIDs, paths of sound and dates."""
    async with client.get(f"/r/{room.key}/feed.xml", headers=PLAIN) as answer:
        assert answer.status == 200
        channel: Any = ElementTree.fromstring(await answer.read()).find("channel")  # noqa: S314  our own
    items = [
        (node.findtext("guid"), urlsplit(node.find("enclosure").get("url")).path, node.findtext("pubDate"))
        for node in channel.findall("item")
    ]
    return channel.findtext(PODCAST_GUID), items


async def podcast(world: World, **changes: Any) -> Room:
    """Make a public podcast of three episodes, two of which began in the same second; one is incomplete."""
    room = await world.room(visibility=Visibility.PUBLIC, **changes)
    for number in range(3):
        state = RecordingState.INCOMPLETE if number == 1 else RecordingState.COMPLETE
        recording = await world.recording(room, started_at=NOW.replace(minute=number // 2), state=state)
        await world.episode(recording, recording.code.encode())
    return room


async def test_a_rebuilt_episode_is_the_same_one(world: World, client: ClientSession) -> None:
    """An episode that is made again, with other bytes, keeps all that apps know it by."""
    room = await podcast(world)
    before = await identity(client, room)
    code = before[1][0][1].rpartition("/")[2].removesuffix(".mp3")
    published = await world.look(code)
    await world.episode(published, b"the same sound, encoded again", fingerprint="another")
    assert await identity(client, room) == before


async def test_a_healed_episode_is_the_same_one(world: World, client: ClientSession) -> None:
    """An incomplete episode that heals keeps all that apps know it by, also while it is made."""
    room = await podcast(world)
    before = await identity(client, room)
    for state in (RecordingState.FINISHING, RecordingState.COMPLETE):
        healing = await world.look(before[1][1][1].rpartition("/")[2].removesuffix(".mp3"))
        await world.save(replace(healing, state=state))
        assert await identity(client, room) == before
    await world.episode(replace(healing, state=RecordingState.COMPLETE), b"whole")
    assert await identity(client, room) == before


async def test_a_renamed_episode_in_a_renamed_room_is_the_same_one(world: World, client: ClientSession) -> None:
    """New titles of room and episode change nothing that apps know them by."""
    room = await podcast(world)
    before = await identity(client, room)
    await world.state(room, "m.room.name", {"name": "Another name"})
    await world.change(room)
    for _, path, _ in before[1]:
        recording = await world.look(path.rpartition("/")[2].removesuffix(".mp3"))
        await world.save(replace(recording, title=f"Title of {recording.code}", description="New."))
    assert await identity(client, room) == before


async def test_a_podcast_that_moves_to_another_room_is_the_same_one(world: World, client: ClientSession) -> None:
    """A podcast whose room is upgraded keeps all that apps know it and its episodes by."""
    room = await podcast(world)
    before = await identity(client, room)
    heir = await world.room(visibility=Visibility.PUBLIC)
    async with world.store.write() as db:
        await heirs.inherit(db, room.room_id, heir.room_id)
        for each in (room, heir):
            await rooms.touch(db, each.room_id, NOW)
    assert await identity(client, room) == before


async def test_a_podcast_that_moves_to_another_address_is_the_same_one(tmp_path: Path) -> None:
    """A new `web.public_url` changes no GUID, path or order, also of a podcast whose GUID was not written down."""
    told: list[list[Identity]] = []
    for address in ("https://old.example.org", "https://new.example.org", "https://newest.example.org/below"):
        async with world_of(tmp_path, web={"port": 0, "public_url": address}) as (world, client):
            if not told:
                named = await podcast(world, podcast_guid="5d3a9d0c-0d4c-5f2a-9a53-0c1f6f0f5a11")
                nameless = await podcast(world)
            told.append([await identity(client, room) for room in (named, nameless)])
    told[2] = [(guid, [(item, path.removeprefix("/below"), date) for item, path, date in items])
               for guid, items in told[2]]  # fmt: skip
    assert told[0] == told[1] == told[2]
    assert told[0][0][0] == "5d3a9d0c-0d4c-5f2a-9a53-0c1f6f0f5a11"
