"""Podcast programs of other people subscribe, download, look again, and stop when they may not."""

from hashlib import sha256
from pathlib import Path

import pytest

from tests.podcast_clients.conftest import needed
from tests.podcast_clients.programs import Gpodder, Program
from tests.podcast_clients.station import Broadcast, Station

pytestmark = pytest.mark.podcasts


def hashes(program: Program) -> list[str]:
    """Return the SHA-256 of each episode that the program keeps."""
    return sorted(sha256(data).hexdigest() for data in program.episodes().values())


def of(*broadcasts: Broadcast) -> list[str]:
    return sorted(broadcast.sha256 for broadcast in broadcasts)


async def test_episodes_are_downloaded_to_the_byte(station: Station, program: Program) -> None:
    """Each episode arrives as it is on the disk, and nothing else does."""
    room = await station.room()
    feed = await station.publish(room)
    first, second = await station.broadcast(room), await station.broadcast(room)
    await program.subscribe(feed)
    assert hashes(program) == of(first, second), program.said


async def test_what_is_new_is_downloaded_once(station: Station, program: Program) -> None:
    """A new episode is downloaded at the next look; a title that changed has nothing downloaded again."""
    room = await station.room()
    feed = await station.publish(room)
    first = await station.broadcast(room)
    await program.subscribe(feed)
    await station.rename(first, "Soup, and what to do with the rest of it")
    second = await station.broadcast(room)
    await program.update()
    assert hashes(program) == of(first, second), program.said


async def test_what_did_not_change_is_not_sent_again(station: Station, program: Program) -> None:
    """A program that asks conditionally is told that nothing changed; the others download no sound again."""
    room = await station.room()
    feed = await station.publish(room)
    await station.broadcast(room)
    await program.subscribe(feed)
    await program.update()  # newsboat notes the tag of a feed that it knows already
    station.gate.asked.clear()
    await program.update()
    looks = station.gate.of("feed.xml")
    assert len(looks) == 1
    conditional = {"If-None-Match", "If-Modified-Since"} & looks[0].headers.keys()
    assert bool(conditional) is program.asks_conditionally
    assert looks[0].status == (304 if conditional else 200)
    assert program.looks_into_sound or not station.gate.of(".mp3")


async def test_a_personal_address_is_enough(station: Station, program: Program) -> None:
    """A private room's podcast needs nothing but the listener's own address, for the feed and for its sound."""
    room = await station.room()
    first = await station.broadcast(room)
    await program.subscribe(await station.personal_feed(room))
    assert hashes(program) == of(first), program.said
    assert all(asked.path.startswith("/p/") for asked in station.gate.asked)


async def test_who_left_hears_nothing_more(station: Station, program: Program) -> None:
    """When a listener left the room, the program gets nothing new and keeps no error message as an episode."""
    room = await station.room()
    first = await station.broadcast(room)
    feed = await station.personal_feed(room)
    await program.subscribe(feed)
    await station.broadcast(room)
    await station.leave(room)
    station.gate.asked.clear()
    await program.update()
    assert {410} == set(station.gate.statuses("feed.xml")), program.said
    assert hashes(program) == of(first), program.said


async def test_what_is_live_keeps_no_program_waiting(station: Station, program: Program) -> None:
    """While somebody speaks, programs take the episodes and come to an end."""
    room = await station.room()
    feed = await station.publish(room)
    first = await station.broadcast(room)
    await station.go_live(room)
    await program.subscribe(feed)
    assert first.sha256 in hashes(program), program.said
    assert all(asked.over for asked in station.gate.asked)


async def test_a_moved_podcast_is_followed(station: Station, program: Program) -> None:
    """After `web.public_url` changed, who asks at the old address is led to the new one and downloads nothing twice."""
    room = await station.room()
    feed = await station.publish(room)
    first = await station.broadcast(room)
    await program.subscribe(feed)
    before = station.address
    await station.move()
    second = await station.broadcast(room)
    station.gate.asked.clear()
    await program.update()
    looks = station.gate.of("feed.xml")
    assert [asked.status for asked in looks][:2] == [301, 200], program.said
    assert looks[0].headers["Host"] == before.removeprefix("http://")
    assert second.sha256 in hashes(program), program.said
    assert set(hashes(program)) == set(of(first, second))


async def test_gpodder_walks_the_archive(station: Station, tmp_path: Path) -> None:
    """gPodder follows the links of a long feed to its end, and knows each episode once."""
    room = await station.room()
    feed = await station.publish(room)
    first = await station.broadcast(room)
    await station.fill(first, 129)
    needed("gpo")
    gpodder = Gpodder(tmp_path / "home")
    await gpodder.run("gpo", "subscribe", feed)
    listed = await gpodder.run("gpo", "episodes", feed)
    assert "Part 129" in listed
    assert "Alice, 20 November 2026" in listed
    pages = [asked.path for asked in station.gate.asked if asked.path.endswith(".xml")]
    assert len(pages) == len(set(pages)) > 1
