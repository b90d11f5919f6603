"""The one extension of feedgen: elements of podcast namespaces that it can't write, or writes wrongly. Pure.

feedgen 1.0 knows `itunes:explicit` only as yes/no/clean (Apple and PSP-1 want true/false), drops every Atom link
but `self`, has no podcast namespace, and formats dates by switching the locale of the whole process, which is not
safe in a thread. Elements are appended in one fixed order, so that the same channel gives the same bytes.
"""

from collections.abc import Iterable
from typing import Any

import feedgen.feed  # before lxml.etree: feedgen.util uses it unimported, and the order of imports decides
from feedgen.ext.base import BaseEntryExtension, BaseExtension
from lxml import etree

from bot.feeds.chapters import CHAPTERS
from bot.feeds.model import Alternate, Channel, Item, LiveItem, Paging, Person
from bot.feeds.moments import rfc_2822, rfc_3339
from bot.feeds.namespaces import ATOM, CONTENT, HISTORY, ITUNES, PODCAST

RSS = "application/rss+xml"
MP3 = "audio/mpeg"

__all__ = ["ATOM", "CONTENT", "HISTORY", "ITUNES", "MP3", "PODCAST", "PodcastChannel", "PodcastItem", "feedgen"]


def _add(parent: Any, namespace: str, name: str, content: str | None = None, /, **attributes: str) -> Any:
    element = etree.SubElement(parent, f"{{{namespace}}}{name}" if namespace else name, attributes)
    element.text = content
    return element


def _yes(value: bool) -> str:
    return "true" if value else "false"


class PodcastChannel(BaseExtension):
    """The elements of a channel. All attributes are set before the feed is written; texts are clean already, and those
    of live items are HTML where it says so."""

    channel: Channel
    author: str
    live: tuple[LiveItem, ...]

    def extend_ns(self) -> dict[str, str]:
        archive = self.channel.paging is not None and self.channel.paging.archive
        return {"itunes": ITUNES, "podcast": PODCAST, **({"fh": HISTORY} if archive else {})}

    def extend_rss(self, root: Any) -> Any:
        node, channel = root[0], self.channel
        _add(node, "", "lastBuildDate", rfc_2822(channel.built_at))
        if channel.hub is not None and not channel.private:
            _add(node, ATOM, "link", href=channel.hub, rel="hub")
        if channel.paging is not None:
            self._links(node, channel.paging)
        self._itunes(node)
        self._podcast(node)
        if not channel.private:
            # Behind everything else of the channel: parsers that do not know them read their children as the channel's.
            for item in self.live:
                self._live(node, item)
        return root

    def _links(self, node: Any, paging: Paging) -> None:
        for rel in ("first", "previous", "next", "current", "prev-archive", "next-archive"):
            address = getattr(paging, rel.replace("-", "_"))
            if address is not None:
                _add(node, ATOM, "link", href=address, rel=rel, type=RSS)
        if paging.archive:
            _add(node, HISTORY, "archive")

    def _itunes(self, node: Any) -> None:
        channel = self.channel
        _add(node, ITUNES, "author", self.author)
        _add(node, ITUNES, "type", "episodic")
        category = _add(node, ITUNES, "category", text=channel.category.name)
        if channel.category.subcategory:
            _add(category, ITUNES, "category", text=channel.category.subcategory)
        _add(node, ITUNES, "explicit", _yes(channel.explicit))
        _add(node, ITUNES, "image", href=channel.cover)
        if channel.moved_to is not None:
            _add(node, ITUNES, "new-feed-url", channel.moved_to)
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
        if channel.frequency is not None:
            _add(node, PODCAST, "updateFrequency", channel.frequency.words, rrule=channel.frequency.rule)
        if channel.private:
            _add(node, PODCAST, "block", "yes")

    def _live(self, node: Any, item: LiveItem) -> None:
        times = {"start": rfc_3339(item.started_at)}
        if item.ended_at is not None:
            times["end"] = rfc_3339(item.ended_at)
        live = _add(node, PODCAST, "liveItem", status=str(item.status), **times)
        _add(live, "", "title", item.title)
        _add(live, "", "link", item.page)
        _add(live, "", "description").text = etree.CDATA(item.description)
        _add(live, "", "guid", item.guid, isPermaLink="false")
        _add(live, "", "pubDate", rfc_2822(item.started_at))
        _add(live, ITUNES, "author", item.speakers)
        _add(live, ITUNES, "explicit", _yes(item.explicit))
        _add(live, ITUNES, "image", href=item.picture)
        _add_persons(live, item.persons)
        # The playlist, which has an end: podget takes any enclosure for an episode, and would wait for that of an
        # endless MP3. A stream has no length; RSS wants one, and 0 is what others write where they know none.
        _add(live, "", "enclosure", url=item.alternates[0].address, length="0", type=item.alternates[0].type)
        _add_alternates(live, item.alternates)
        _add(live, PODCAST, "contentLink", item.link, href=item.page)


class PodcastItem(BaseEntryExtension):
    """The elements of an item. All attributes are set before the feed is written; names are clean already, and `notes`
    are HTML."""

    item: Item
    speakers: str
    persons: tuple[Person, ...]
    alternates: tuple[Alternate, ...]
    notes: str

    def extend_rss(self, node: Any) -> Any:
        item = self.item
        notes = etree.Element(f"{{{CONTENT}}}encoded")
        notes.text = etree.CDATA(self.notes)
        node.find("description").addnext(notes)
        _add(node, "", "pubDate", rfc_2822(item.started_at))
        _add(node, ITUNES, "author", self.speakers)
        _add(node, ITUNES, "duration", str(item.seconds))
        _add(node, ITUNES, "episode", str(item.number))
        _add(node, ITUNES, "episodeType", "full")
        _add(node, ITUNES, "explicit", _yes(item.explicit))
        if item.cover is not None:
            _add(node, ITUNES, "image", href=item.cover)
            _add(node, PODCAST, "image", **{"href": item.cover, "aspect-ratio": "1/1", "purpose": "artwork"})
        _add_persons(node, self.persons)
        if item.chapters is not None:
            _add(node, PODCAST, "chapters", url=item.chapters, type=CHAPTERS)
        _add_alternates(node, self.alternates)
        return node


def _add_persons(node: Any, persons: Iterable[Person]) -> None:
    for number, person in enumerate(persons):
        picture = {"img": person.picture} if person.picture is not None else {}
        _add(node, PODCAST, "person", person.name, role="co-host" if number else "host", **picture)


def _add_alternates(node: Any, alternates: Iterable[Alternate]) -> None:
    for each in alternates:
        about = {"type": each.type}
        if each.bytes is not None:
            about["length"] = str(each.bytes)
        if each.title is not None:
            about["title"] = each.title
        if each.codecs is not None:
            about["codecs"] = each.codecs
        alternate = _add(node, PODCAST, "alternateEnclosure", **about)
        _add(alternate, PODCAST, "source", uri=each.address)
        if each.sha384 is not None:
            _add(alternate, PODCAST, "integrity", type="sri", value=f"sha384-{each.sha384}")
