"""A change of `web.public_url`: feeds at the earlier address lead to the new one, everything else stays."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from bot.web.moves import leads, place_of
from storage.records import Visibility
from tests.web.world import ALICE, World, world_of

PLAIN = {"Accept-Encoding": "identity"}


@asynccontextmanager
async def served_at(directory: Path, url: str, **web: Any) -> AsyncIterator[tuple[World, ClientSession]]:
    async with world_of(directory, web={"port": 0, "public_url": url, **web}) as both:
        yield both


async def asked(client: ClientSession, path: str, **headers: str) -> tuple[int, str | None, str]:
    """Return status, location and body of a request that names these headers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.get(path, headers={**PLAIN, **named}, allow_redirects=False) as answer:
        return answer.status, answer.headers.get("Location"), (await answer.read()).decode("utf-8", "replace")


async def test_feeds_lead_to_the_new_address(tmp_path: Path) -> None:
    """A feed that is asked for by an earlier address is moved for good, whoever's it is; sound and pages are not."""
    async with served_at(tmp_path, "https://one.example") as (world, client):
        room = await world.room(visibility=Visibility.PUBLIC)
        recording = await world.recording(room)
        await world.episode(recording, b"sound")
        await world.member(room, ALICE)
        token = await world.listener(room, ALICE)
        status, _, before = await asked(client, f"/r/{room.key}/feed.xml", Host="one.example")
        assert status == 200
        assert "new-feed-url" not in before
    async with served_at(tmp_path, "https://two.example") as (world, client):
        feeds = (f"/r/{room.key}/feed.xml", f"/p/{token}/feed.xml", f"/r/{room.key}/feed-1-1.xml")
        for path in (*feeds, f"/r/{room.key}/speaker-0123456789abcdef.xml", f"/p/{token[::-1]}/feed.xml"):
            for host in ("one.example", "ONE.example:443", "one.example:80"):
                assert (await asked(client, path, Host=host))[:2] == (301, f"https://two.example{path}")
        for path in (f"/r/{room.key}/{recording.code}.mp3", f"/r/{room.key}/", "/healthz"):
            assert (await asked(client, path, Host="one.example"))[0] == 200
        for host in ("two.example", "TWO.example:443", "other.example", f"127.0.0.1:{world.server.port}"):
            for path in feeds[:2]:
                status, _, body = await asked(client, path, Host=host)
                assert status == 200
                root = path.removesuffix("feed.xml")
                assert f"<itunes:new-feed-url>https://two.example{root}feed.xml</itunes:new-feed-url>" in body
                assert f'"https://two.example{root}{recording.code}.mp3"' in body
                assert "one.example" not in body
    async with served_at(tmp_path, "https://one.example") as (_, client):  # and back
        assert (await asked(client, feeds[0], Host="one.example"))[0] == 200
        assert (await asked(client, feeds[0], Host="two.example"))[:2] == (301, f"https://one.example{feeds[0]}")


async def test_proxies_tell_what_was_asked(tmp_path: Path) -> None:
    """The address that a trusted proxy tells counts, its scheme too; of others only the Host does."""
    for url in ("http://one.example", "https://two.example"):
        async with served_at(tmp_path, url) as (world, _):
            room = await world.room(visibility=Visibility.PUBLIC)
    path = f"/r/{room.key}/feed.xml"
    told = {"X_Forwarded_Host": "one.example", "X_Forwarded_Proto": "http"}
    async with served_at(tmp_path, "https://one.example", trusted_proxies=["127.0.0.1"]) as (_, client):
        assert (await asked(client, path, **told))[:2] == (301, f"https://one.example{path}")
        assert (await asked(client, path, **{**told, "X_Forwarded_Proto": "https"}))[0] == 200
        assert (await asked(client, path, Host="one.example"))[0] == 200  # nobody knows the scheme
        assert (await asked(client, path, X_Forwarded_Host="two.example"))[0] == 301
    async with served_at(tmp_path, "https://one.example") as (_, client):
        assert (await asked(client, path, X_Forwarded_Host="two.example"))[0] == 200
        assert (await asked(client, path, **told))[0] == 200


async def test_path_of_a_request_is_never_a_header(tmp_path: Path) -> None:
    """Only paths that a feed can have are put into a redirect."""
    for url in ("https://one.example", "https://two.example"):
        async with served_at(tmp_path, url) as (_, client):
            if url == "https://two.example":
                for path in ("/r/a%0d%0aX-Evil:%201/feed.xml", "/r/key/x%2f..%2ffeed.xml"):
                    assert (await asked(client, path, Host="one.example"))[0] == 404


@pytest.mark.parametrize(
    ("earlier", "present", "said", "led"),
    [
        ("https://one.example", "https://two.example", True, True),
        ("https://one.example", "https://one.example/radio", True, True),
        ("https://one.example", "https://one.example", True, False),
        # A proxy may send its own address of this server: the redirect would come back for ever.
        ("http://127.0.0.1:8040", "https://two.example", True, False),
        ("http://aircheck:8040", "https://two.example", True, False),
        ("http://[::1]:8040", "https://two.example", True, False),
        ("http://pods.lan", "https://two.example", True, False),
        ("http://127.0.0.1:8040", "http://localhost:8040", False, True),
        # A start without the setting must not take the apps of the world to their own machines.
        ("https://one.example", "http://127.0.0.1:8040", False, False),
        ("https://one.example", "http://10.0.0.1", True, True),
    ],
)
def test_where_addresses_lead(earlier: str, present: str, said: bool, led: bool) -> None:
    """Feeds follow a move, but never out of the network nor into it by accident."""
    assert leads(earlier, present, said=said) is led


def test_port_of_the_scheme_makes_no_difference() -> None:
    """Hosts are compared without the port that is meant anyway."""
    assert place_of("https://One.example:443/x") == place_of("https://one.example")
    assert place_of("https://one.example:8443") != place_of("https://one.example")
