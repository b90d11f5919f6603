"""The one extension of feedgen: elements of podcast namespaces that it can't write, or writes wrongly. Pure.

feedgen 1.0 knows `itunes:explicit` only as yes/no/clean (Apple and PSP-1 want true/false), drops every Atom link
but `self`, has no podcast namespace, and formats dates by switching the locale of the whole process, which is not
safe in a thread. Elements are appended in one fixed order, so that the same channel gives the same bytes.
"""

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import feedgen.feed  # before lxml.etree: feedgen.util uses it unimported, and the order of imports decides
from feedgen.ext.base import BaseEntryExtension, BaseExtension
from lxml import etree

from bot.feeds.chapters import CHAPTERS
from bot.feeds.model import Channel, Item

ITUNES = "http://www.itunes.com/dtds/podcast-1.0.dtd"
PODCAST = "https://podcastindex.org/namespace/1.0"
ATOM = "http://www.w3.org/2005/Atom"
CONTENT = "http://purl.org/rss/1.0/modules/content/"

__all__ = ["ATOM", "CONTENT", "ITUNES", "PODCAST", "PodcastChannel", "PodcastItem", "feedgen", "rfc_2822"]


def rfc_2822(moment: datetime) -> str:
    """Format a date in UTC, in English whatever the locale."""
    return format_datetime(moment.astimezone(UTC))


def _add(parent: Any, namespace: str, name: str, content: str | None = None, /, **attributes: str) -> Any:
    element = etree.SubElement(parent, f"{{{namespace}}}{name}" if namespace else name, attributes)
    element.text = content
    return element


class PodcastChannel(BaseExtension):
    """The elements of a channel. All three attributes are set before the feed is written; texts are clean already."""

    channel: Channel
    author: str
    html: str

    def extend_ns(self) -> dict[str, str]:
        return {"itunes": ITUNES, "podcast": PODCAST}

    def extend_rss(self, root: Any) -> Any:
        node, channel = root[0], self.channel
        node.find("description").text = etree.CDATA(self.html)
        _add(node, "", "lastBuildDate", rfc_2822(channel.built_at))
        self._links(node)
        self._itunes(node)
        self._podcast(node)
        return root

    def _links(self, node: Any) -> None:
        paging = self.channel.paging
        if paging is None:
            return
        for rel in ("first", "previous", "next"):
            address = getattr(paging, rel)
            if address is not None:
                _add(node, ATOM, "link", href=address, rel=rel, type="application/rss+xml")

    def _itunes(self, node: Any) -> None:
        channel = self.channel
        _add(node, ITUNES, "author", self.author)
        _add(node, ITUNES, "type", "episodic")
        category = _add(node, ITUNES, "category", text=channel.category.name)
        if channel.category.subcategory:
            _add(category, ITUNES, "category", text=channel.category.subcategory)
        _add(node, ITUNES, "explicit", "true" if channel.explicit else "false")
        _add(node, ITUNES, "image", href=channel.cover)
        if channel.private:
            # Only `yes` counts; without it a directory may list any feed that it finds.
            _add(node, ITUNES, "block", "yes")
        elif channel.email:
            owner = _add(node, ITUNES, "owner")
            _add(owner, ITUNES, "name", self.author)
            _add(owner, ITUNES, "email", channel.email)

    def _podcast(self, node: Any) -> None:
        channel = self.channel
        if channel.guid and not channel.private:
            # With one guid an aggregator could take the feeds of many listeners for one feed.
            _add(node, PODCAST, "guid", channel.guid)
        _add(node, PODCAST, "medium", "podcast")
        owner = {"owner": channel.email} if channel.email and not channel.private else {}
        _add(node, PODCAST, "locked", "yes", **owner)
        if channel.private:
            _add(node, PODCAST, "block", "yes")


class PodcastItem(BaseEntryExtension):
    """The elements of an item. All attributes are set before the feed is written; the names are clean already."""

    item: Item
    speakers: str
    persons: tuple[str, ...]
    published_at: datetime

    def extend_rss(self, node: Any) -> Any:
        item = self.item
        _add(node, "", "pubDate", rfc_2822(self.published_at))
        _add(node, ITUNES, "author", self.speakers)
        _add(node, ITUNES, "duration", str(item.seconds))
        _add(node, ITUNES, "episode", str(item.number))
        _add(node, ITUNES, "episodeType", "full")
        _add(node, ITUNES, "explicit", "true" if item.explicit else "false")
        for number, person in enumerate(self.persons):
            _add(node, PODCAST, "person", person, role="co-host" if number else "host")
        if item.chapters is not None:
            _add(node, PODCAST, "chapters", url=item.chapters, type=CHAPTERS)
        return node
