"""A healed episode, as a podcast app sees it that has downloaded it before."""

import io
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
from aiohttp import ClientSession
from mutagen.id3 import ID3

from bot.settings import validate
from bot.web.server import WebServer
from storage import rooms
from storage.records import RecordingState, Visibility
from tests.world import ROOM, World, chunk, info, world_of

ITUNES = "{http://www.itunes.com/dtds/podcast-1.0.dtd}"


@dataclass
class Listened:
    """A podcast app's data of the episode: the item and the validators of feed and file."""

    guid: str
    address: str
    length: int
    seconds: int
    notes: str
    feed_tag: str
    feed_date: str
    audio: bytes
    tag: str
    date: str


class Listener:
    """A podcast app that downloads and resumes."""

    def __init__(self, http: ClientSession, feed: str) -> None:
        self.http = http
        self.feed = feed

    async def listen(self) -> Listened:
        async with self.http.get(self.feed) as answer:
            (item,) = ElementTree.fromstring(await answer.text()).iter("item")  # noqa: S314  our own
            feed_tag, feed_date = answer.headers["ETag"], answer.headers["Last-Modified"]
        enclosure = item.find("enclosure")
        assert enclosure is not None
        async with self.http.get(enclosure.attrib["url"]) as answer:
            assert answer.status == 200
            return Listened(
                guid=item.findtext("guid") or "",
                address=enclosure.attrib["url"],
                length=int(enclosure.attrib["length"]),
                seconds=int(item.findtext(f"{ITUNES}duration") or 0),
                notes=item.findtext("description") or "",
                feed_tag=feed_tag,
                feed_date=feed_date,
                audio=await answer.read(),
                tag=answer.headers["ETag"],
                date=answer.headers["Last-Modified"],
            )


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Make Alice's room public without a delay."""
    async with world_of(tmp_path / "data", feeds={"hold_incomplete_s": 0}) as made:
        await made.join()
        async with made.store.write() as db:
            room = await rooms.room(db, ROOM)
            assert room is not None
            await rooms.save_room(db, replace(room, visibility=Visibility.PUBLIC))
        yield made


@pytest.fixture
async def listener(world: World) -> AsyncIterator[Listener]:
    async with world.store.read() as db:
        room = await rooms.room(db, ROOM)
    assert room is not None
    matrix = {"homeserver": "https://hs", "user_id": "@bot:hs"}
    server = WebServer(world.store, validate({"matrix": matrix, "web": {"port": 0}}), lambda: True)
    await server.start()
    async with ClientSession() as http:
        yield Listener(http, f"{server.address}/r/{room.key}/feed.xml")
    await server.stop()


async def broken(world: World) -> None:
    """Record a broadcast of four chunks without the second and the last, and wait out the quiet period."""
    said = [chunk("$c1", 1), chunk("$c3", 3)]
    await world.begin(*said, info("$stop", "stopped", last_chunk_sequence=4))
    await world.work()
    world.clock.pass_by(61)
    await world.work()
    assert (await world.recording()).state is RecordingState.INCOMPLETE


async def heal(world: World) -> None:
    world.clock.pass_by(5)
    await world.hear(chunk("$c2", 2), chunk("$c4", 4))
    await world.work()
    assert (await world.recording()).state is RecordingState.COMPLETE


def chapters(audio: bytes) -> list[tuple[int, str]]:
    found = ID3(io.BytesIO(audio)).getall("CHAP")
    return sorted((chapter.start_time, str(chapter.sub_frames["TIT2"])) for chapter in found)


async def test_it_is_the_same_episode_with_more_in_it(world: World, listener: Listener) -> None:
    """After healing GUID and address stay; length, duration, entity tag and date are the new file's."""
    await broken(world)
    before = await listener.listen()
    await heal(world)
    after = await listener.listen()
    assert (after.guid, after.address) == (before.guid, before.address)
    assert (before.seconds, after.seconds) == (3, 4)
    for heard in (before, after):
        assert heard.length == len(heard.audio)
        assert heard.tag != heard.feed_tag
    assert after.length != before.length
    assert after.tag != before.tag
    assert after.feed_tag != before.feed_tag
    for new, old in ((after.date, before.date), (after.feed_date, before.feed_date)):
        assert parsedate_to_datetime(new) > parsedate_to_datetime(old)
    for known in ({"If-None-Match": before.feed_tag}, {"If-Modified-Since": before.feed_date}):
        async with listener.http.get(listener.feed, headers=known) as answer:
            assert answer.status == 200


async def test_what_is_missing_is_told_until_it_is_there(world: World, listener: Listener) -> None:
    """Missing sound is told in show notes, a comment and a chapter; after healing nothing mentions it."""
    await broken(world)
    before = await listener.listen()
    assert re.match("<p>1 s missing at 0:01, its end is missing</p><p>", before.notes)
    assert chapters(before.audio) == [(0, "Beginning"), (1000, "1 s missing"), (2000, "Resumed")]
    assert [str(one) for one in ID3(io.BytesIO(before.audio)).getall("COMM")] == ["1 s missing at 0:01"]
    await heal(world)
    after = await listener.listen()
    assert "missing" not in after.notes
    assert chapters(after.audio) == []
    assert [str(one) for one in ID3(io.BytesIO(after.audio)).getall("COMM")] == ["no gaps"]


@pytest.mark.parametrize("validator", ["tag", "date"])
async def test_who_resumes_gets_no_splice(world: World, listener: Listener, validator: str) -> None:
    """A download resumed after the healing starts over with the new file."""
    await broken(world)
    before = await listener.listen()
    half = len(before.audio) // 2
    async with listener.http.get(before.address, headers={"Range": f"bytes=0-{half - 1}"}) as answer:
        assert answer.status == 206
        assert await answer.read() == before.audio[:half]
    await heal(world)
    asked = {"Range": f"bytes={half}-", "If-Range": getattr(before, validator)}
    async with listener.http.get(before.address, headers=asked) as answer:
        assert answer.status == 200
        got, tag = await answer.read(), answer.headers["ETag"]
    after = await listener.listen()
    assert (got, tag) == (after.audio, after.tag)
    async with listener.http.get(before.address, headers={"Range": f"bytes={half}-", "If-Match": before.tag}) as answer:
        assert answer.status == 412


async def test_what_is_under_way_stays_what_it_was(world: World, listener: Listener) -> None:
    """A download that began before the healing ends with the old file."""
    await broken(world)
    before = await listener.listen()
    async with listener.http.get(before.address) as answer:
        first = await answer.content.readexactly(100)
        await heal(world)
        assert first + await answer.read() == before.audio
    assert (await listener.listen()).audio != before.audio
