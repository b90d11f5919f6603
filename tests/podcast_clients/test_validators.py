"""Our feeds in the eyes of feedvalidator (W3C) and of podcast-partytime (the parser of the Podcast Index)."""

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from hashlib import sha384
from pathlib import Path
from typing import Any
from urllib.parse import urljoin
from uuid import UUID

import pytest
from aiohttp import ClientSession

from storage.records import RoomId
from tests.podcast_clients.programs import FOLDER, PROGRAMS, installed
from tests.podcast_clients.station import Station, on_the_air

pytestmark = pytest.mark.podcasts

WITHIN_S = 60.0
FEEDVALIDATOR = PROGRAMS / "feedvalidator" / "src"
PYTHON = PROGRAMS / "venv" / "bin" / "python"
PARTYTIME = FOLDER / "node_modules" / "podcast-partytime"
LINKED = re.compile(r'href="([^"]+\.xml)"')

NO_NAMESPACE = "children of podcast:liveItem are RSS elements, as the namespace wants; this validator knows no liveItem"
FALSE_ALARMS = {
    ("NotInANamespace", "title", "unknown_liveItem"): NO_NAMESPACE,
    ("NotInANamespace", "link", "unknown_liveItem"): NO_NAMESPACE,
    ("NotInANamespace", "description", "unknown_liveItem"): NO_NAMESPACE,
    ("NotInANamespace", "guid", "unknown_liveItem"): NO_NAMESPACE,
    ("NotInANamespace", "pubDate", "unknown_liveItem"): NO_NAMESPACE,
    ("NotInANamespace", "enclosure", "unknown_liveItem"): NO_NAMESPACE,
}
"""Events of feedvalidator (name, element, parent) that are no fault of ours, with the reason."""
IN_PRIVATE_FEEDS = {
    ("MissingItunesEmail", "itunes:email", "channel"): "directories refuse a feed without an owner: so it is meant",
}


@asynccontextmanager
async def a_full_station(directory: Path) -> AsyncIterator[tuple[Station, RoomId, str]]:
    """Make a public room with a broadcast, a session with chapters, a long archive and something live."""
    about = {"email": "owner@example.org", "author": "The kitchen"}
    async with on_the_air(directory, feeds=about) as station:
        room = await station.room()
        feed = await station.publish(room)
        await station.replay.ask(room, "!aircheck record messages on")
        await station.session(room)
        first = await station.broadcast(room, 12)
        await station.fill(first, 110)
        await station.go_live(room)
        yield station, room, feed


async def read(address: str) -> bytes:
    async with ClientSession() as http, http.get(address) as answer:
        assert answer.status == 200, address
        return await answer.read()


async def every_feed(station: Station, feed: str) -> dict[str, bytes]:
    """Return all public feeds by their addresses: those that pages and feeds link to."""
    waiting, feeds = [f"{station.address}/", feed.removesuffix("feed.xml"), feed], dict[str, bytes]()
    while waiting:
        address = waiting.pop()
        body = await read(address)
        if address.endswith(".xml"):
            feeds[address] = body
        found = {urljoin(address, link) for link in LINKED.findall(body.decode())}
        ours = {link for link in found if link.startswith(f"{station.address}/")}
        waiting += ours - feeds.keys() - set(waiting)
    return feeds


async def output(*command: str | Path, given: bytes, **environment: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=environment or None
    )
    try:
        async with asyncio.timeout(WITHIN_S):
            out, _ = await process.communicate(given)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0
    return out


async def faults(address: str, body: bytes, known: Iterable[tuple[str, str, str]]) -> list[dict[str, Any]]:
    """Return the events of feedvalidator that are not known."""
    if not (FEEDVALIDATOR.exists() and PYTHON.exists()):
        pytest.skip("LEFT OUT: feedvalidator not installed")
    command = (PYTHON, "-W", "ignore", FOLDER / "validate.py", address)
    events = json.loads(await output(*command, given=body, PYTHONPATH=str(FEEDVALIDATOR)))
    return [event for event in events if (event["event"], event["element"], event["parent"]) not in known]


async def understood(body: bytes) -> dict[str, Any]:
    """Return what podcast-partytime reads in a feed."""
    node = installed("node")
    if node is None or not PARTYTIME.exists():
        pytest.skip("LEFT OUT: podcast-partytime not installed")
    read: dict[str, Any] = json.loads(await output(node, FOLDER / "partytime.js", given=body))
    return read


async def test_feedvalidator_finds_nothing_in_public_feeds(tmp_path: Path) -> None:
    """Feeds of rooms, of speakers and of the server, and archive documents: no event but the listed false alarms."""
    async with a_full_station(tmp_path / "data") as (station, _, feed):
        feeds = await every_feed(station, feed)
        assert len(feeds) >= 4
        found = {address: await faults(address, body, FALSE_ALARMS) for address, body in feeds.items()}
        assert not any(found.values()), found


async def test_feedvalidator_finds_nothing_in_a_private_feed(station: Station) -> None:
    """A personal feed has no event but that it names no owner, as is meant."""
    room = await station.room()
    await station.broadcast(room)
    feed = await station.personal_feed(room)
    assert await faults(feed, await read(feed), FALSE_ALARMS | IN_PRIVATE_FEEDS) == []


async def test_no_false_alarm_is_listed_in_vain(tmp_path: Path) -> None:
    """Each listed false alarm is still given for a feed with something live in it."""
    async with a_full_station(tmp_path / "data") as (_, _, feed):
        events = await faults(feed, await read(feed), {})
    assert {(event["event"], event["element"], event["parent"]) for event in events} == set(FALSE_ALARMS)


async def test_partytime_understands_what_is_written_for_it(tmp_path: Path) -> None:
    """The elements of Podcasting 2.0 are read as they were meant."""
    async with a_full_station(tmp_path / "data") as (_, _, feed):
        told = await understood(await read(feed))
        archive = await understood(await read(told["pubsub"]["next"]))
        room = feed.removesuffix("feed.xml")
        (live,) = told["podcastLiveItems"]
        session, first = archive["items"][-1], archive["items"][-2]
        (original,) = first["alternativeEnclosures"]
        sound = await read(original["source"][0]["uri"])
    assert UUID(told["guid"]).version == 5
    assert told["guid"] == archive["guid"]
    assert (told["locked"], told["podcastOwner"], told["medium"]) == (True, "owner@example.org", "podcast")
    assert live["status"] == "live"
    assert live["enclosure"]["url"].endswith(".m3u8")
    sources = [each["source"][0]["uri"].rpartition("/")[2] for each in live["alternativeEnclosures"]]
    assert [source.partition(".")[2] for source in sources] == ["m3u8", "mp3"]
    assert live["contentLinks"][0]["url"].startswith(room)
    assert [person["name"] for person in session["podcastPeople"]] == ["Alice", "Carol"]
    assert session["podcastChapters"]["type"] == "application/json+chapters"
    assert first["podcastPeople"][0]["role"] == "Host"
    assert original["type"] == "audio/ogg"
    assert len(sound) == original["length"]
    digest = b64encode(sha384(sound).digest()).decode()
    assert original["integrity"] == {"type": "sri", "value": f"sha384-{digest}"}
