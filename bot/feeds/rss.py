"""A channel and its items as RSS 2.0 that Apple, Spotify and podcast apps accept. Pure, byte-stable.

Nothing in it depends on the time, the locale or the order of a set: unless the same channel gives the same bytes,
no client ever gets a 304.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.feeds.model import Channel, Item
from bot.feeds.mxids import SOMEBODY
from bot.feeds.podcast_namespace import PodcastChannel, PodcastItem, feedgen
from bot.feeds.text import clean_line, escaped, paragraphs
from bot.feeds.titles import NAMELESS_ROOM, speaker

GENERATOR = "Aircheck"


def render(channel: Channel, items: Sequence[Item]) -> bytes:
    """Render a feed as UTF-8, newest item first. Items may come in any order, several in the same second."""
    title = clean_line(channel.title) or NAMELESS_ROOM
    feed = feedgen.feed.FeedGenerator()
    feed.register_extension("podcast", PodcastChannel, PodcastItem)
    feed.title(title)
    feed.description(title)  # feedgen requires one; the extension replaces it
    feed.language(channel.language)
    feed.generator(GENERATOR)
    feed.image(url=channel.cover, title=title, link=channel.page)
    feed.link(href=channel.address, rel="self", type="application/rss+xml")
    feed.link(href=channel.page, rel="alternate")  # the last one becomes the channel's <link>
    # feedgen would write the time of this call, in the process's locale; the extension writes the date.
    setattr(feed, "_FeedGenerator__rss_lastBuildDate", None)  # noqa: B010  mypy knows no mangled names
    feed.podcast.channel = channel
    feed.podcast.author = clean_line(channel.author) or title
    # Without markup: most apps show the tags of a channel's description as text.
    feed.podcast.html = escaped(channel.description) or escaped(title)
    for item, published_at in dated(items):
        _add_item(feed.add_entry(order="append"), item, published_at)
    written: bytes = feed.rss_str(pretty=False)
    return written


def _add_item(entry: Any, item: Item, published_at: datetime) -> None:
    speakers = clean_line(item.speakers) or SOMEBODY
    entry.title(clean_line(item.title) or speakers)
    entry.link(href=item.page)
    entry.guid(item.guid, permalink=False)
    entry.content(paragraphs(item.description) or paragraphs(item.title), type="CDATA")
    entry.enclosure(item.audio, item.bytes, "audio/mpeg")
    entry.podcast.item = item
    entry.podcast.speakers = speakers
    entry.podcast.persons = tuple(map(speaker, item.persons))
    entry.podcast.published_at = published_at


def dated(items: Sequence[Item]) -> list[tuple[Item, datetime]]:
    """Give each item its pubDate, newest first: whole seconds, no two the same, so that every app sorts alike."""
    oldest_first: list[tuple[Item, datetime]] = []
    for item in sorted(items, key=lambda item: (item.started_at, item.number)):
        moment = item.started_at.astimezone(UTC).replace(microsecond=0)
        if oldest_first and moment <= oldest_first[-1][1]:
            moment = oldest_first[-1][1] + timedelta(seconds=1)
        oldest_first.append((item, moment))
    return oldest_first[::-1]
