"""A list of podcasts as OPML 2.0, which podcast apps import. Pure, byte-stable.

http://opml.org/spec2.opml
"""

from collections.abc import Iterable
from dataclasses import dataclass

from bot.feeds.text import clean_line, plain
from bot.feeds.titles import NAMELESS_ROOM

OPML = "text/x-opml; charset=utf-8"


@dataclass(frozen=True, slots=True)
class ListedFeed:
    """A feed in the list. Texts are plain text as people wrote it."""

    title: str
    description: str
    feed: str  # addresses
    page: str


def opml(title: str, feeds: Iterable[ListedFeed]) -> bytes:
    """Write the list as UTF-8, in the order of the feeds."""
    from lxml import etree  # here, for it takes memory that a bot without listeners need not spend

    root = etree.Element("opml", {"version": "2.0"})
    etree.SubElement(etree.SubElement(root, "head"), "title").text = _line(title)
    body = etree.SubElement(root, "body")
    for each in feeds:
        name = _line(each.title)
        about = {"text": name, "title": name, "type": "rss", "xmlUrl": each.feed, "htmlUrl": each.page}
        if description := " ".join(plain(each.description).split()):
            about["description"] = description
        etree.SubElement(body, "outline", about)
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8"))


def _line(text: str) -> str:
    return clean_line(text, isolates=True) or NAMELESS_ROOM
