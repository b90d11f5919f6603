"""A podcast app: reads the feed, downloads the episode."""

import json
from dataclasses import dataclass

import aiohttp
from lxml import etree

from bot.errors import AircheckError
from bot.feeds.namespaces import PODCAST

FEED_LIMIT_S = 30


class FeedError(AircheckError):
    """A feed or an episode that a podcast app can't use; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Enclosure:
    url: str
    length: int  # bytes, as the feed says
    mimetype: str
    title: str
    chapters: str | None = None  # address


def enclosures(feed: bytes) -> list[Enclosure]:
    """List the enclosures of an RSS feed in its order. Raises FeedError."""
    try:
        root = etree.fromstring(feed, etree.XMLParser(resolve_entities=False, no_network=True))
    except etree.XMLSyntaxError:
        raise FeedError("the feed is not XML") from None
    listed = []
    for item in root.iter("item"):
        for enclosure in item.iter("enclosure"):
            try:
                length = int(enclosure.get("length", ""))
            except ValueError:
                raise FeedError("an enclosure of the feed has no length") from None
            title, chapters = item.findtext("title") or "", item.find(f"{{{PODCAST}}}chapters")
            address = None if chapters is None else chapters.get("url")
            listed.append(Enclosure(enclosure.get("url", ""), length, enclosure.get("type", ""), title, address))
    return listed


async def subscribe(feed_url: str) -> list[Enclosure]:
    """Read the feed at this address. Raises FeedError."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=FEED_LIMIT_S)) as http:
        return enclosures(await _get(http, feed_url))


async def listen(enclosure: Enclosure) -> bytes:
    """Download the whole episode. Raises FeedError when it is not what the feed announced."""
    if enclosure.mimetype != "audio/mpeg":
        raise FeedError(f"the episode is {enclosure.mimetype}, not audio/mpeg")
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=FEED_LIMIT_S)) as http:
        audio = await _get(http, enclosure.url)
    if len(audio) != enclosure.length:
        raise FeedError(f"the episode has {len(audio)} bytes, the feed says {enclosure.length}")
    return audio


async def chapters_of(enclosure: Enclosure) -> list[tuple[float, str]]:
    """Read the chapters that the feed names: where each begins, in seconds, and its title. Raises FeedError."""
    if enclosure.chapters is None:
        return []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=FEED_LIMIT_S)) as http:
        told = json.loads(await _get(http, enclosure.chapters))
    return [(chapter["startTime"], chapter["title"]) for chapter in told["chapters"]]


async def _get(http: aiohttp.ClientSession, url: str) -> bytes:
    try:
        async with http.get(url) as answer:
            if answer.status != 200:
                raise FeedError(f"the web server answered {answer.status}")
            return await answer.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise FeedError(f"the web server can't be reached ({type(error).__name__})") from None
