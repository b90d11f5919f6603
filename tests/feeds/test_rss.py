"""Requirements of Apple, Spotify and podcast apps on a feed, and hostile text in it."""

import locale
import subprocess
import sys
from datetime import UTC, timedelta, timezone
from email.utils import parsedate_to_datetime
from html import unescape
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.feeds import mxids
from bot.feeds.model import Paging
from bot.feeds.rss import dated, render
from tests.feeds.samples import BASE, NOW, channel, item

NAMES = {
    "itunes": "http://www.itunes.com/dtds/podcast-1.0.dtd",
    "podcast": "https://podcastindex.org/namespace/1.0",
    "atom": "http://www.w3.org/2005/Atom",
}
FEED = f"{BASE}/r/0123456789abcdef/feed.xml"


def parsed(xml: bytes) -> Any:
    root = ElementTree.fromstring(xml)  # noqa: S314  our own
    found = root.find("channel")
    assert found is not None
    return found


CHANNEL_ROWS = {
    "title": ("title", None, "Kitchen radio"),
    "link": ("link", None, f"{BASE}/r/0123456789abcdef/"),
    "description": ("description", None, "What was said in the kitchen.\n\nEvery Friday."),
    "language": ("language", None, "en"),
    "image": ("itunes:image", "href", f"{BASE}/r/0123456789abcdef/cover-abc.jpg"),
    "category": ("itunes:category", "text", "Arts"),
    "subcategory": ("itunes:category/itunes:category", "text", "Food"),
    "explicit is true or false": ("itunes:explicit", None, "false"),
    "author": ("itunes:author", None, "The cooks"),
    "owner's name": ("itunes:owner/itunes:name", None, "The cooks"),
    "owner's e-mail": ("itunes:owner/itunes:email", None, "cooks@example.org"),
    "type": ("itunes:type", None, "episodic"),
    "self link": ("atom:link[@rel='self']", "href", FEED),
    "self link's type": ("atom:link[@rel='self']", "type", "application/rss+xml"),
    "podcast guid": ("podcast:guid", None, "9b024349-ccf0-5f69-a609-6b82873eab3c"),
    "locked": ("podcast:locked", None, "yes"),
    "locked for": ("podcast:locked", "owner", "cooks@example.org"),
    "medium": ("podcast:medium", None, "podcast"),
    "last change": ("lastBuildDate", None, "Fri, 20 Nov 2026 14:05:07 +0000"),
}
ITEM_ROWS = {
    "title": ("title", None, "Soup, part 1"),
    "link": ("link", None, f"{BASE}/r/0123456789abcdef/abcdef"),
    "description": ("description", None, "<p>Stock first.</p>"),
    "enclosure's address": ("enclosure", "url", f"{BASE}/r/0123456789abcdef/abcdef.mp3"),
    "enclosure's bytes": ("enclosure", "length", "1472000"),
    "enclosure's type": ("enclosure", "type", "audio/mpeg"),
    "guid": ("guid", None, "00000000-0000-4000-8000-000000000001"),
    "guid is no address": ("guid", "isPermaLink", "false"),
    "date": ("pubDate", None, "Fri, 20 Nov 2026 15:05:07 +0000"),
    "whole seconds": ("itunes:duration", None, "184"),
    "number": ("itunes:episode", None, "1"),
    "kind": ("itunes:episodeType", None, "full"),
    "explicit": ("itunes:explicit", None, "false"),
    "speaker": ("podcast:person", None, "Alice"),
    "chapters": ("podcast:chapters", "url", f"{BASE}/r/0123456789abcdef/abcdef.chapters.json"),
    "chapters' type": ("podcast:chapters", "type", "application/json+chapters"),
}


def the_one(node: Any, path: str, attribute: str | None) -> str | None:
    found = node.findall(path, NAMES)
    assert len(found) == 1, f"{path} stands there {len(found)} times"
    value: str | None = found[0].text if attribute is None else found[0].get(attribute)
    return value


@pytest.mark.parametrize("row", CHANNEL_ROWS)
def test_channel_has_what_directories_require(row: str) -> None:
    """Each required element of a public channel stands there once, with its value."""
    path, attribute, value = CHANNEL_ROWS[row]
    assert the_one(parsed(render(channel(), [item()])), path, attribute) == value


@pytest.mark.parametrize("row", ITEM_ROWS)
def test_item_has_what_directories_require(row: str) -> None:
    """Each required element of an item stands there once, with its value."""
    path, attribute, value = ITEM_ROWS[row]
    assert the_one(parsed(render(channel(), [item()])).find("item"), path, attribute) == value


def test_an_item_without_chapters_names_none() -> None:
    """An item without chapters has no chapters element."""
    assert b"podcast:chapters" not in render(channel(), [item(chapters=None)])


def test_explicit_is_said_of_the_channel_and_of_each_item() -> None:
    """An explicit room is `true` in channel and item, never `yes`."""
    tree = parsed(render(channel(explicit=True), [item(explicit=True)]))
    assert [node.text for node in tree.iter(f"{{{NAMES['itunes']}}}explicit")] == ["true", "true"]


def test_descriptions_are_html_in_cdata() -> None:
    """Descriptions are wrapped in CDATA and can't break out of it; a channel's has no markup."""
    xml = render(channel(description="a ]]> b <script>"), [item(description="c ]]> d")])
    assert b"<description><![CDATA[a ]]&gt; b &lt;script&gt;]]></description>" in xml
    assert b"<description><![CDATA[<p>c ]]&gt; d</p>]]></description>" in xml


def test_private_feed_asks_to_be_listed_nowhere() -> None:
    """A personal feed is blocked, and has no e-mail, no guid and no hub."""
    xml = render(channel(private=True), [item()])
    tree = parsed(xml)
    assert the_one(tree, "itunes:block", None) == "yes"
    assert the_one(tree, "podcast:block", None) == "yes"
    assert tree.find("itunes:owner", NAMES) is None
    assert tree.find("podcast:guid", NAMES) is None
    assert b"cooks@example.org" not in xml
    assert b'rel="hub"' not in xml


def test_public_feed_says_nothing_about_blocking() -> None:
    """A public feed has no block tags."""
    assert b"block" not in render(channel(), [item()])


def test_no_owner_without_an_address() -> None:
    """Without an e-mail there is no owner element and no owner of the lock."""
    tree = parsed(render(channel(email=None), []))
    assert tree.find("itunes:owner", NAMES) is None
    assert the_one(tree, "podcast:locked", "owner") is None


def test_newest_item_stands_first() -> None:
    """Items are sorted newest first, whatever their order was."""
    tree = parsed(render(channel(), [item(2), item(3), item(1)]))
    assert [node.findtext("title") for node in tree.findall("item")] == [f"Soup, part {n}" for n in (3, 2, 1)]


def test_items_of_one_second_keep_their_order() -> None:
    """The later number of two items in one second is dated a second later."""
    same = [item(number, started_at=NOW) for number in (3, 1, 2)]
    assert [(one.number, moment - NOW) for one, moment in dated(same)] == [
        (3, timedelta(seconds=2)),
        (2, timedelta(seconds=1)),
        (1, timedelta()),
    ]


def test_dates_are_utc_and_english() -> None:
    """Dates are written in UTC, whatever zone they came in."""
    there = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    moment = parsed(render(channel(), [item(started_at=there)])).findtext("item/pubDate")
    assert moment == "Fri, 20 Nov 2026 14:05:07 +0000"


def test_rendering_leaves_the_locale_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rendering never makes feedgen switch the locale of the process."""

    def refuse(*_: object) -> str:
        raise AssertionError("the locale was touched")

    monkeypatch.setattr(locale, "setlocale", refuse)
    assert render(channel(), [item()])


def test_pages_are_linked_and_the_homepage_stays() -> None:
    """A paged feed links its neighbours, and the channel's link is still its web page."""
    paging = Paging(first=FEED, previous=None, next=f"{FEED}2")
    tree = parsed(render(channel(paging=paging), [item()]))
    links = {node.get("rel"): node.get("href") for node in tree.findall("atom:link", NAMES)}
    assert links == {"self": FEED, "first": FEED, "next": f"{FEED}2"}
    assert tree.findtext("link") == f"{BASE}/r/0123456789abcdef/"


def test_same_channel_gives_the_same_bytes_in_another_process() -> None:
    """A feed's bytes do not depend on the time, the hash seed or the process."""
    program = (
        "import sys; from bot.feeds.rss import render; from tests.feeds.samples import channel, item;"
        "sys.stdout.buffer.write(render(channel(), [item(2), item(1)]))"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
    assert other == render(channel(), [item(1), item(2)])


def test_feedgen_can_be_loaded_first() -> None:
    """The feed's modules load in a fresh process, where lxml.etree is not loaded yet."""
    subprocess.run([sys.executable, "-c", "import bot.feeds.rss"], check=True)


anything = st.text(st.characters(codec=None), max_size=60)
hostile = st.one_of(
    anything,
    st.lists(st.sampled_from(["@", "a", ":", "h.org", " ", "\u202e", "\x00", "]]>", "<", "&", "\ud800", "\ufffe", "\n",
                              "\ue000", "\U0001f600", "\u200d"]), max_size=30).map("".join),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(title=hostile, description=hostile, author=hostile, name=hostile)
def test_hostile_words_stay_well_formed(title: str, description: str, author: str, name: str) -> None:
    """With any text the feed is well-formed, stable, within its limits, and names no MXID."""
    one = channel(title=title, description=description, author=author)
    items = [item(1, title=name, description=description, speakers=author, persons=(author, name))]
    xml = render(one, items)
    assert xml == render(one, items)
    tree = parsed(xml)
    for node in (tree, tree.find("item")):
        assert 0 < len(node.findtext("title")) <= 255
        assert len(node.findtext("description").encode()) <= 4000
    assert len(tree.findall(".//enclosure")) == 1
    texts = [unescape(text.replace("<br>", "\n")) for text in tree.itertext()]
    assert not any(mxids.holds(text) for text in texts)
    assert "\ue000" not in xml.decode()


def test_long_description_is_cut_between_characters() -> None:
    """A description that is too long ends in an ellipsis inside its paragraph."""
    text = parsed(render(channel(), [item(description="ä&" * 4000)])).findtext("item/description")
    assert 3900 < len(text.encode()) <= 4000
    assert text.endswith("…</p>")


def test_dates_read_back() -> None:
    """The dates in a feed are RFC 2822 with the right weekday."""
    moment = parsed(render(channel(), [item(5)])).findtext("item/pubDate")
    assert parsedate_to_datetime(moment).astimezone(UTC) == NOW + timedelta(hours=5)
