"""A podcast app's reading of right and wrong feeds."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.demo.listener import Enclosure, FeedError, enclosures, listen, subscribe

FEED = b"""<?xml version="1.0"?><rss version="2.0"><channel><title>T</title>
<item><title>Second</title><enclosure url="http://h/2.mp3" length="5" type="audio/mpeg"/></item>
<item><title>First</title><enclosure url="http://h/1.mp3" length="7" type="audio/mpeg"/></item>
<item><title>Text only</title></item></channel></rss>"""

Serve = Callable[[dict[str, bytes]], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """`await serve({path: body})` gives the address of a server that has only these."""
    started: list[TestServer] = []

    async def start(files: dict[str, bytes]) -> str:
        async def answer(request: web.Request) -> web.Response:
            body = files.get(request.path)
            return web.Response(status=404) if body is None else web.Response(body=body)

        application = web.Application()
        application.router.add_get("/{path:.*}", answer)
        server = TestServer(application)
        await server.start_server()
        started.append(server)
        return str(server.make_url("")).rstrip("/")

    yield start
    for server in started:
        await server.close()


def test_a_feed_lists_its_enclosures() -> None:
    """Enclosures come in the feed's order, items without one are passed over."""
    assert enclosures(FEED) == [
        Enclosure("http://h/2.mp3", 5, "audio/mpeg", "Second"),
        Enclosure("http://h/1.mp3", 7, "audio/mpeg", "First"),
    ]


@pytest.mark.parametrize("feed", [b"", b"<html>", FEED.replace(b'length="5"', b'length="five"')])
def test_a_broken_feed(feed: bytes) -> None:
    """A document that is not a feed is an error with a sentence."""
    with pytest.raises(FeedError):
        enclosures(feed)


def test_a_feed_can_not_read_local_files() -> None:
    """An entity that names a file is not resolved."""
    evil = b'<!DOCTYPE rss [<!ENTITY f SYSTEM "file:///etc/hostname">]><rss><item><title>&f;</title>'
    evil += b'<enclosure url="u" length="1" type="audio/mpeg"/></item></rss>'
    assert [found.title for found in enclosures(evil)] == [""]


async def test_an_episode_is_downloaded_whole(serve: Serve) -> None:
    """The bytes of the enclosure are given when there are as many as announced."""
    address = await serve({"/feed.xml": FEED.replace(b"http://h/2.mp3", b"HERE"), "/2.mp3": b"sound"})
    first = (await subscribe(f"{address}/feed.xml"))[0]
    assert first.url == "HERE"
    assert await listen(Enclosure(f"{address}/2.mp3", 5, "audio/mpeg", "")) == b"sound"


@pytest.mark.parametrize(
    ("enclosure", "sentence"),
    [
        (Enclosure("{}/2.mp3", 6, "audio/mpeg", ""), "the episode has 5 bytes, the feed says 6"),
        (Enclosure("{}/2.mp3", 5, "audio/ogg", ""), "the episode is audio/ogg, not audio/mpeg"),
        (Enclosure("{}/3.mp3", 5, "audio/mpeg", ""), "the web server answered 404"),
        (Enclosure("http://127.0.0.1:9/3.mp3", 5, "audio/mpeg", ""), "the web server can't be reached"),
    ],
)
async def test_an_episode_that_is_not_as_announced(serve: Serve, enclosure: Enclosure, sentence: str) -> None:
    """An episode that differs from its announcement is an error with a sentence."""
    address = await serve({"/2.mp3": b"sound"})
    url = enclosure.url.replace("{}", address)
    with pytest.raises(FeedError, match=sentence):
        await listen(Enclosure(url, enclosure.length, enclosure.mimetype, ""))
