"""Feeds as other programs read them, and by our own schema."""

import html
import io
from dataclasses import replace
from typing import Any

import feedparser
import listparser
import podcastparser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from bot.feeds.addresses import Shelf
from bot.feeds.closed import closed_feed
from bot.feeds.collections import of_podcast, of_server, of_speaker
from bot.feeds.model import Alternate, Frequency, LiveStatus, Paging, Person
from bot.feeds.opml import ListedFeed, opml
from bot.feeds.rss import render
from bot.settings import FeedsSettings
from tests.feeds.samples import BASE, NOW, channel, item, live_item
from tests.feeds.schemas import faults

HOSTILE_NAME = 'Tom & Jerry\'s "show" <live>'
ROOM = f"{BASE}/r/0123456789abcdef"
SHA384 = "OLBgp1GsljhM2TJ+sbHjaiH9txEUvgdDTAzHv2P24donTt6/529l+9Ua0vFImLlb"
WHOLE_ITEM = item(
    persons=(Person("Alice", f"{ROOM}/portrait-0123456789abcdef.jpg"), Person("Ben")),
    alternates=(
        Alternate(f"{ROOM}/abcdef.opus", "audio/ogg", 4711, "Original sound", "opus", SHA384),
        Alternate(f"{ROOM}/abcdef.stem-1.ogg", "audio/ogg", 5, "Alice alone", "opus"),
    ),
    cover=f"{ROOM}/cover-abcdef-0123456789abcdef.jpg",
)
ARCHIVE = Paging(
    first=f"{ROOM}/feed.xml",
    previous=f"{ROOM}/feed-1-4.xml",
    next=f"{ROOM}/feed-1-2.xml",
    current=f"{ROOM}/feed.xml",
    prev_archive=f"{ROOM}/feed-1-2.xml",
    next_archive=f"{ROOM}/feed-1-4.xml",
    archive=True,
)
FULL = channel(
    hub="https://hub.example.org/",
    moved_to=f"{ROOM}/feed.xml",
    frequency=Frequency("FREQ=DAILY", "Daily"),
    paging=replace(ARCHIVE, archive=False, current=None, next_archive=None, previous=None),
    live=(
        live_item(status=LiveStatus.PENDING),
        live_item(),
        live_item(status=LiveStatus.ENDED, ended_at=NOW),
    ),
)
SERVER = of_server(FeedsSettings(), BASE, "pods.example.org", f"{BASE}/cover-ab.jpg", (live_item(),), explicit=True)
FEEDS = {
    "with all that there is": (FULL, [WHOLE_ITEM, item(2)]),
    "empty": (channel(email=None), []),
    "private": (channel(private=True, guid=None, live=(live_item(),)), [item()]),
    "private, of an archive": (channel(private=True, guid=None, paging=ARCHIVE), [item()]),
    "of an archive": (channel(paging=ARCHIVE), [item()]),
    "of a speaker": (of_speaker(FULL, "Alice", "0123456789abcdef", Shelf(f"{ROOM}/")), [item()]),
    "of the server": (SERVER, [of_podcast(item(), HOSTILE_NAME)]),
}


@pytest.mark.parametrize("case", FEEDS)
def test_feeds_are_as_the_schema_says(case: str) -> None:
    """Each feed of ours has the elements, order and values that the schema allows, and no other."""
    made, items = FEEDS[case]
    assert faults(render(made, items)) == []


BROKEN = {
    "explicit yes": (b"<itunes:explicit>false<", b"<itunes:explicit>no<"),
    "locked maybe": (b'owner="cooks@example.org">yes<', b'owner="cooks@example.org">maybe<'),
    "a second enclosure": (b"<pubDate>Fri, 20 Nov 2026 15", b'<enclosure url="x"/><pubDate>Fri, 20 Nov 2026 15'),
    "no length": (b' length="1472000"', b""),
    "length 0": (b' length="1472000"', b' length="0"'),
    "a relative address": (b'url="https://pods.example.org/r/0123456789abcdef/abcdef.mp3"', b'url="abcdef.mp3"'),
    "part of a second": (b"<itunes:duration>184<", b"<itunes:duration>184.5<"),
    "a permanent link": (b'isPermaLink="false"', b'isPermaLink="true"'),
    "an unknown tag": (b"<podcast:medium>", b"<podcast:nonsense/><podcast:medium>"),
    "an unknown stage": (b'status="live"', b'status="running"'),
    "ended without an end": (b' end="2026-11-20T14:05:07+00:00"', b""),
    "a stream without a page": (b"podcast:contentLink", b"podcast:socialInteract"),
    "a private feed with a GUID": (b"<podcast:locked ", b"<podcast:block>yes</podcast:block><podcast:locked "),
    "a weak hash": (b"sha384-", b"md5-"),
    "an ISO date": (b"<pubDate>Fri, 20 Nov 2026 15:05:07 +0000", b"<pubDate>2026-11-20T15:05:07Z"),
    "a nameless podcast": (b"<title>Kitchen radio<", b"<title><"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_the_schema_refuses_what_clients_trip_over(case: str) -> None:
    """The schema finds each of the faults that directories or apps trip over."""
    good, bad = BROKEN[case]
    xml = render(FULL, [WHOLE_ITEM])
    assert good in xml
    assert faults(xml.replace(good, bad)) != []


anything = st.text(st.characters(codec=None), max_size=60)
hostile = st.one_of(
    anything,
    st.lists(
        st.sampled_from(
            ["@a:h.org", " ", "\u202e", "\u2068", "\u2069", "\x00", "]]>", "<", "&amp;", "\ud800", "\n\n", "\u05d0",
             "https://a.org/<'\"", "\ue000", "\U0001f600", "x" * 200]
        ),
        max_size=12,
    ).map("".join),
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(title=hostile, description=hostile, author=hostile, name=hostile)
def test_hostile_words_are_as_the_schema_says(title: str, description: str, author: str, name: str) -> None:
    """With any text in it a feed is as the schema says, its live items too, and so is the list of podcasts."""
    texts: dict[str, Any] = {"title": name, "description": description, "speakers": author, "persons": (Person(name),)}
    live = live_item(**texts)
    one = replace(item(**texts), alternates=(Alternate(f"{BASE}/a.ogg", "audio/ogg", title=name),))
    made = channel(title=title, description=description, author=author, live=(live,))
    assert faults(render(made, [of_podcast(one, title)])) == []
    assert faults(render(of_speaker(made, name, "0" * 16, Shelf(f"{ROOM}/")), [one])) == []
    assert faults(opml(title, [ListedFeed(name, description, f"{ROOM}/feed.xml", f"{ROOM}/")]), "opml") == []


def test_feedparser_reads_what_was_written() -> None:
    """feedparser finds no fault, and reads titles, notes, enclosures and people as they were written."""
    named = replace(WHOLE_ITEM, title=HOSTILE_NAME, description=HOSTILE_NAME)
    made = channel(title=HOSTILE_NAME, description='Tom & Jerry\'s "show"')
    read = feedparser.parse(render(made, [named, item(2)]))
    assert not read.bozo
    assert (read.feed.title, read.feed.subtitle) == (HOSTILE_NAME, made.description)
    assert (read.feed.link, read.feed.language, read.feed.author) == (f"{ROOM}/", "en", "The cooks")
    newest, oldest = read.entries
    assert (oldest.title, oldest.id, oldest.guidislink) == (HOSTILE_NAME, named.guid, False)
    assert html.unescape(oldest.content[0].value) == f"<p>{HOSTILE_NAME}</p>"
    assert [(each.href, each.length, each.type) for each in oldest.enclosures] == [
        (named.audio, "1472000", "audio/mpeg")
    ]
    assert (newest.itunes_duration, newest.itunes_episode) == ("184", "2")
    assert newest.published_parsed > oldest.published_parsed


def test_podcastparser_reads_what_was_written() -> None:
    """gPodder's parser reads the channel, the episodes with their one enclosure, and the page behind this one."""
    named = replace(WHOLE_ITEM, title=HOSTILE_NAME, description=HOSTILE_NAME)
    made = channel(title=HOSTILE_NAME, description=HOSTILE_NAME, paging=ARCHIVE)
    read = podcastparser.parse(f"{ROOM}/feed.xml", io.BytesIO(render(made, [named, item(2)])))
    assert (read["title"], read["description"]) == (HOSTILE_NAME, HOSTILE_NAME)
    assert (read["link"], read["cover_url"]) == (f"{ROOM}/", made.cover)
    assert read["paged_feed_next"] == ARCHIVE.next
    one = next(episode for episode in read["episodes"] if episode["guid"] == named.guid)
    assert one["title"] == HOSTILE_NAME
    assert one["description_html"] == "<p>Tom &amp; Jerry&#x27;s &quot;show&quot; &lt;live&gt;</p>"
    assert one["enclosures"] == [{"url": named.audio, "file_size": 1_472_000, "mime_type": "audio/mpeg"}]
    assert (one["total_time"], one["number"]) == (184, 1)


def test_parsers_that_know_no_live_items_read_the_episodes_all_the_same() -> None:
    """With live items in front of them both parsers read the same episodes."""
    with_live, without = (render(channel(live=live), [item(1), item(2)]) for live in ((live_item(),), ()))
    entries = [[(entry.id, entry.title, entry.enclosures) for entry in feedparser.parse(xml).entries]
               for xml in (with_live, without)]  # fmt: skip
    assert entries[0] == entries[1]
    assert feedparser.parse(with_live).feed.title == "Kitchen radio"
    episodes = [podcastparser.parse(FULL.address, io.BytesIO(xml))["episodes"] for xml in (with_live, without)]
    assert episodes[0] == episodes[1]


def test_listparser_reads_the_list() -> None:
    """listparser reads titles and addresses of the list of podcasts as they were written."""
    written = opml(HOSTILE_NAME, [ListedFeed(HOSTILE_NAME, "a\n\nb", f"{ROOM}/feed.xml", f"{ROOM}/")])
    assert written == opml(HOSTILE_NAME, [ListedFeed(HOSTILE_NAME, "a\n\nb", f"{ROOM}/feed.xml", f"{ROOM}/")])
    read = listparser.parse(written.decode())
    assert not read.bozo
    assert read.meta.title == HOSTILE_NAME
    assert [(feed.title, feed.url) for feed in read.feeds] == [(HOSTILE_NAME, f"{ROOM}/feed.xml")]
    (outline,) = etree.fromstring(written).iter("outline")
    assert outline.get("description") == "a b"


def test_a_closed_feed_has_nothing_to_keep() -> None:
    """The feed of a closed address has no items in either parser, and says once what is the matter."""
    xml = closed_feed("Closed", "Not & any more.", f"{BASE}/", "en")
    assert feedparser.parse(xml).entries == []
    assert podcastparser.parse(FULL.address, io.BytesIO(xml))["episodes"] == []
    assert feedparser.parse(xml).feed.subtitle == "Not & any more."
