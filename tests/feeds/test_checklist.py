"""The checklist of docs/publishing.md, row by row: what directories and apps ask for stands in our feeds as it says."""

import re
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from bot.feeds.rss import render
from tests.feeds.samples import channel, item
from tests.feeds.test_readers import FULL, WHOLE_ITEM

PAGE = Path(__file__).parents[2] / "docs/publishing.md"
NAMES = {
    "itunes": "http://www.itunes.com/dtds/podcast-1.0.dtd",
    "podcast": "https://podcastindex.org/namespace/1.0",
    "atom": "http://www.w3.org/2005/Atom",
    "content": "http://purl.org/rss/1.0/modules/content/",
}
GUID = "[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
DATE = r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d \+0000"
ADDRESS = r"https://[!-~]+"
# What each element holds: its attributes as `name=value`, in their order, then its text.
CHANNEL = {
    "title": "Kitchen radio",
    "link": ADDRESS,
    "description": "What was said in the kitchen.\n\nEvery Friday.",
    "language": "en",
    "itunes:image": r"href=https://\S+\.jpg",
    "itunes:category": "text=Arts",
    "itunes:explicit": "false",
    "itunes:author": "The cooks",
    "itunes:owner": "",
    "itunes:type": "episodic",
    'atom:link rel="self"': rf"href={ADDRESS}/feed\.xml rel=self type=application/rss\+xml",
    "itunes:new-feed-url": ADDRESS,
    "itunes:block": "yes",
    "podcast:guid": GUID,
    "podcast:locked": r"owner=cooks@example\.org yes",
    "podcast:medium": "podcast",
    "podcast:updateFrequency": "rrule=FREQ=DAILY Daily",
    "podcast:block": "yes",
    "podcast:liveItem": r"status=(pending|live|ended) start=\S+\+00:00( end=\S+\+00:00)?",
    'atom:link rel="hub"': rf"href={ADDRESS} rel=hub",
    'atom:link rel="next"': rf"href={ADDRESS} rel=next type=application/rss\+xml",
    "lastBuildDate": DATE,
    "copyright": None,
    "itunes:complete": None,
    "podcast:txt": None,
}
ITEM = {
    "title": "Soup, part 1",
    "enclosure": r"url=https://\S+\.mp3 length=1472000 type=audio/mpeg",
    "guid": r"isPermaLink=false \S+",
    "link": ADDRESS,
    "pubDate": DATE,
    "description": "<p>Stock first.</p>",
    "content:encoded": "<p>Stock first.</p>",
    "itunes:duration": "184",
    "itunes:explicit": "false",
    "itunes:episode": "1",
    "itunes:episodeType": "full",
    "itunes:author": "Alice",
    "podcast:person": r"role=(co-)?host( img=https://\S+\.jpg)? (Alice|Ben)",
    "podcast:chapters": rf"url={ADDRESS} type=application/json\+chapters",
    "podcast:alternateEnclosure": r"type=audio/ogg length=\d+ title=.+ codecs=opus",
    "podcast:transcript": None,
    "itunes:image": r"href=https://\S+\.jpg",
    "podcast:image": r"href=https://\S+\.jpg aspect-ratio=1/1 purpose=artwork",
    "itunes:season": None,
}
ONLY_PRIVATE = {"itunes:block", "podcast:block"}
ONLY_PUBLIC = {"itunes:owner", "podcast:guid", "podcast:liveItem", 'atom:link rel="hub"'}


def rows(heading: str) -> dict[str, str]:
    """Return the table below a heading: what is written for each element."""
    section = PAGE.read_text().partition(f"\n### {heading}\n")[2].partition("\n#")[0]
    found = re.findall(r"^\| `(.+?)` \| .*? \| (.*) \|$", section, re.MULTILINE)
    assert len(dict(found)) == len(found)
    return dict(found)


def elements(parent: Any, element: str) -> list[str]:
    """Return what the elements of this name hold."""
    name, _, rel = element.partition(" ")
    found = parent.findall(f"{name}[@{rel}]" if rel else name, NAMES)
    attributes = [[f"{key}={value}" for key, value in node.attrib.items()] for node in found]
    texts = [(node.text or "").strip() for node in found]
    return [" ".join([*about, text]).strip() for about, text in zip(attributes, texts, strict=True)]


PUBLIC = etree.fromstring(render(FULL, [WHOLE_ITEM])).find("channel")
PRIVATE = etree.fromstring(render(channel(private=True), [item()])).find("channel")


def test_the_checklist_is_whole() -> None:
    """The page has a row for each element of a feed of ours, and no other."""
    assert list(rows("Channel")) == list(CHANNEL)
    assert list(rows("Item")) == list(ITEM)
    of_feedgen = {"docs", "generator", "image", "item"}
    written = {etree.QName(child).localname for child in PUBLIC} - of_feedgen
    assert written <= {re.split(r"[ :]", row)[-1] if " " not in row else "link" for row in CHANNEL}
    assert {etree.QName(child).localname for child in PUBLIC.find("item")} <= {row.split(":")[-1] for row in ITEM}


@pytest.mark.parametrize("row", CHANNEL)
def test_a_row_of_the_channel(row: str) -> None:
    """A channel holds this element as the page says, in the feeds for which it says so."""
    wanted, said = CHANNEL[row], rows("Channel")[row]
    public, private = elements(PUBLIC, row), elements(PRIVATE, row)
    assert (wanted is None) is said.startswith("nothing")
    if wanted is None:
        assert public == private == []
        return
    assert bool(public) is (row not in ONLY_PRIVATE)
    assert bool(private) is (row in ONLY_PRIVATE) or row not in ONLY_PUBLIC | ONLY_PRIVATE
    assert ("private" in said or "public" in said) or row not in ONLY_PRIVATE
    for found in public or private:
        assert re.fullmatch(wanted, found), found


@pytest.mark.parametrize("row", ITEM)
def test_a_row_of_an_item(row: str) -> None:
    """An item holds this element as the page says."""
    wanted = ITEM[row]
    found = elements(PUBLIC.find("item"), row)
    assert (wanted is None) is rows("Item")[row].startswith("nothing")
    assert bool(found) is (wanted is not None)
    for each in found:
        assert re.fullmatch(wanted or "", each), each
