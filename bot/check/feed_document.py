"""The parts of a feed that directories and apps look at, read from its bytes as strangers read them. Pure.

Nothing is taken from the archive: a proxy may have changed the feed, or another server may answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lxml import etree

ITUNES = "{http://www.itunes.com/dtds/podcast-1.0.dtd}"
PODCAST = "{https://podcastindex.org/namespace/1.0}"
ATOM = "{http://www.w3.org/2005/Atom}"
CONTENT = "{http://purl.org/rss/1.0/modules/content/}"


@dataclass(frozen=True, slots=True)
class Link:
    """A file that a feed names, with its length and type as the feed writes them."""

    address: str
    length: str = ""
    type: str = ""


@dataclass(frozen=True, slots=True)
class FeedItem:
    """An episode in a feed. Texts are as they stand there, None where there are none."""

    title: str | None
    description: str | None
    guid: str | None
    permanent_link: bool  # the GUID says that it is an address
    published: str | None
    duration: str | None
    enclosures: tuple[Link, ...]
    alternates: tuple[Link, ...]  # sources of podcast:alternateEnclosure
    chapters: str | None


@dataclass(frozen=True, slots=True)
class FeedDocument:
    """A feed, or one document of it. Texts are as they stand there, None where there are none."""

    title: str | None
    description: str | None
    page: str | None
    language: str | None
    author: str | None
    email: str | None
    explicit: str | None
    category: str | None
    subcategory: str | None
    type: str | None
    image: str | None
    block: str | None
    podcast_block: str | None
    guid: str | None
    locked: str | None
    new_address: str | None
    links: Mapping[str, str]  # of Atom: the first of each relation
    items: tuple[FeedItem, ...]


def read_feed(xml: bytes) -> FeedDocument | None:
    """Read an RSS feed; None for what is none."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(xml, parser)
    except (etree.XMLSyntaxError, ValueError):
        return None
    channel = root.find("channel") if root.tag == "rss" else None
    if channel is None:
        return None
    links: dict[str, str] = {}
    for link in channel.findall(f"{ATOM}link"):
        links.setdefault(link.get("rel", "alternate"), link.get("href", ""))
    category = channel.find(f"{ITUNES}category")
    inner = category.find(f"{ITUNES}category") if category is not None else None
    owner = channel.find(f"{ITUNES}owner")
    return FeedDocument(
        title=_text(channel, "title"),
        description=_text(channel, "description"),
        page=_text(channel, "link"),
        language=_text(channel, "language"),
        author=_text(channel, f"{ITUNES}author"),
        email=_text(owner, f"{ITUNES}email") if owner is not None else None,
        explicit=_text(channel, f"{ITUNES}explicit"),
        category=_attribute(category, "text"),
        subcategory=_attribute(inner, "text"),
        type=_text(channel, f"{ITUNES}type"),
        image=_attribute(channel.find(f"{ITUNES}image"), "href"),
        block=_text(channel, f"{ITUNES}block"),
        podcast_block=_text(channel, f"{PODCAST}block"),
        guid=_text(channel, f"{PODCAST}guid"),
        locked=_text(channel, f"{PODCAST}locked"),
        new_address=_text(channel, f"{ITUNES}new-feed-url"),
        links=links,
        items=tuple(map(_item, channel.findall("item"))),
    )


def _item(item: Any) -> FeedItem:
    guid = item.find("guid")
    return FeedItem(
        title=_text(item, "title"),
        description=_text(item, "description"),
        guid=_text(item, "guid"),
        permanent_link=guid is not None and guid.get("isPermaLink", "true").lower() != "false",
        published=_text(item, "pubDate"),
        duration=_text(item, f"{ITUNES}duration"),
        enclosures=tuple(
            Link(each.get("url", ""), each.get("length", ""), each.get("type", ""))
            for each in item.findall("enclosure")
        ),
        alternates=tuple(
            Link(source.get("uri", ""), each.get("length", ""), each.get("type", ""))
            for each in item.findall(f"{PODCAST}alternateEnclosure")
            for source in each.findall(f"{PODCAST}source")
        ),
        chapters=_attribute(item.find(f"{PODCAST}chapters"), "url"),
    )


def _text(parent: Any, name: str) -> str | None:
    text = parent.findtext(name)
    return text.strip() or None if text is not None else None


def _attribute(element: Any, name: str) -> str | None:
    return (element.get(name) or None) if element is not None else None
