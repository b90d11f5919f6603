"""A channel and its items as RSS 2.0 that Apple, Spotify and podcast apps take. Pure, byte-stable.

Nothing in it depends on the hour, the locale or the order of a set: the same channel gives the same bytes, or
no reader would ever be told 304.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.feeds.model import Channel, Item
from bot.feeds.podcast_namespace import PodcastChannel, PodcastItem, feedgen
from bot.feeds.text import clean_line, escaped, paragraphs
from bot.feeds.titles import NAMELESS_ROOM, speaker

GENERATOR = "Aircheck"


def render(channel: Channel, items: Sequence[Item]) -> bytes:
    """The feed as UTF-8, newest item first. Items may come in any order and at the same second."""
    title = clean_line(channel.title) or NAMELESS_ROOM
    feed = feedgen.feed.FeedGenerator()
    feed.register_extension("podcast", PodcastChannel, PodcastItem)
    feed.title(title)
    feed.description(title)  # feedgen wants one; the extension puts the real one in its place
    feed.language(channel.language)
    feed.generator(GENERATOR)
    feed.image(url=channel.cover, title=title, link=channel.page)
    feed.link(href=channel.address, rel="self", type="application/rss+xml")
    feed.link(href=channel.page, rel="alternate")  # the last one becomes the channel's <link>
    # feedgen would write the moment of this call, by way of the process's locale; the extension writes the date.
    setattr(feed, "_FeedGenerator__rss_lastBuildDate", None)  # noqa: B010  mypy knows no mangled names
    feed.podcast.channel = channel
    feed.podcast.author = clean_line(channel.author) or title
    # Without markup: most apps show a channel's description as it stands.
    feed.podcast.html = escaped(channel.description) or escaped(title)
    for item, published_at in dated(items):
        _add_item(feed.add_entry(order="append"), item, published_at)
    written: bytes = feed.rss_str(pretty=False)
    return written


def _add_item(entry: Any, item: Item, published_at: datetime) -> None:
    entry.title(clean_line(item.title) or speaker(item.speaker))
    entry.link(href=item.page)
    entry.guid(item.guid, permalink=False)
    entry.content(paragraphs(item.description) or paragraphs(item.title), type="CDATA")
    entry.enclosure(item.audio, item.bytes, "audio/mpeg")
    entry.podcast.item = item
    entry.podcast.speaker = speaker(item.speaker)
    entry.podcast.published_at = published_at


def dated(items: Sequence[Item]) -> list[tuple[Item, datetime]]:
    """Newest first, each with its pubDate: whole seconds, no two the same, so that every app sorts them alike."""
    given: list[tuple[Item, datetime]] = []
    for item in sorted(items, key=lambda one: (one.started_at, one.number)):
        moment = item.started_at.astimezone(UTC).replace(microsecond=0)
        if given and moment <= given[-1][1]:
            moment = given[-1][1] + timedelta(seconds=1)
        given.append((item, moment))
    return given[::-1]
