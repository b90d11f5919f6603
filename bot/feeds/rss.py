"""A channel and its items as RSS 2.0 that Apple, Spotify and podcast apps accept. Pure, byte-stable.

Nothing in it depends on the time, the locale or the order of a set: unless the same channel gives the same bytes,
no client ever gets a 304.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bot.feeds.model import Alternate, Channel, Item, LiveItem, Person
from bot.feeds.mxids import SOMEBODY
from bot.feeds.podcast_namespace import MP3, PodcastChannel, PodcastItem, feedgen
from bot.feeds.text import DESCRIPTION_BYTES, clean_line, paragraphs, plain
from bot.feeds.titles import NAMELESS_ROOM, speaker

GENERATOR = "Aircheck"
NOTES_BYTES = 32_768
"""Longest show notes in full, markup included."""


def render(channel: Channel, items: Sequence[Item]) -> bytes:
    """Render a feed as UTF-8, newest item first. Items may come in any order, several in the same second."""
    title = _line(channel.title) or NAMELESS_ROOM
    feed = feedgen.feed.FeedGenerator()
    feed.register_extension("podcast", PodcastChannel, PodcastItem)
    feed.title(title)
    feed.description(plain(channel.description) or title)
    feed.language(channel.language)
    feed.generator(GENERATOR)
    feed.image(url=channel.cover, title=title, link=channel.page)
    feed.link(href=channel.address, rel="self", type="application/rss+xml")
    feed.link(href=channel.page, rel="alternate")  # the last one becomes the channel's <link>
    # feedgen would write the time of this call, in the process's locale; the extension writes the date.
    setattr(feed, "_FeedGenerator__rss_lastBuildDate", None)  # noqa: B010  mypy knows no mangled names
    feed.podcast.channel = channel
    feed.podcast.author = _line(channel.author) or title
    feed.podcast.live = tuple(map(_live, channel.live))
    for item in sorted(items, key=lambda item: (item.started_at, item.number), reverse=True):
        _add_item(feed.add_entry(order="append"), item)
    written: bytes = feed.rss_str(pretty=False)
    return written


def _add_item(entry: Any, item: Item) -> None:
    speakers = _line(item.speakers) or SOMEBODY
    entry.title(_line(item.title) or speakers)
    entry.link(href=item.page)
    entry.guid(item.guid, permalink=False)
    entry.content(_described(item), type="CDATA")
    entry.enclosure(item.audio, item.bytes, MP3)
    entry.podcast.item = item
    entry.podcast.speakers = speakers
    entry.podcast.persons = _persons(item.persons)
    entry.podcast.alternates = tuple(map(_alternate, item.alternates))
    entry.podcast.notes = _described(item, NOTES_BYTES)


def _live(item: LiveItem) -> LiveItem:
    """Clean the texts of a live item; its description becomes HTML."""
    speakers = _line(item.speakers) or SOMEBODY
    return replace(
        item,
        title=_line(item.title) or speakers,
        description=_described(item),
        speakers=speakers,
        persons=_persons(item.persons),
        alternates=tuple(map(_alternate, item.alternates)),
    )


def _line(text: str) -> str:
    return clean_line(text, isolates=True)


def _described(item: Item | LiveItem, budget: int = DESCRIPTION_BYTES) -> str:
    return paragraphs(item.description, budget) or paragraphs(item.title) or paragraphs(SOMEBODY)


def _persons(persons: Sequence[Person]) -> tuple[Person, ...]:
    return tuple(replace(person, name=speaker(person.name)) for person in persons)


def _alternate(alternate: Alternate) -> Alternate:
    return replace(alternate, title=_line(alternate.title or "") or None)
