"""Requirements of Apple, Spotify and podcast apps on a feed, and hostile text in it."""

import locale
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, timedelta, timezone
from email.utils import parsedate_to_datetime
from html import unescape
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.feeds import mxids
from bot.feeds.model import Alternate, Frequency, LiveStatus, Paging, Person
from bot.feeds.rss import render
from tests.feeds.samples import BASE, NOW, channel, item, live_item

NAMES = {
    "itunes": "http://www.itunes.com/dtds/podcast-1.0.dtd",
    "podcast": "https://podcastindex.org/namespace/1.0",
    "atom": "http://www.w3.org/2005/Atom",
    "content": "http://purl.org/rss/1.0/modules/content/",
    "fh": "http://purl.org/syndication/history/1.0",
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
    """An item's description is wrapped in CDATA and can't break out of it; behind it stand the notes in full."""
    xml = render(channel(), [item(description="c ]]> d")])
    notes = b"<![CDATA[<p>c ]]&gt; d</p>]]>"
    assert b"<description>%b</description><content:encoded>%b</content:encoded>" % (notes, notes) in xml


def test_long_notes_are_whole_in_the_encoded_content() -> None:
    """Notes that are longer than a description may be are cut there and whole in `content:encoded`."""
    node = parsed(render(channel(), [item(description="Stock & bread. " * 400)])).find("item")
    described, whole = node.findtext("description"), node.findtext("content:encoded", namespaces=NAMES)
    assert len(described.encode()) <= 4000 < len(whole.encode())
    assert whole == f"<p>{('Stock &amp; bread. ' * 400).strip()}</p>"


HOSTILE_NAME = 'Tom & Jerry\'s "show" <live>'


def test_each_text_is_escaped_once() -> None:
    """A parser reads every name as people wrote it: nothing of plain text is escaped twice, and HTML once."""
    one = item(title=HOSTILE_NAME, description=HOSTILE_NAME, speakers=HOSTILE_NAME, persons=(Person(HOSTILE_NAME),))
    one = replace(one, alternates=(Alternate(f"{BASE}/a.ogg", "audio/ogg", title=HOSTILE_NAME),))
    live = live_item(title=HOSTILE_NAME, description=HOSTILE_NAME, speakers=HOSTILE_NAME)
    whole = channel(title=HOSTILE_NAME, description=HOSTILE_NAME, author=HOSTILE_NAME, live=(live,))
    tree = parsed(render(whole, [one]))
    plain = [
        *("title", "description", "image/title", "itunes:author", "itunes:owner/itunes:name", "item/title"),
        *("item/itunes:author", "item/podcast:person", "podcast:liveItem/title", "podcast:liveItem/itunes:author"),
    ]
    assert {path: tree.findtext(path, namespaces=NAMES) for path in plain} == dict.fromkeys(plain, HOSTILE_NAME)
    assert the_one(tree, "item/podcast:alternateEnclosure", "title") == HOSTILE_NAME
    for path in ("item/description", "item/content:encoded", "podcast:liveItem/description"):
        html = tree.findtext(path, namespaces=NAMES)
        assert html == "<p>Tom &amp; Jerry&#x27;s &quot;show&quot; &lt;live&gt;</p>"


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


def test_items_of_one_second_keep_their_order_and_date() -> None:
    """An item's date does not depend on what else is in its document; items of one second stand by their numbers."""
    same = [item(number, started_at=NOW) for number in (3, 1, 2)]
    nodes = parsed(render(channel(), same)).findall("item")
    assert [node.findtext("title") for node in nodes] == [f"Soup, part {number}" for number in (3, 2, 1)]
    alone = parsed(render(channel(), same[:1])).findtext("item/pubDate")
    assert {node.findtext("pubDate") for node in nodes} == {alone}


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


def test_documents_of_an_archive_are_linked() -> None:
    """A subscription document names the newest archive document; that one its neighbours, and that it is an archive."""
    newest = Paging(first=FEED, next=f"{FEED}2", prev_archive=f"{FEED}2")
    archived: dict[str, Any] = {"first": FEED, "previous": FEED, "current": FEED, "archive": True}
    older = Paging(**archived, prev_archive=f"{FEED}1", next_archive=f"{FEED}3")
    of_older = {"self", "first", "previous", "current", "prev-archive", "next-archive"}
    for paging, wanted in ((newest, {"self", "first", "next", "prev-archive"}), (older, of_older)):
        tree = parsed(render(channel(paging=paging), [item()]))
        assert {node.get("rel") for node in tree.findall("atom:link", NAMES)} == wanted
        assert (tree.find("fh:archive", NAMES) is not None) is paging.archive


def test_a_feed_names_its_hub_and_where_it_moved() -> None:
    """A public feed names its WebSub hub and, once it moved, its new address; a private one has no hub."""
    told = {"hub": "https://hub.example.org/", "moved_to": "https://new.example.org/r/0/feed.xml"}
    tree = parsed(render(channel(**told), []))
    assert the_one(tree, "atom:link[@rel='hub']", "href") == told["hub"]
    assert the_one(tree, "itunes:new-feed-url", None) == told["moved_to"]
    assert b'rel="hub"' not in render(channel(**told, private=True), [])


def test_regular_feeds_say_how_often_they_come() -> None:
    """A feed that is known to be regular says so, for machines and people; others say nothing."""
    tree = parsed(render(channel(frequency=Frequency("FREQ=WEEKLY", "Weekly")), []))
    assert the_one(tree, "podcast:updateFrequency", "rrule") == "FREQ=WEEKLY"
    assert the_one(tree, "podcast:updateFrequency", None) == "Weekly"
    assert b"updateFrequency" not in render(channel(), [])


ORIGINAL = Alternate(f"{BASE}/r/0/abcdef.opus", "audio/ogg", 4711, "Original sound", "opus", "c2hhMzg0")


def test_other_forms_of_the_sound_name_size_and_hash() -> None:
    """An alternate enclosure names type, bytes, codec, address and hash; an item has one enclosure all the same."""
    node = parsed(render(channel(), [item(alternates=(ORIGINAL,))])).find("item")
    alternate = "podcast:alternateEnclosure"
    assert node.find(alternate, NAMES).attrib == {
        "type": "audio/ogg", "length": "4711", "title": "Original sound", "codecs": "opus"
    }  # fmt: skip
    assert the_one(node, f"{alternate}/podcast:source", "uri") == ORIGINAL.address
    assert node.find(f"{alternate}/podcast:integrity", NAMES).attrib == {"type": "sri", "value": "sha384-c2hhMzg0"}
    assert len(node.findall("enclosure")) == 1


def test_persons_have_pictures_where_there_are_some() -> None:
    """A speaker's picture stands beside the name; the first speaker is the host."""
    both = (Person("Ann", f"{BASE}/portrait.jpg"), Person("Ben"))
    tree = parsed(render(channel(), [item(persons=both)]))
    found = [node.attrib for node in tree.findall("item/podcast:person", NAMES)]
    assert found == [{"role": "host", "img": f"{BASE}/portrait.jpg"}, {"role": "co-host"}]


def test_what_is_on_the_air_stands_behind_the_channel() -> None:
    """A live item has status, times, one MP3 stream, both forms of it and its page, and stands behind all scalars."""
    live = live_item(started_at=NOW, ended_at=NOW + timedelta(minutes=5), status=LiveStatus.ENDED)
    tree = parsed(render(channel(live=(live,)), [item()]))
    node = tree.find("podcast:liveItem", NAMES)
    assert node.attrib == {
        "status": "ended", "start": "2026-11-20T14:05:07+00:00", "end": "2026-11-20T14:10:07+00:00"
    }  # fmt: skip
    assert node.find("enclosure").attrib == {
        "url": live.alternates[0].address,
        "length": "0",
        "type": "application/x-mpegURL",
    }
    assert [each.get("uri") for each in node.iter(f"{{{NAMES['podcast']}}}source")] == [
        each.address for each in live.alternates
    ]
    assert the_one(node, "podcast:contentLink", "href") == live.page
    assert the_one(node, "guid", None) == live.guid
    assert [child.tag for child in tree][-2:] == [node.tag, "item"]


def test_no_private_feed_has_live_items() -> None:
    """A personal feed says nothing of live listening: apps that know no live items would read it as the channel."""
    assert b"liveItem" not in render(channel(live=(live_item(),), private=True), [item()])


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
    items = [item(1, title=name, description=description, speakers=author, persons=(Person(author), Person(name)))]
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
